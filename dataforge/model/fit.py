"""Whether a mapping can lead from one partitioning to another at all: the refusal at declaration.

Guarantees that what is refused has partitions of which nothing could ever be told. What depends on keys that are not
known yet (those of dynamic sets) is let through, and is told when a partition is asked for.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from dataforge.model.attempt import Interval
from dataforge.model.edge import SAME, All, Along, Dimension, Fixed, Last, Mapping, Same, Table, ToDate, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import Side, source, upstream_keys
from dataforge.model.partition import InvalidPartitionKey, Partitioning, endless, keys_of, window_of
from dataforge.model.windows import INSTANT, Unmappable, bound, time_dimension

_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_LENGTHS = {"hourly": 0, "daily": 1, "weekly": 2, "monthly": 3}
_PERIODS = {"day": 1, "month": 3, "quarter": 4, "year": 5}


def misfit(mapping: Mapping, ours: Partitioning, theirs: Partitioning) -> str | None:
    """Why the mapping leads from no partition of a task cut as `ours` to one of `theirs` (the other end of the edge),
    and what to declare instead; None where it fits."""
    if theirs.kind == "none":
        return None
    return _CHECKS[type(mapping)](mapping, ours, theirs) or _too_many(mapping, ours, theirs)


class Fits:
    """What `misfit` says, found once for all edges that are alike: thousands join a handful of partitionings."""

    def __init__(self) -> None:
        self._cuts: dict[Partitioning, Partitioning] = {}
        self._said: dict[tuple[Mapping, int, int], str | None] = {}

    def one(self, cut: Partitioning | None) -> Partitioning | None:
        """The partitioning itself, or an equal one that was given before: `misfit` knows them by identity."""
        return cut and self._cuts.setdefault(cut, cut)

    def misfit(self, mapping: Mapping, ours: Partitioning, theirs: Partitioning) -> str | None:
        """As the function of this name, for partitionings that `one` has answered."""
        alike = (mapping, id(ours), id(theirs))
        if alike not in self._said:
            self._said[alike] = misfit(mapping, ours, theirs)
        return self._said[alike]


def _same(_: Same, ours: Partitioning, theirs: Partitioning) -> str | None:
    if ours.kind == "none":
        return f"last, all or fixed: the task has no partitions and the other side has ({theirs.kind})"
    if ours.kind == theirs.kind == "product":
        return _dimension(Dimension({}), ours, theirs)
    if theirs.kind == "product" and ours.kind != "dynamic":
        names = ", ".join(sorted(theirs.dimensions))
        return f"a mapping by dimension ({names}): the other side has two dimensions and the task is {ours.kind}"
    if ours.kind == "product" and not (theirs.windowed and time_dimension(ours) is not None):
        return f"a mapping along one of the task's dimensions ({', '.join(sorted(ours.dimensions))}), by kind along"
    if ours.windowed and theirs.kind == "static":
        return "all, fixed or last: the keys of a static partitioning are no time windows"
    return _unknown_keys(ours.keys, theirs) if ours.kind == "static" else None


def _unknown_keys(keys: tuple[str, ...], theirs: Partitioning) -> str | None:
    """Keys of a static partitioning that the other side does not have."""
    missing = [key for key in keys if _invalid(theirs, key)]
    return f"a table: the other side ({theirs.kind}) has no partition {missing[0]!r}" if missing else None


def _invalid(cut: Partitioning, key: str) -> str | None:
    try:
        window_of(cut, key)
    except InvalidPartitionKey as error:
        return error.errors[0].expected
    return None


def _window(_: Window | ToDate, ours: Partitioning, theirs: Partitioning) -> str | None:
    if time_dimension(ours) is None:
        return f"another mapping than windows: the task ({ours.kind}) has none"
    if theirs.kind == "product":
        return "a mapping by dimension, with the window for the dimension of time"
    return None if theirs.windowed else f"another mapping than windows: the other side ({theirs.kind}) has none"


def _to_date(mapping: ToDate, ours: Partitioning, theirs: Partitioning) -> str | None:
    mine = time_dimension(ours)
    if mine is not None and _LENGTHS.get(mine.kind, 0) >= _PERIODS[mapping.period]:
        return f"a period longer than the task's own windows ({mine.kind}), or same"
    return _window(mapping, ours, theirs)


def _all(mapping: All, ours: Partitioning, theirs: Partitioning) -> str | None:
    if theirs.kind == "product":
        return _dimension(Dimension(dict.fromkeys(theirs.dimensions, mapping)), ours, theirs)
    return "a start in the other side's partitioning, from which all can be told" if _endless(theirs) else None


def _endless(cut: Partitioning) -> bool:
    return cut.windowed and cut.start is None


def _last(_: Last, __: Partitioning, theirs: Partitioning) -> str | None:
    if theirs.kind == "product":
        return "a mapping by dimension, with last for the dimension of time"
    return None if theirs.windowed else f"another mapping than last: the other side ({theirs.kind}) has no time windows"


def _fixed(mapping: Fixed, _: Partitioning, theirs: Partitioning) -> str | None:
    return _invalid(theirs, mapping.key)


def _table(mapping: Table, ours: Partitioning, theirs: Partitioning) -> str | None:
    if ours.windowed:
        return f"a window or fixed: a table cannot name every partition of a {ours.kind} task"
    for row, keys in sorted(mapping.keys.items()):
        if wrong := _invalid(ours, row):
            return f"rows of the task's own keys ({row!r} is none): {wrong}"
        if unknown := [expected for key in keys if (expected := _invalid(theirs, key))]:
            return f"keys that the other side has (the row {row!r} names another): {unknown[0]}"
    needed = ours.keys if ours.kind == "static" else ("",) if ours.kind == "none" else ()
    missing = [key for key in needed if key not in mapping.keys]
    return f"a row for {missing[0]!r} too, an empty one where it needs nothing" if missing else None


def _dimension(mapping: Dimension, ours: Partitioning, theirs: Partitioning) -> str | None:
    if theirs.kind != "product":
        return f"no mapping by dimension: the other side ({theirs.kind}) has no dimensions"
    names = ", ".join(sorted(theirs.dimensions))
    for name in sorted(mapping.dimensions):
        if name not in theirs.dimensions:
            return f"dimensions of the other side, {names}; {name!r} is none"
    for name, cut in sorted(theirs.dimensions.items()):
        part = mapping.dimensions.get(name, SAME)
        try:
            origin = source(ours, name, part)
        except Unmappable as error:
            return f"for {name} one of along, all, last and fixed: {error}"
        if wrong := misfit(part, ours if origin is None else ours.dimensions[origin], cut):
            return f"for {name} {wrong}"
    return None


def _along(mapping: Along, ours: Partitioning, theirs: Partitioning) -> str | None:
    if mapping.dimension not in ours.dimensions:
        return (
            f"a dimension of the task; {mapping.dimension!r} is none of {', '.join(sorted(ours.dimensions)) or 'its'}"
        )
    return misfit(mapping.mapping, ours.dimensions[mapping.dimension], theirs)


def _too_many(mapping: Mapping, ours: Partitioning, theirs: Partitioning) -> str | None:
    """Windows that hold more of the other side's than an edge may name; each of them would, so one is tried."""
    if not isinstance(mapping, Same | Window | ToDate) or not ours.windowed or not theirs.windowed:
        return None
    return _too_many_windows(mapping, ours, theirs)


@lru_cache(maxsize=4_096)  # edges by the thousand join a handful of partitionings
def _too_many_windows(mapping: Same | Window | ToDate, ours: Partitioning, theirs: Partitioning) -> str | None:
    begin = max((bound(cut, cut.start) for cut in (ours, theirs) if cut.start), default=_SOME_DAY)
    mine = endless(ours)
    try:
        key = keys_of(mine, Interval(begin, begin + INSTANT))[0]
        upstream_keys(mapping, Side(key, mine, begin), endless(theirs))
    except Unmappable as error:
        return f"fewer or longer windows: {error}"
    except InvalidInput:
        return None
    return None


_CHECKS: dict[type, Callable[[Any, Partitioning, Partitioning], str | None]] = {
    Same: _same,
    Window: _window,
    ToDate: _to_date,
    All: _all,
    Last: _last,
    Fixed: _fixed,
    Table: _table,
    Dimension: _dimension,
    Along: _along,
}
