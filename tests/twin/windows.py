"""The twin's calendar: every window that the machine can meet, laid end to end and looked up by walking the list.

A cut is the plain object of a manifest, such as `{"kind": "daily", "start": "2026-10-24"}`, or None where nobody has
declared one; of a dynamic one `keys` are those that its set holds. Written from docs/mappings.md, docs/partitions.md
and Dagster's keys; nothing is shared with the ledger's arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise, product
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Cut = dict[str, Any] | None
_FIRST, _LAST = date(2026, 5, 1), date(2026, 12, 2)  # nothing that the machine asks for lies beyond
_FIRST_HOUR, _LAST_HOUR = date(2026, 9, 29), date(2026, 11, 3)  # nor, where it asks for hours, beyond these
_SOON = datetime(2026, 10, 28, tzinfo=UTC)
WINDOWED = ("hourly", "daily", "weekly", "monthly", "cron")


class Tile(NamedTuple):
    """One window [start, end) with its key."""

    key: str
    start: datetime
    end: datetime


class Rhythm(NamedTuple):
    """When windows begin."""

    kind: str
    zone: str
    start: str
    minute: int  # past the hour, of hours
    cron: str  # of a schedule by hours, such as `0 6,18 * * *`

    @classmethod
    def of(cls, cut: Cut) -> Rhythm:
        assert cut is not None
        said = cut.get
        return cls(cut["kind"], said("time_zone", "UTC"), cut["start"], said("minute_offset", 0), said("cron", ""))

    @property
    def hours(self) -> list[int]:
        """Of the day, at which windows begin."""
        return [int(hour) for hour in self.cron.split()[1].split(",")] if self.cron else list(range(24))


def windowed(cut: Cut) -> bool:
    return cut is not None and cut["kind"] in WINDOWED


def dimensions(cut: Cut) -> dict[str, Cut]:
    """The two dimensions of a cut, in the order in which they stand in its keys; none of one that has not two."""
    return dict(sorted(cut["dimensions"].items())) if cut is not None and cut["kind"] == "product" else {}


def part(cut: Cut, dimension: str, key: str) -> str | None:
    """What a key says of one dimension; None where it is none of two dimensions."""
    said = key.split("|")
    return said[list(dimensions(cut)).index(dimension)] if len(said) == len(dimensions(cut)) else None


def timed(cut: Cut) -> str | None:
    """Of two dimensions the one that is time."""
    return next((name for name, each in dimensions(cut).items() if windowed(each)), None)


def tiles(cut: Cut) -> list[Tile]:
    """Every window of the cut's length, those before its start too."""
    return _tiles(Rhythm.of(cut))


@cache
def _tiles(rhythm: Rhythm) -> list[Tile]:
    begins = list(_hours(rhythm) if rhythm.kind in ("hourly", "cron") else _days(rhythm.kind, rhythm.zone))
    return [Tile(key, start, end) for (key, start), (_, end) in pairwise(begins)]


def _days(kind: str, zone: str) -> Iterator[tuple[str, datetime]]:
    day = _FIRST
    while day < _LAST:
        if kind == "daily" or (kind == "weekly" and day.isoweekday() == 7) or (kind == "monthly" and day.day == 1):
            midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
            yield day.isoformat(), midnight.astimezone(UTC)
        day += timedelta(days=1)


def _hours(rhythm: Rhythm) -> Iterator[tuple[str, datetime]]:
    """Of an hour that the clocks show twice, the second has its offset in the key."""
    hours = rhythm.hours
    moment = datetime(_FIRST_HOUR.year, _FIRST_HOUR.month, _FIRST_HOUR.day, minute=rhythm.minute, tzinfo=UTC)
    while moment.date() < _LAST_HOUR:
        local = moment.astimezone(ZoneInfo(rhythm.zone))
        if local.hour in hours:
            yield local.strftime("%Y-%m-%d-%H:%M") + (local.strftime("%z") if local.fold else ""), moment
        moment += timedelta(hours=1)


def partitions(cut: Cut) -> list[Tile]:
    """The windows that are partitions of the cut: those from its start on."""
    return _partitions(Rhythm.of(cut))


@cache
def _partitions(rhythm: Rhythm) -> list[Tile]:
    begin = datetime.fromisoformat(rhythm.start).replace(tzinfo=ZoneInfo(rhythm.zone))
    return [tile for tile in _tiles(rhythm) if tile.start >= begin]


def is_key(cut: Cut, key: str) -> bool:
    """Whether the cut has the partition; of a cut that nobody knows every key may be one."""
    if cut is None:
        return True
    if windowed(cut):
        return key in _keys(Rhythm.of(cut))
    if cut["kind"] == "product":
        said = [(each, part(cut, name, key)) for name, each in dimensions(cut).items()]
        return all(of is not None and is_key(each, of) for each, of in said)
    return {"static": key in cut.get("keys", ()), "dynamic": key != ""}.get(cut["kind"], key == "")


@cache
def _keys(rhythm: Rhythm) -> frozenset[str]:
    return frozenset(tile.key for tile in _partitions(rhythm))


def window(cut: Cut, key: str) -> Tile | None:
    """The window of a key; None for what has none. Of two dimensions that of the one that is time."""
    if (name := timed(cut)) is not None:
        of = part(cut, name, key)
        return window(dimensions(cut)[name], of) if of is not None else None
    return _by_key(Rhythm.of(cut)).get(key) if windowed(cut) else None


@cache
def _by_key(rhythm: Rhythm) -> dict[str, Tile]:
    return {tile.key: tile for tile in _tiles(rhythm)}


def keys_by(cut: Cut, now: datetime) -> list[str]:
    """Every partition there is by a moment, as far as it can be told."""
    if cut is None:
        return []
    if cut["kind"] == "product":
        return ["|".join(each) for each in product(*(keys_by(each, now) for each in dimensions(cut).values()))]
    if windowed(cut):
        return [tile.key for tile in partitions(cut) if tile.start <= now]
    return [""] if cut["kind"] == "none" else list(cut.get("keys", ()))


def few_keys(cut: Cut, most: int = 4) -> list[str]:
    """The first partitions of a cut, of those that begin before the machine does."""
    if cut is None:
        return ["2026-10-25"]
    if cut["kind"] == "product":
        return ["|".join(each) for each in product(*(few_keys(each, 2) for each in cut["dimensions"].values()))]
    if cut["kind"] == "dynamic":
        return ["a", "b", "c"][:most]
    return keys_by(cut, _SOON)[:most]
