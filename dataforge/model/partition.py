"""Partitions: how a task or dataset is cut, and the keys of its cuts, which are Dagster's strings.

Guarantees that a key and its window determine each other: `keys_of` of a window is its key, `window_of` of the
key is that window. Windows are laid out in local time and converted to UTC last, so a day is a day of the
partitioning's own time zone.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from dataforge.model.attempt import Interval
from dataforge.model.errors import FieldError, InvalidInput

Kind = Literal["none", "hourly", "daily", "weekly", "monthly", "cron", "static", "dynamic", "product"]
MOST_KEYS = 10_000  # of one run; an interval over more windows than this is recorded without partitions
_WINDOWED = frozenset({"hourly", "daily", "weekly", "monthly", "cron"})
_DATE, _MINUTE = "%Y-%m-%d", "%Y-%m-%d-%H:%M"  # Dagster's formats for days and longer, and for hours
_EXAMPLE = {_DATE: "2026-11-01", _MINUTE: "2026-11-01-09:00"}


class Partitioning(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How something is cut. Only the fields of its kind count."""

    kind: Kind
    start: str | None = None  # the first window begins here or later; a date or a time in the zone
    end: str | None = None  # and the last one ends here or earlier
    time_zone: str = "UTC"
    minute_offset: int = 0  # windows begin so many minutes past the hour
    hour_offset: int = 0  # and so many hours past midnight
    day_offset: int = 0  # weekly: days past Sunday; monthly: days past the first
    cron: str | None = None  # kind cron: the schedule whose ticks begin the windows
    keys: tuple[str, ...] = ()  # kind static
    set: str | None = None  # kind dynamic: the name of the set of keys
    dimensions: dict[str, "Partitioning"] = {}  # kind product: two, by name

    def __hash__(self) -> int:  # a dict of dimensions has none of its own; equality stays by value
        return hash((self.kind, self.start, self.time_zone, self.cron, self.keys, tuple(self.dimensions)))

    @property
    def windowed(self) -> bool:
        """Whether its keys are time windows."""
        return self.kind in _WINDOWED


NONE = Partitioning(kind="none")


class InvalidPartitionKey(InvalidInput):
    """A key that names no partition of the partitioning it was given for."""


def parse(value: object, field: str = "partitioning") -> Partitioning:
    """A partitioning from its JSON shape. Raises InvalidInput naming the field."""
    try:
        partitioning = msgspec.convert(value, Partitioning)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{field} is no partitioning: {error}", [FieldError(field, value, str(error))]) from None
    if errors := problems(partitioning, field):
        raise InvalidInput(f"{errors[0].field}: expected {errors[0].expected}", errors)
    return partitioning


def to_json(partitioning: Partitioning) -> dict[str, Any]:
    """The shape that is stored and shown: the kind and what differs from its defaults."""
    shape: dict[str, Any] = msgspec.to_builtins(partitioning)
    return shape


def problems(partitioning: Partitioning, field: str) -> list[FieldError]:
    """What is wrong with a partitioning, field by field; empty when nothing is."""
    checks = (_zone_problem, _bound_problem, _offset_problem, _cron_problem, _keys_problem, _product_problem)
    return [error for check in checks for error in check(partitioning, field)]


