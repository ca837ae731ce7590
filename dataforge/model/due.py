"""Deadlines: by when each time window of a task or dataset is to be there.

Guarantees a time that follows from the definition and the end of the window alone, in the zone that it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from dataforge.model.errors import FieldError
from dataforge.model.partition_check import is_zone

TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_LONGEST = timedelta(days=400)


class Due(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`after` the end of its window, or `at` the first such time of day at or after it, so many `days` later."""

    after: timedelta | None = None
    at: str | None = None  # such as 06:00
    time_zone: str = "UTC"
    days: int = 0


def due_at(due: Due, window_end: datetime) -> datetime:
    """By when what is made of a window is to be there, in UTC. A time that a change of clocks leaves out is taken an
    hour later, and of one that comes twice the first."""
    if due.after is not None:
        return window_end.astimezone(UTC) + due.after
    zone = ZoneInfo(due.time_zone)
    day = window_end.astimezone(zone).date()
    clock = time.fromisoformat(due.at or "00:00")
    moment = datetime.combine(day, clock, zone)
    if moment.astimezone(UTC) < window_end:
        day += timedelta(days=1)
    return datetime.combine(day + timedelta(days=due.days), clock, zone).astimezone(UTC)


def problems(due: Due, field: str) -> Iterator[FieldError]:
    """What is wrong with it."""
    if (due.after is None) == (due.at is None):
        yield FieldError(field, "both" if due.at else "neither", "either after, such as PT6H, or at, such as 06:00")
        return
    if due.after is not None and not timedelta(0) <= due.after <= _LONGEST:
        yield FieldError(f"{field}.after", str(due.after), f"a duration from zero to {_LONGEST.days} days")
    if due.at is not None and TIME_OF_DAY.fullmatch(due.at) is None:
        yield FieldError(f"{field}.at", due.at[:120], "a time of day such as 06:00")
    if not is_zone(due.time_zone):
        yield FieldError(f"{field}.time_zone", due.time_zone[:120], "a time zone such as Europe/Berlin")
    if not 0 <= due.days <= _LONGEST.days:
        yield FieldError(f"{field}.days", due.days, f"from 0 to {_LONGEST.days} days")
    for name, wrong in (("time_zone", due.time_zone != "UTC"), ("days", due.days != 0)):
        if due.after is not None and wrong:
            yield FieldError(f"{field}.{name}", getattr(due, name), "nothing beside after: it belongs to at")
