"""Partitions: how a task or dataset is cut, and the keys of its cuts, which are Dagster's strings.

Guarantees that a key and its window determine each other: `keys_of` of a window is its key, `window_of` of the
key is that window; and that windows tile time. Keys and windows are those of Dagster's partition definitions of the
same schedule, zone and bounds, daylight saving included (`dataforge.model.tick`): an hour that the clocks show twice
has two keys, of which the second ends in its offset from UTC (`2026-10-25-02:00+0100`), and a skipped one has none.

Where Dagster 1.13 contradicts itself, the keys are those that it lists, and the windows lie between them:

- It lists a day that a zone has lost (30 December 2011 in Apia) with an empty window. Here there is no such key.
- Of a cron tick in a gap where summer is the zone's standard time (Casablanca, Dublin) it prints a time whose window
  it does not find again. Here the key that it lists has the window that it lists.
- Where the clocks shift by half an hour (Lord Howe) it lays hours from the start, but looks a key up by the full
  hour, and by the season in which it is asked. Here hours are an hour long from the start on.
- Where no whole window lies between start and end it still lists one, and denies having it. Here there is none.
- It also reads keys that it never prints (`2026-1-1`). Here they are refused, as its own `has_partition_key` does.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec.structs import force_setattr

from dataforge.model import tick
from dataforge.model.attempt import Interval
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.tick import Schedule, Tick

Kind = Literal["none", "hourly", "daily", "weekly", "monthly", "cron", "static", "dynamic", "product"]
MOST_KEYS = 10_000  # of one run; an interval over more windows than this is recorded without partitions
YEARS = range(1900, 2200)  # of keys; zones and schedules are followed no further
_WINDOW = frozenset({"start", "end", "time_zone"})
FIELDS: dict[Kind, frozenset[str]] = {  # what may be said of each kind
    "none": frozenset(),
    "hourly": _WINDOW | {"minute_offset"},
    "daily": _WINDOW | {"minute_offset", "hour_offset"},
    "weekly": _WINDOW | {"minute_offset", "hour_offset", "day_offset"},
    "monthly": _WINDOW | {"minute_offset", "hour_offset", "day_offset"},
    "cron": _WINDOW | {"cron"},
    "static": frozenset({"keys"}),
    "dynamic": frozenset({"set"}),
    "product": frozenset({"dimensions"}),
}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # Dagster's forms: %Y-%m-%d of days and longer
_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}:[0-9]{2}([+-][0-9]{4})?")  # and %Y-%m-%d-%H:%M
_EXAMPLE = {_DATE: "2026-11-01", _MINUTE: "2026-11-01-09:00"}


class Partitioning(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How something is cut. Offsets are Dagster's, in number and default."""

    kind: Kind
    start: str | None = None  # the first window begins at the first tick from here on; a date or a time in the zone
    end: str | None = None  # and the last one ends here or earlier
    time_zone: str = "UTC"
    minute_offset: int = 0  # windows begin so many minutes past the hour
    hour_offset: int = 0  # and so many hours past midnight
    day_offset: int = 0  # weekly: days past Sunday; monthly: the day of the month, by default (0) the first
    cron: str | None = None  # kind cron: the schedule whose ticks begin the windows
    keys: tuple[str, ...] = ()  # kind static; of a dynamic one those that its set holds, where they were looked up
    set: str | None = None  # kind dynamic: the name of the set of keys
    dimensions: dict[str, "Partitioning"] = {}  # kind product: two, by name

    def __post_init__(self) -> None:  # equal cuts are equal values: the first of the month is the default
        if self.kind == "monthly" and self.day_offset == 1:
            force_setattr(self, "day_offset", 0)

    def __hash__(self) -> int:  # asked for all the time: of what tells most cuts apart; equality stays by value
        return hash((self.kind, self.start, self.cron, self.set, len(self.keys)))

    @property
    def windowed(self) -> bool:
        """Whether its keys are time windows."""
        return "time_zone" in FIELDS[self.kind]


NONE = Partitioning(kind="none")


class InvalidPartitionKey(InvalidInput):
    """A key that names no partition of the partitioning it was given for."""


def to_json(partitioning: Partitioning) -> dict[str, Any]:
    """The shape that is stored and shown: the kind and what differs from its defaults."""
    shape: dict[str, Any] = msgspec.to_builtins(partitioning)
    return shape


