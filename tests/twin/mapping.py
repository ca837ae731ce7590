"""The twin of mappings, by docs/mappings.md: which partitions one needs, and which mappings fit no partition at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from tests.twin.windows import Cut, Tile, dimensions, is_key, part, partitions, tiles, timed, window, windowed

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
    if kind == "along":
        return needed(mapping.get("mapping", {}), *_along(mapping["dimension"], key, ours), theirs, now)
    if kind == "dimension" or (dimensions(theirs) and (kind == "all" or (kind == "same" and dimensions(ours)))):
        return _by_dimension(mapping, key, ours, theirs, now)
    if kind in ("all", "last"):
        return _reaching(mapping, key, ours, theirs, now)
    return [(each,) for each in _plain(mapping, key, ours, theirs)]


def _plain(mapping: Mapping, key: str, ours: Cut, theirs: Cut) -> list[str]:
    match mapping.get("kind", "same"):
        case "same":
            return _same(key, ours, theirs)
        case "fixed":
            return [_existing(theirs, mapping["key"])]
        case "table":
            if key not in mapping["keys"]:
                raise Untold("partition_unknown")
            return sorted(mapping["keys"][key])
    return [tile.key for tile in _span(mapping, key, ours, theirs)]


def _along(dimension: str, key: str, ours: Cut) -> tuple[str, Cut]:
    """What the own key says of one of the own two dimensions, and how that is cut."""
    if dimension not in dimensions(ours):
        raise Untold("partition_unknown")
    of = part(ours, dimension, key)
    if of is None:
        raise Untold("no_such_partition")
    return of, dimensions(ours)[dimension]


def _by_dimension(mapping: Mapping, key: str, ours: Cut, theirs: Cut, now: datetime) -> list[Group]:
    """Each of the other side's dimensions by its own mapping; `all` is all of both."""
    if not dimensions(theirs):
        raise Untold("partition_unknown")
    parts: list[list[Group]] = []
    for name, cut in dimensions(theirs).items():
        by = mapping if mapping.get("kind") == "all" else _of_dimension(mapping, name)
        given = _along(name, key, ours) if _has_its_own(by, name, ours) else (key, ours)
        parts.append(needed(by, *given, cut, now))
    return [tuple("|".join(each) for each in product(*groups)) for groups in product(*parts)]


def _of_dimension(mapping: Mapping, name: str) -> Mapping:
    """How one of the other side's dimensions is mapped: where nothing is said, by the same key."""
    found: Mapping = mapping.get("dimensions", {}).get(name, {"kind": "same"})
    return found


def _has_its_own(mapping: Mapping, name: str, ours: Cut) -> bool:
    """Whether a dimension is mapped from the own one of its name; else it is from the own key as a whole."""
    return mapping["kind"] != "along" and name in dimensions(ours)


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
    if not windowed(others) or not windowed(_time(mine)):
        raise Untold("partition_unknown")
    if (time := timed(mine)) is not None:
        key, mine = _along(time, key, mine)
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
    if mapping["kind"] == "all" and theirs.get("keys"):
        return [(each,) for each in theirs["keys"]]
    if not windowed(theirs):
        raise Untold("partition_unknown")
    if not is_key(ours, key):
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


def of_any_age(mapping: Mapping) -> Mapping:
    """The same mapping, with the last partition there is in the place of the newest that is not older: at some moment
    it is that."""
    found = {key: of_any_age(said) if key == "mapping" else said for key, said in mapping.items()}
    if "dimensions" in mapping:
        found["dimensions"] = {name: of_any_age(said) for name, said in mapping["dimensions"].items()}
    return {key: said for key, said in found.items() if key != "not_older_than"}


def rows(mapping: Mapping) -> Iterator[str]:
    """The keys that have rows in the tables of a mapping."""
    yield from mapping.get("keys", ())
    for inner in [*mapping.get("dimensions", {}).values(), *([mapping["mapping"]] if "mapping" in mapping else [])]:
        yield from rows(inner)


def fits(mapping: Mapping, ours: Cut, theirs: Cut) -> bool:
    """Whether the mapping can lead anywhere; what is not declared at both ends is let through."""
    if ours is None or theirs is None or theirs["kind"] == "none":
        return True
    match mapping.get("kind", "same"):
        case "same":
            found = _same_fits(ours, theirs)
        case "window":
            mine = _time(ours)
            found = mine is not None and windowed(theirs) and not _too_many(mapping, mine, theirs)
        case "to_date":
            longest = _PERIOD[mapping["period"]]
            mine = _time(ours)
            found = mine is not None and windowed(theirs) and _LENGTH.get(mine["kind"], 0) < longest
        case "last":
            found = windowed(theirs)
        case "fixed":
            found = is_key(theirs, mapping["key"])
        case "table":
            found = _table_fits(mapping["keys"], ours, theirs)
        case "along":
            own = dimensions(ours).get(mapping["dimension"])
            found = own is not None and fits(mapping.get("mapping", {}), own, theirs)
        case "dimension":
            found = set(mapping["dimensions"]) <= set(dimensions(theirs)) and _dimensions_fit(mapping, ours, theirs)
        case _:
            found = True  # all
    return found


def _time(cut: Cut) -> Cut:
    """The time windows of a cut, or of one of its two dimensions."""
    return cut if windowed(cut) else dimensions(cut).get(timed(cut) or "")


def _too_many(mapping: Mapping, ours: Cut, theirs: Cut) -> bool:
    """Whether it asks for more than 1,000 partitions, as two months of hours are."""
    assert ours is not None
    assert theirs is not None
    return (ours["kind"], theirs["kind"]) == ("monthly", "hourly") and mapping["to"] > mapping["from"]


def _same_fits(ours: Cut, theirs: Cut) -> bool:
    assert ours is not None
    assert theirs is not None
    if dimensions(theirs):
        return ours["kind"] == "dynamic" or (bool(dimensions(ours)) and _dimensions_fit({}, ours, theirs))
    if dimensions(ours):
        return timed(ours) is not None and windowed(theirs)
    if ours["kind"] == "static":
        return all(is_key(theirs, key) for key in ours["keys"])
    return bool(ours["kind"] != "none" and not (windowed(ours) and theirs["kind"] == "static"))


def _dimensions_fit(mapping: Mapping, ours: Cut, theirs: Cut) -> bool:
    for name, cut in dimensions(theirs).items():
        by = _of_dimension(mapping, name)
        own = ours
        if _has_its_own(by, name, ours):
            own = dimensions(ours)[name]
        elif dimensions(ours) and by["kind"] not in ("along", "all", "last", "fixed"):
            return False  # which of the own two dimensions is meant is not said
        if not fits(by, own, cut):
            return False
    return True


def _table_fits(rows: dict[str, list[str]], ours: Cut, theirs: Cut) -> bool:
    assert ours is not None
    if windowed(ours):
        return False
    own = {"static": ours.get("keys", ()), "none": [""]}.get(ours["kind"], ())
    return (
        all(is_key(ours, row) for row in rows)
        and set(own) <= set(rows)
        and all(is_key(theirs, key) for keys in rows.values() for key in keys)
    )
