"""The twin of shares, by docs/completeness.md: which runs of one producer a partition of a dataset consists of.

Each partition that the producer may have is tried. Which keys a dynamic set will hold cannot be told, nor how a task
is cut that nobody has cut; so beside the keys that anybody names one is tried that nobody does, and where that one
brings a share, it stands for all of them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from tests.twin.mapping import Mapping, Untold, needed, rows
from tests.twin.windows import Cut, dimensions, is_key, keys_by, tiles, timed, windowed

_EVER = datetime(2100, 1, 1, tzinfo=UTC)  # a share has no clock
_SOMEBODY = "~"  # a key that nobody names


class Brought(NamedTuple):
    """A share: of a partition of its producer; of all whose key holds this one in a place; without a key of any."""

    key: str | None = None
    place: int | None = None

    def is_by(self, key: str) -> bool:
        """Whether a run for this partition of the producer brings it."""
        if self.place is None:
            return self.key in (None, key)
        return [self.key] == key.split("|")[self.place : self.place + 1]


ANY = Brought()


@lru_cache(maxsize=10_000)
def brought(declared: str, key: str) -> list[Brought]:
    """What a producer brings to a partition: `declared` is how it is cut, its mapping, and how the dataset is cut, as
    JSON. To try each partition takes long."""
    ours, mapping, theirs = json.loads(declared)
    return _brought(ours, mapping, theirs, key) if is_key(theirs, key) else []


def _brought(ours: Cut, mapping: Mapping, theirs: Cut, key: str) -> list[Brought]:
    if ours is None:
        return _of_the_uncut(mapping, theirs, key)
    writing = [own for own in keys_by(_tried(ours, mapping, key), _EVER) if _writes(ours, mapping, theirs, own, key)]
    if (windowed(ours) or timed(ours) is not None) and not _apart(ours, mapping, theirs):
        return _of_any_window(ours, writing)
    return [ANY] if _told_of_nobody(writing) else [Brought(own) for own in writing]


def _of_any_window(ours: Cut, writing: list[str]) -> list[Brought]:
    """Where the latest window stands for all: the keys beside time, each once."""
    if windowed(ours):
        return [ANY] if writing else []
    place = next(place for place, name in enumerate(dimensions(ours)) if name != timed(ours))
    found = sorted({own.split("|")[place] for own in writing})
    return [ANY] if _told_of_nobody(found) else [Brought(each, place) for each in found]


def _of_the_uncut(mapping: Mapping, theirs: Cut, key: str) -> list[Brought]:
    """Of a task that nobody has cut: its mapping alone may tell whose windows or keys it writes by."""
    kind = mapping.get("kind", "same")
    if theirs is not None and theirs["kind"] == "none":
        return [ANY]
    if kind == "same":
        return [Brought(key)]
    if kind in ("window", "to_date"):
        return [ANY] if windowed(theirs) else []
    named = _named(mapping, key)
    if any(rule["kind"] in ("window", "to_date") for rule in mapping.get("dimensions", {}).values()):
        named += [tile.key for each in dimensions(theirs).values() if windowed(each) for tile in tiles(each)]
        return [ANY] if any(_writes(None, mapping, theirs, own, key) for own in named) else []
    writing = [own for own in named if _writes(None, mapping, theirs, own, key)]
    return [ANY] if _told_of_nobody(writing) else [Brought(own) for own in writing]


def _tried(cut: Cut, mapping: Mapping, key: str) -> Cut:
    """The cut with all keys of its dynamic sets that may matter."""
    if cut is not None and cut["kind"] == "product":
        return {**cut, "dimensions": {name: _tried(each, mapping, key) for name, each in dimensions(cut).items()}}
    return {**cut, "keys": _named(mapping, key)} if cut is not None and cut["kind"] == "dynamic" else cut


def _named(mapping: Mapping, key: str) -> list[str]:
    told = {key, *rows(mapping)}
    return sorted({*told, *(part for each in told for part in each.split("|")), _SOMEBODY} - {""})


def _told_of_nobody(keys: list[str]) -> bool:
    return any(_SOMEBODY in each.split("|") for each in keys)


def _apart(ours: Cut, mapping: Mapping, theirs: Cut) -> bool:
    """Whether windows are shares of their own: those of the dataset come by `same` from the producer's."""
    kind = mapping.get("kind", "same")
    if theirs is None:
        return bool(kind == "same")
    time = timed(theirs)
    if time is None and not windowed(theirs):
        return False
    by = mapping.get("dimensions", {}).get(time, {}) if kind == "dimension" else mapping
    if by.get("kind") == "along":
        return bool(by["dimension"] == timed(ours) and by.get("mapping", {}).get("kind", "same") == "same")
    return bool(by.get("kind", "same") == "same") and (time is None or windowed(ours) or time == timed(ours))


def _writes(ours: Cut, mapping: Mapping, theirs: Cut, own: str, key: str) -> bool:
    """Whether a run for a partition of the producer ever writes this one of the dataset."""
    by = mapping if windowed(ours) or timed(ours) is not None else _in_its_turn(mapping, theirs)
    try:
        return any(key in group for group in needed(by, own, ours, _tried(theirs, mapping, key), _EVER))
    except Untold:
        return False


def _in_its_turn(mapping: Mapping, theirs: Cut) -> Mapping:
    """What a task without time writes by the last window that has ended: every one, each in its turn."""
    kind = mapping.get("kind", "same")
    if kind == "last" and windowed(theirs):
        return {"kind": "all"}
    if kind == "along":
        return {**mapping, "mapping": _in_its_turn(mapping.get("mapping", {}), theirs)}
    if kind == "dimension":
        of = dimensions(theirs)
        return {
            **mapping,
            "dimensions": {n: _in_its_turn(each, of.get(n)) for n, each in mapping["dimensions"].items()},
        }
    return mapping


def most(ours: Cut, mapping: Mapping, theirs: Cut) -> int | None:
    """The most shares that a producer can bring to any one partition; None where no number is known."""
    plain = mapping.get("kind", "same") == "same"
    if ours is not None and ours["kind"] == "static":
        return 1 if plain and theirs is not None and theirs["kind"] == "static" else len(ours["keys"])
    if ours is None:
        return len(mapping.get("keys", [""]))
    if ours["kind"] in ("dynamic", "product"):
        return None
    time = dimensions(theirs).get(timed(theirs) or "", theirs)
    return None if _apart(ours, mapping, theirs) and windowed(time) and time != ours else 1