def from_json(shape: object) -> Partitioning:
    """A partitioning as it was stored: what was declared once is read, not judged again."""
    return msgspec.convert(shape, Partitioning)


def keys_of(partitioning: Partitioning, interval: Interval) -> tuple[str, ...]:
    """The keys of the windows that the interval lies in or spans, in time order. None for an empty interval or one
    that ends before it starts, for a partitioning without windows, and where there are more than MOST_KEYS.

    What lies before the partitioning's start or after its end has a key too, though no partition: `window_of`
    refuses it.
    """
    if interval.empty or not partitioning.windowed:
        return ()
    return _keys_between(partitioning, interval)


@lru_cache(maxsize=65_536)  # a day's runs share a handful of intervals
def _keys_between(partitioning: Partitioning, interval: Interval) -> tuple[str, ...]:
    if interval.start.year not in YEARS or interval.end.year not in YEARS:
        return ()
    schedule = _schedule(partitioning)
    keys: list[str] = []
    begin = tick.floor(schedule, interval.start)
    while begin.at < interval.end:
        if len(keys) == MOST_KEYS:
            return ()
        keys.append(_key(partitioning, begin))
        begin = tick.following(schedule, begin)
    return tuple(keys)


def has_ended(key: str, known_from: str) -> bool:
    """Whether a key is a window before the day from which on windows have states ('': all have). A key that begins with
    a date sorts as its date does."""
    return key < known_from and _DATE.match(key) is not None


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
    begin = _begin(partitioning, key)
    window = Interval(begin.at, tick.following(_schedule(partitioning), begin).at)
    _check_bounds(partitioning, key, window)
    return window


def window_at(partitioning: Partitioning, moment: datetime) -> Interval:
    """The window that holds a moment, whether or not the partitioning has begun by then or has ended before."""
    begin = tick.floor(_schedule(partitioning), moment)
    return Interval(begin.at, tick.following(_schedule(partitioning), begin).at)


def at_edge(partitioning: Partitioning, moment: datetime) -> bool:
    """Whether a window begins at that moment, and so another ends there."""
    return tick.floor(_schedule(partitioning), moment).at == moment


def _product_window(partitioning: Partitioning, key: str) -> Interval | None:
    parts = parts_of(partitioning, key)
    windows = [window_of(partitioning.dimensions[name], part) for name, part in parts.items()]
    return next((window for window in windows if window is not None), None)


def parts_of(partitioning: Partitioning, key: str) -> dict[str, str]:
    """What a key of two dimensions says of each, by name, in the order of the names.

    Raises InvalidPartitionKey for a key of another number of dimensions: from before the partitioning was declared.
    """
    names, parts = sorted(partitioning.dimensions), key.split("|")
    if len(parts) != len(names):
        raise _invalid(partitioning, key, f"one key of each of {', '.join(names)}, joined by '|'")
    return dict(zip(names, parts, strict=True))


def _check_plain_key(partitioning: Partitioning, key: str) -> None:
    if partitioning.kind == "none" and key:
        raise _invalid(partitioning, key, "no partition: it has none")
    if partitioning.kind == "static" and key not in partitioning.keys:
        raise _invalid(partitioning, key, f"one of {', '.join(partitioning.keys[:20])}")
    if partitioning.kind == "dynamic" and not key:
        raise _invalid(partitioning, key, f"a key of the set {partitioning.set}")


def _begin(partitioning: Partitioning, key: str) -> Tick:
    """The begin of a key's window. A date may begin at any hour: at the first tick on it."""
    form, schedule = _form(partitioning), _schedule(partitioning)
    moments = _moments(form, key, partitioning.time_zone)
    if not moments:
        raise _invalid(partitioning, key, f"a {partitioning.kind} key such as {_EXAMPLE[form]}")
    for moment in moments:
        begin = tick.floor(schedule, moment)
        for _ in range(3):  # where the clocks change at midnight, the day before may begin on this one
            if _key(partitioning, begin) == key:
                return begin
            begin = tick.following(schedule, begin)
    near = _key(partitioning, tick.floor(schedule, moments[0]))
    raise _invalid(partitioning, key, f"the begin of a {partitioning.kind} window; the nearest before is {near}")


