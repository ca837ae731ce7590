"""Time windows in a row: those that cover a span, and those so many steps on or back.

Guarantees that windows are told beyond the first and the last partition of a partitioning, so that a step leads back
by the same step; whether there is a partition is asked by `exists`.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dataforge.model.attempt import Interval
from dataforge.model.errors import InvalidInput
from dataforge.model.partition import InvalidPartitionKey, Partitioning, endless, keys_of, window_at, window_of

INSTANT = timedelta(microseconds=1)
_MOST_STEPS = 10_000  # windows between a partition and the farthest that it needs


class Unmappable(InvalidInput):
    """Which partitions of the other side are meant cannot be told; the message says what to declare."""


def time_dimension(cut: Partitioning | None) -> Partitioning | None:
    """What is cut into time windows: the partitioning itself, or the first such of its dimensions by name."""
    if cut is None or cut.windowed:
        return cut
    return next((part for _, part in sorted(cut.dimensions.items()) if part.windowed), None)


def exists(cut: Partitioning | None, key: str) -> bool:
    """Whether there is a partition of the key. The hour that a clock skips in spring has no length, and is none."""
    if cut is None:
        return True
    try:
        window = window_of(cut, key)
    except InvalidPartitionKey:
        return False
    return window is None or not window.empty


def covering(cut: Partitioning, span: Interval) -> tuple[str, ...]:
    """The keys of the windows that the span touches, in order. Raises Unmappable where they are too many to name."""
    keys = keys_of(cut, span)
    if not keys and not span.empty:  # so many that `keys_of` names none
        raise Unmappable(f"it asks for too many {cut.kind} partitions, from {span.start} to {span.end}")
    return keys


def partitions(cut: Partitioning, span: Interval) -> tuple[str, ...]:
    """The same keys without those before the first partition and after the last."""
    keys = covering(cut, span)
    first, end = 0, len(keys)
    while first < end and not exists(cut, keys[first]):
        first += 1
    while first < end and not exists(cut, keys[end - 1]):
        end -= 1
    return keys[first:end]


def at(cut: Partitioning, key: str) -> Interval:
    """The window of a key that is one of its keys, wherever the partitions start and end."""
    window = window_of(endless(cut), key)
    if window is None:
        raise Unmappable(f"{key!r} has no time window")
    return window


def step(cut: Partitioning, window: Interval, steps: int) -> Interval:
    """The window so many steps on, or back; from a moment (an empty interval) the one that begins or ends there."""
    if abs(steps) > _MOST_STEPS:
        raise Unmappable(f"a window {steps} steps away is too far; {_MOST_STEPS} is the most")
    for _ in range(abs(steps)):
        window = window_at(cut, window.end if steps > 0 else window.start - INSTANT)
    return window


def bound(cut: Partitioning, local: str) -> datetime:
    """Where partitions start or end, as a moment in UTC."""
    return datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(cut.time_zone)).astimezone(UTC)


def to_date(cut: Partitioning, window: Interval, name: str) -> Interval:
    """From the first of the windows that begin in the same calendar period as this one, to its end."""
    begin = period(cut, window, name).start
    first = window_at(cut, begin)
    return Interval((first if first.start >= begin else step(cut, first, 1)).start, window.end)


def period(cut: Partitioning, window: Interval, name: str) -> Interval:
    """The calendar's day, month, quarter or year in which a window begins, in the partitioning's time zone."""
    zone = ZoneInfo(cut.time_zone)
    begin = window.start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if name == "day":
        return _between(zone, begin, begin + timedelta(days=1))
    months = {"month": 1, "quarter": 3, "year": 12}[name]
    first = begin.replace(day=1, month=(begin.month - 1) // months * months + 1)
    after = (first + timedelta(days=31 * months)).replace(day=1)
    return _between(zone, first, after)


def _between(zone: ZoneInfo, start: datetime, end: datetime) -> Interval:
    return Interval(start.replace(tzinfo=zone).astimezone(UTC), end.replace(tzinfo=zone).astimezone(UTC))
