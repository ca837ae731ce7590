"""The twin's calendar: every window that the machine can meet, laid end to end and looked up by walking the list.

A cut is the plain object of a manifest, such as `{"kind": "daily", "start": "2026-10-24"}`, or None where nobody has
declared one. Written from docs/mappings.md and Dagster's keys; nothing is shared with the ledger's arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Cut = dict[str, Any] | None
_FIRST, _LAST = date(2026, 5, 1), date(2026, 12, 2)  # nothing that the machine asks for lies beyond
_FIRST_HOUR, _LAST_HOUR = date(2026, 9, 29), date(2026, 11, 3)  # nor, where it asks for hours, beyond these
WINDOWED = ("hourly", "daily", "weekly", "monthly")


class Tile(NamedTuple):
    """One window [start, end) with its key."""

    key: str
    start: datetime
    end: datetime


def windowed(cut: Cut) -> bool:
    return cut is not None and cut["kind"] in WINDOWED


def tiles(cut: Cut) -> list[Tile]:
    """Every window of the cut's length, those before its start too."""
    assert cut is not None
    return _tiles(cut["kind"], cut.get("time_zone", "UTC"))


@cache
def _tiles(kind: str, zone: str) -> list[Tile]:
    begins = list(_hours(zone) if kind == "hourly" else _days(kind, zone))
    return [Tile(key, start, end) for (key, start), (_, end) in pairwise(begins)]


def _days(kind: str, zone: str) -> Iterator[tuple[str, datetime]]:
    day = _FIRST
    while day < _LAST:
        if kind == "daily" or (kind == "weekly" and day.isoweekday() == 7) or (kind == "monthly" and day.day == 1):
            midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
            yield day.isoformat(), midnight.astimezone(UTC)
        day += timedelta(days=1)


def _hours(zone: str) -> Iterator[tuple[str, datetime]]:
    """Of an hour that the clocks show twice, the second has its offset in the key."""
    moment = datetime(_FIRST_HOUR.year, _FIRST_HOUR.month, _FIRST_HOUR.day, tzinfo=UTC)
    while moment.date() < _LAST_HOUR:
        local = moment.astimezone(ZoneInfo(zone))
        yield local.strftime("%Y-%m-%d-%H:%M") + (local.strftime("%z") if local.fold else ""), moment
        moment += timedelta(hours=1)


def start_of(cut: Cut) -> datetime:
    """From when on the cut has partitions."""
    assert cut is not None
    local = datetime.fromisoformat(cut["start"])
    return local.replace(tzinfo=ZoneInfo(cut.get("time_zone", "UTC"))).astimezone(UTC)


def partitions(cut: Cut) -> list[Tile]:
    """The windows that are partitions of the cut."""
    assert cut is not None
    return _partitions(cut["kind"], cut.get("time_zone", "UTC"), start_of(cut))


@cache
def _partitions(kind: str, zone: str, begin: datetime) -> list[Tile]:
    return [tile for tile in _tiles(kind, zone) if tile.start >= begin]


def is_key(cut: Cut, key: str) -> bool:
    """Whether the cut has the partition; of a cut that nobody knows every key may be one."""
    if cut is None:
        return True
    if cut["kind"] == "static":
        return key in cut["keys"]
    if windowed(cut):
        return key in _keys(cut["kind"], cut.get("time_zone", "UTC"), cut["start"])
    return key == ""


@cache
def _keys(kind: str, zone: str, start: str) -> frozenset[str]:
    return frozenset(tile.key for tile in partitions({"kind": kind, "time_zone": zone, "start": start}))


def window(cut: Cut, key: str) -> Tile | None:
    """The window of a key; None for what has none."""
    return _by_key(cut["kind"], cut.get("time_zone", "UTC")).get(key) if cut is not None and windowed(cut) else None


@cache
def _by_key(kind: str, zone: str) -> dict[str, Tile]:
    return {tile.key: tile for tile in _tiles(kind, zone)}