def _moments(form: re.Pattern[str], key: str, zone: str) -> tuple[datetime, ...]:
    """The moments that a key may name: of a local time that comes twice both, unless its offset says which."""
    if not form.fullmatch(key) or int(key[:4]) not in YEARS:
        return ()
    try:
        named = datetime.fromisoformat(f"{key[:10]}T{key[11:] or '00:00'}")
    except ValueError:
        return ()
    if named.tzinfo is not None:
        return (named.astimezone(UTC),)
    return (tick.instant(named, zone), tick.instant(named.replace(fold=1), zone))


def _key(partitioning: Partitioning, begin: Tick) -> str:
    if _form(partitioning) is _DATE:
        return begin.local.date().isoformat()
    return begin.local.isoformat("-", "minutes") + begin.offset


def _form(partitioning: Partitioning) -> re.Pattern[str]:
    return _MINUTE if partitioning.kind in ("hourly", "cron") else _DATE


def _check_bounds(partitioning: Partitioning, key: str, window: Interval) -> None:
    start, end = bounds_of(partitioning)
    if start is not None and window.start < start:
        raise _invalid(partitioning, key, f"a key from {partitioning.start} on, where the partitions start")
    if end is not None and window.end > end:
        raise _invalid(partitioning, key, f"a key of a window before {partitioning.end}, where the partitions end")


def _invalid(partitioning: Partitioning, key: str, expected: str) -> InvalidPartitionKey:
    message = f"{key!r} is no partition of a {partitioning.kind} partitioning: expected {expected}"
    return InvalidPartitionKey(message, [FieldError("partition", key, expected)])


def bound(text: str) -> datetime | None:
    """A start or end as a naive local time; None when it is neither a date nor a time of the years that have keys."""
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        return None
    return local if local.tzinfo is None and local.year in YEARS else None


@lru_cache(maxsize=4_096)
def bounds_of(partitioning: Partitioning) -> tuple[datetime | None, datetime | None]:
    """The moments of start and end."""
    start, end = (bound(text) if text else None for text in (partitioning.start, partitioning.end))
    zone = partitioning.time_zone
    return (start and tick.instant(start, zone), end and tick.instant(end, zone))


@lru_cache(maxsize=4_096)
def _schedule(partitioning: Partitioning) -> Schedule:
    """When the windows of a partitioning that has some begin."""
    kind, zone, day = partitioning.kind, partitioning.time_zone, partitioning.day_offset
    minutes = (60 * partitioning.hour_offset + partitioning.minute_offset,)
    if kind == "cron":
        return tick.of_cron(partitioning.cron or "", zone, _shift(partitioning))
    if kind == "hourly":
        return Schedule("hourly", zone, (partitioning.minute_offset,), shift=_shift(partitioning))
    if kind == "weekly":
        return Schedule("plain", zone, minutes, weekdays=frozenset({day}))
    if kind == "monthly":  # Dagster has another rule for the days that not every month has
        return Schedule("plain" if day <= 28 else "other", zone, minutes, month_day=day or 1)
    return Schedule("plain", zone, minutes)


@lru_cache(maxsize=4_096)
def endless(partitioning: Partitioning) -> Partitioning:
    """The same windows without a first and a last one."""
    without = msgspec.structs.replace(partitioning, start=None, end=None)
    if not partitioning.windowed or _schedule(partitioning).rule != "hourly":
        return without
    schedule = _schedule(partitioning)
    moved = _schedule(without).shift - schedule.shift
    if not moved:
        return without
    minutes = sorted((minute + moved) % 60 for minute in schedule.minutes)  # where the start has laid them
    if partitioning.kind == "hourly":
        return msgspec.structs.replace(without, minute_offset=minutes[0])
    return msgspec.structs.replace(without, cron=f"{','.join(map(str, minutes))} * * * *")


_USUAL = datetime(2000, 1, 1, tzinfo=UTC)  # where no start is declared


def _shift(partitioning: Partitioning) -> int:
    """By how many minutes, of 60, the zone's clock is ahead of UTC where the partitioning starts."""
    start = bounds_of(partitioning)[0] or _USUAL
    offset = start.astimezone(tick.zone_of(partitioning.time_zone)).utcoffset()
    return int(offset.total_seconds() // 60 % 60) if offset else 0
