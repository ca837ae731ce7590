"""The twin of who makes a partition, by docs/mappings.md and docs/dynamic.md: which partitions of a task may write one
of a dataset, before each of them is asked whether it does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from itertools import product

from tests.twin.mapping import Mapping, rows
from tests.twin.windows import Cut, dimensions, is_key, keys_by, tiles, timed, windowed

_LATEST = datetime.max.replace(tzinfo=UTC)
_WHOLE = ""
_EVERY = ("all", "last", "fixed")  # they lead back to every partition


def candidates(mapping: Mapping, key: str, ours: Cut, theirs: Cut, now: datetime) -> Collection[str]:
    """Those to which the partition `key` leads back, and some more. What leads to every partition leads to those that
    have begun, of the keys that a set holds; what leads to one by its own time or key leads to others as well."""
    kind = mapping.get("kind", "same")
    if theirs is not None and theirs["kind"] == "none":
        return keys_by(ours, now)
    if kind == "table":
        return [row for row in mapping["keys"] if is_key(ours, row)]
    exact = set(_exact(mapping, ours, theirs))
    named = {key, *key.split("|"), *rows(mapping)}
    if ours is None:
        return {*named, *_windows(theirs)} if exact else ()
    parts = dimensions(ours) or {_WHOLE: ours}
    found = [_keys(cut, named) if name in exact else keys_by(cut, now) for name, cut in parts.items()]
    own = [key] if kind == "same" and is_key(ours, key) else []
    return {*own, *("|".join(each) for each in product(*found))}


def _exact(mapping: Mapping, ours: Cut, theirs: Cut) -> Iterator[str]:
    """From which of the own dimensions it leads by time or key; where there are none, from the own key as a whole."""
    kind = mapping.get("kind", "same")
    if kind == "along":
        if mapping.get("mapping", {}).get("kind") not in _EVERY:
            yield mapping["dimension"]
    elif dimensions(theirs) and (kind == "dimension" or (kind == "same" and dimensions(ours))):
        for name in dimensions(theirs):
            by = mapping.get("dimensions", {}).get(name, {})
            if by.get("kind") == "along":
                yield from _exact(by, ours, theirs)
            elif by.get("kind") not in _EVERY:
                yield name if name in dimensions(ours) else _WHOLE
    elif kind not in _EVERY:
        yield timed(ours) or _WHOLE


def _windows(theirs: Cut) -> list[str]:
    cut = theirs if windowed(theirs) else dimensions(theirs).get(timed(theirs) or "")
    return [tile.key for tile in tiles(cut)] if cut is not None else []


def _keys(cut: Cut, named: Collection[str]) -> list[str]:
    """The keys of a cut, whenever they begin; of a set also those that somebody names."""
    return [*keys_by(cut, _LATEST), *(key for key in named if cut and cut["kind"] == "dynamic" and is_key(cut, key))]
