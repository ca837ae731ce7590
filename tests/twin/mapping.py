"""The twin of mappings, by docs/mappings.md: which partitions one needs, and which mappings fit no partition at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.twin.windows import Cut, Tile, is_key, partitions, tiles, window, windowed

Mapping = dict[str, Any]
Group = tuple[str, ...]  # of these partitions one is enough, the newest; they stand oldest first
_LENGTH = {"hourly": 0, "daily": 1, "weekly": 2, "monthly": 3}
_PERIOD = {"day": 1, "month": 3, "quarter": 4, "year": 5}


class Untold(Exception):
    """Which partitions are needed cannot be told; its argument is the code of the reason."""


def needed(mapping: Mapping, key: str, ours: Cut, theirs: Cut, now: datetime) -> list[Group]:
    """The partitions of the other side that the partition `key` asks for."""
    kind = mapping.get("kind", "same")
    if theirs is not None and theirs["kind"] == "none":
        return [("",)]
    if kind == "same":
        return [(each,) for each in _same(key, ours, theirs)]
    if kind == "fixed":
        return [(_existing(theirs, mapping["key"]),)]
    if kind == "table":
        if key not in mapping["keys"]:
            raise Untold("partition_unknown")
        return [(each,) for each in sorted(mapping["keys"][key])]
    if kind in ("window", "to_date"):
        return [(tile.key,) for tile in _span(mapping, key, ours, theirs)]
    return _reaching(mapping, key, ours, theirs, now)


def _existing(cut: Cut, key: str) -> str:
    if not is_key(cut, key):
        raise Untold("no_such_partition")
    return key


def _same(key: str, ours: Cut, theirs: Cut) -> list[str]:
    if theirs is None:
        return [key]
    mine = window(ours, key)
    if windowed(theirs) and theirs != ours and mine is not None:
        touched = [tile.key for tile in partitions(theirs) if _touch(tile, mine)]
        if not touched:
            raise Untold("no_such_partition")
        return touched
    if key == "":
        raise Untold("partition_unknown")
    return [_existing(theirs, key)]


def _touch(one: Tile, other: Tile) -> bool:
    return one.start < other.end and other.start < one.end


def _span(mapping: Mapping, key: str, ours: Cut, theirs: Cut) -> list[Tile]:
    """The other side's windows in a span that is counted in the task's own windows."""
    mine, others = (ours if ours is not None else theirs), (theirs if theirs is not None else ours)
    if not windowed(mine) or not windowed(others):
        raise Untold("partition_unknown")
    place = next((place for place, tile in enumerate(tiles(mine)) if tile.key == key), None)
    if place is None:
        raise Untold("no_such_partition")
    row = tiles(mine)
    if mapping["kind"] == "window":
        first, last = row[place + mapping.get("from", 0)], row[place + mapping.get("to", 0)]
    else:
        first, last = _first_of_period(mapping["period"], mine, row[place]), row[place]
    span = Tile("", first.start, last.end)
    return [tile for tile in partitions(others) if _touch(tile, span)]


def _first_of_period(period: str, cut: Cut, tile: Tile) -> Tile:
    """The first window that begins in the same day, month, quarter or year of the cut's own calendar."""
    assert cut is not None
    zone = ZoneInfo(cut.get("time_zone", "UTC"))

    def named(each: Tile) -> tuple[int, ...]:
        local = each.start.astimezone(zone)
        parts = (local.year, (local.month - 1) // 3, local.month, local.day)
        return parts[: {"year": 1, "quarter": 2, "month": 3, "day": 4}[period]]

    wanted = named(tile)
    return next(each for each in tiles(cut) if named(each) == wanted)


def _reaching(mapping: Mapping, key: str, ours: Cut, theirs: Cut, now: datetime) -> list[Group]:
    """`all` and `last`: what had ended when the own window ended; without a window, by now."""
    if theirs is None:
        return [("",)]
    if mapping["kind"] == "all" and theirs["kind"] == "static":
        return [(each,) for each in theirs["keys"]]
    if not windowed(theirs):
        raise Untold("partition_unknown")
    if windowed(ours) and not is_key(ours, key):
        raise Untold("no_such_partition")
    mine = window(ours, key)
    horizon = mine.end if mine is not None else now
    ended = [tile for tile in partitions(theirs) if tile.end <= horizon]
    if mapping["kind"] == "all":
        return [(tile.key,) for tile in ended]
    if "not_older_than" not in mapping:
        return [(tile.key,) for tile in ended[-1:]]
    oldest = horizon - timedelta(days=int(mapping["not_older_than"].strip("PD")))
    recent = tuple(tile.key for tile in ended if tile.end >= oldest)
    if not recent:
        raise Untold("partition_unknown")
    return [recent]


def fits(mapping: Mapping, ours: Cut, theirs: Cut) -> bool:
    """Whether the mapping can lead anywhere; what is not declared at both ends is let through."""
    if ours is None or theirs is None or theirs["kind"] == "none":
        return True
    kind, both = mapping.get("kind", "same"), windowed(ours) and windowed(theirs)
    match kind:
        case "same":
            found = _same_fits(ours, theirs)
        case "window":
            found = both and not _too_many(mapping, ours, theirs)
        case "to_date":
            found = both and _LENGTH[ours["kind"]] < _PERIOD[mapping["period"]]
        case "last":
            found = windowed(theirs)
        case "fixed":
            found = is_key(theirs, mapping["key"])
        case _:
            found = kind == "all" or _table_fits(mapping["keys"], ours, theirs)
    return found


def _too_many(mapping: Mapping, ours: Cut, theirs: Cut) -> bool:
    """Whether it asks for more than 1,000 partitions, as two months of hours are."""
    assert ours is not None
    assert theirs is not None
    return (ours["kind"], theirs["kind"]) == ("monthly", "hourly") and mapping["to"] > mapping["from"]


def _same_fits(ours: Cut, theirs: Cut) -> bool:
    assert ours is not None
    assert theirs is not None
    if ours["kind"] == "static":
        return all(is_key(theirs, key) for key in ours["keys"])
    return bool(ours["kind"] != "none" and not (windowed(ours) and theirs["kind"] == "static"))


def _table_fits(rows: dict[str, list[str]], ours: Cut, theirs: Cut) -> bool:
    assert ours is not None
    if windowed(ours):
        return False
    own = ours["keys"] if ours["kind"] == "static" else [""]
    return set(rows) == set(own) and all(is_key(theirs, key) for keys in rows.values() for key in keys)