def _zone_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    try:
        _zone(partitioning.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, a name too long
        expected = "a time zone such as Europe/Berlin"
        return [FieldError(f"{field}.time_zone", partitioning.time_zone, expected)]
    return []


def _bound_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    found = []
    for name in ("start", "end"):
        value = getattr(partitioning, name)
        if value is not None and _bound(value) is None:
            found.append(FieldError(f"{field}.{name}", value, "a date or time such as 2026-01-01"))
    return found


def _offset_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    most = {"minute_offset": 59, "hour_offset": 23, "day_offset": 6 if partitioning.kind == "weekly" else 30}
    return [
        FieldError(f"{field}.{name}", getattr(partitioning, name), f"a number from 0 to {limit}")
        for name, limit in most.items()
        if not 0 <= getattr(partitioning, name) <= limit
    ]


def _cron_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    if partitioning.kind != "cron" or (partitioning.cron and _ticks(partitioning.cron)):
        return []
    return [FieldError(f"{field}.cron", partitioning.cron, "a cron schedule of five fields such as 0 6 * * *")]


_RANDOM = re.compile(r"(?<![a-z])[rh](?![a-z])", re.IGNORECASE)  # croniter's own: another schedule at each reading


@lru_cache(maxsize=1_024)
def _ticks(cron: str) -> bool:
    """Whether windows can be laid by a schedule: of whole minutes, the same at each reading, and with a tick at all
    (the 30th of February has none)."""
    from croniter import CroniterError, croniter  # a slow import, and most calls need none

    if len(cron.split()) != 5 or _RANDOM.search(cron):
        return False
    try:
        croniter(cron, datetime(2000, 1, 1)).get_next(datetime)  # noqa: DTZ001 - a local time
    except CroniterError:
        return False
    return True


def _keys_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    if partitioning.kind == "static" and not partitioning.keys:
        return [FieldError(f"{field}.keys", [], "at least one key")]
    if partitioning.kind == "dynamic" and not partitioning.set:
        return [FieldError(f"{field}.set", partitioning.set, "the name of the set of keys")]
    return []


def _product_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    if partitioning.kind != "product":
        return []
    if len(partitioning.dimensions) != 2:
        expected = "exactly two dimensions, as Dagster has them"
        return [FieldError(f"{field}.dimensions", sorted(partitioning.dimensions), expected)]
    return [
        error
        for name, part in sorted(partitioning.dimensions.items())
        for error in problems(part, f"{field}.dimensions.{name}")
    ]


def keys_of(partitioning: Partitioning, interval: Interval) -> tuple[str, ...]:
    """The keys of the windows that the interval lies in or spans, in time order; none for an empty interval,
    for a partitioning without windows, and for an interval over more than MOST_KEYS windows."""
    if interval.empty or not partitioning.windowed:
        return ()
    return _keys_between(partitioning, interval)


@lru_cache(maxsize=65_536)  # a day's runs share a handful of intervals
def _keys_between(partitioning: Partitioning, interval: Interval) -> tuple[str, ...]:
    keys: list[str] = []
    begin = _floor(partitioning, _local(partitioning, interval.start))
    while (start := _utc(partitioning, begin)) < interval.end:
        if len(keys) == MOST_KEYS:
            return ()
        following = _next(partitioning, begin)
        if start < _utc(partitioning, following):  # an hour that the clocks skip is no window
            keys.append(begin.strftime(_format(partitioning)))
        begin = following
    return tuple(dict.fromkeys(keys))


@lru_cache(maxsize=65_536)
def window_of(partitioning: Partitioning, key: str) -> Interval | None:
    """The window of a key; None where the key has none (static, dynamic, no partitions).

    Raises InvalidPartitionKey, saying what a key looks like, when the key names no partition of it.
    """
    if partitioning.kind == "product":
        return _product_window(partitioning, key)
    if not partitioning.windowed:
        _check_plain_key(partitioning, key)
        return None
    begin = _parse_key(partitioning, key)
    window = Interval(_utc(partitioning, begin), _utc(partitioning, _next(partitioning, begin)))
    _check_bounds(partitioning, key, begin)
    return window


def _product_window(partitioning: Partitioning, key: str) -> Interval | None:
    names, parts = sorted(partitioning.dimensions), key.split("|")
    if len(parts) != len(names):
        raise _invalid(partitioning, key, f"one key of each of {', '.join(names)}, joined by '|'")
    windows = [window_of(partitioning.dimensions[name], part) for name, part in zip(names, parts, strict=True)]
    return next((window for window in windows if window is not None), None)


def _check_plain_key(partitioning: Partitioning, key: str) -> None:
    if partitioning.kind == "none" and key:
        raise _invalid(partitioning, key, "no partition: it has none")
    if partitioning.kind == "static" and key not in partitioning.keys:
        raise _invalid(partitioning, key, f"one of {', '.join(partitioning.keys[:20])}")
    if partitioning.kind == "dynamic" and not key:
        raise _invalid(partitioning, key, f"a key of the set {partitioning.set}")


def _parse_key(partitioning: Partitioning, key: str) -> datetime:
    form = _format(partitioning)
    try:
        begin = datetime.strptime(key, form)  # noqa: DTZ007 - a local time: the zone is the partitioning's
    except ValueError:
        raise _invalid(partitioning, key, f"a {partitioning.kind} key such as {_EXAMPLE[form]}") from None
    # Of a date its last minute: the window that begins on that day, at whatever hour, is then the floor.
    begin = begin + timedelta(days=1, minutes=-1) if form == _DATE else begin
    floor = _floor(partitioning, begin)
    if floor.strftime(form) != key:
        near = floor.strftime(form)
        raise _invalid(partitioning, key, f"the begin of a {partitioning.kind} window; the nearest before is {near}")
    return floor


def _check_bounds(partitioning: Partitioning, key: str, begin: datetime) -> None:
    start = _bound(partitioning.start) if partitioning.start else None
    end = _bound(partitioning.end) if partitioning.end else None
    if start is not None and begin < start:
        raise _invalid(partitioning, key, f"a key from {partitioning.start} on, where the partitions start")
    if end is not None and begin >= end:
        raise _invalid(partitioning, key, f"a key before {partitioning.end}, where the partitions end")


def _invalid(partitioning: Partitioning, key: str, expected: str) -> InvalidPartitionKey:
    message = f"{key!r} is no partition of a {partitioning.kind} partitioning: expected {expected}"
    return InvalidPartitionKey(message, [FieldError("partition", key, expected)])


def _format(partitioning: Partitioning) -> str:
    return _MINUTE if partitioning.kind in ("hourly", "cron") else _DATE


@lru_cache(maxsize=1_024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _bound(text: str) -> datetime | None:
    """A start or end as a naive local time; None when it is neither a date nor a time."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _local(partitioning: Partitioning, moment: datetime) -> datetime:
    return moment.astimezone(_zone(partitioning.time_zone)).replace(tzinfo=None)


def _utc(partitioning: Partitioning, local: datetime) -> datetime:
    return local.replace(tzinfo=_zone(partitioning.time_zone)).astimezone(UTC)


def at_edge(partitioning: Partitioning, moment: datetime) -> bool:
    """Whether a window begins at that moment, and so another ends there."""
    return _utc(partitioning, _floor(partitioning, _local(partitioning, moment))) == moment


def _floor(partitioning: Partitioning, local: datetime) -> datetime:
    """The begin of the window that holds a local time."""
    if partitioning.kind == "cron":
        return _tick(partitioning, local + timedelta(minutes=1), back=True)
    shift = timedelta(hours=partitioning.hour_offset, minutes=partitioning.minute_offset)
    shifted = local - (timedelta(minutes=partitioning.minute_offset) if partitioning.kind == "hourly" else shift)
    if partitioning.kind == "hourly":
        return shifted.replace(minute=0, second=0, microsecond=0) + timedelta(minutes=partitioning.minute_offset)
    day = shifted.replace(hour=0, minute=0, second=0, microsecond=0)
    return _begin_day(partitioning, day) + shift


def _begin_day(partitioning: Partitioning, day: datetime) -> datetime:
    if partitioning.kind == "daily":
        return day
    if partitioning.kind == "weekly":  # Dagster's weeks begin on Sunday unless the offset says otherwise
        return day - timedelta(days=(day.isoweekday() - partitioning.day_offset) % 7)
    first = (day - timedelta(days=partitioning.day_offset)).replace(day=1)
    return first + timedelta(days=partitioning.day_offset)


def _next(partitioning: Partitioning, begin: datetime) -> datetime:
    if partitioning.kind == "cron":
        return _tick(partitioning, begin, back=False)
    if partitioning.kind == "monthly":
        first = begin - timedelta(days=partitioning.day_offset)
        return (first.replace(day=1) + timedelta(days=32)).replace(day=first.day) + timedelta(
            days=partitioning.day_offset
        )
    return (
        begin
        + {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(days=7)}[partitioning.kind]
    )


def _tick(partitioning: Partitioning, local: datetime, *, back: bool) -> datetime:
    from croniter import croniter

    schedule = croniter(partitioning.cron or "", local.replace(second=0, microsecond=0))
    moment: datetime = schedule.get_prev(datetime) if back else schedule.get_next(datetime)
    return moment.replace(tzinfo=None)
