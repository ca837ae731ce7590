"""Which partitions of an upstream one partition of a task needs, and which partitions of a dataset its run writes.

Guarantees that an answer is complete or refused: where the partitions cannot be told, or are too many to name each,
`Unmappable` says what to declare; a partition is never left out in silence. `model.downstream` is the way back.
"""

from collections.abc import Callable
from datetime import datetime
from itertools import product
from math import prod

import msgspec
from msgspec.structs import replace

from dataforge.model.attempt import Interval
from dataforge.model.edge import (
    SAME,
    All,
    Along,
    Dimension,
    Fixed,
    Last,
    Mapping,
    Same,
    Table,
    ToDate,
    Window,
    chooses,
)
from dataforge.model.partition import Partitioning, has_ended, parts_of, window_of
from dataforge.model.windows import INSTANT, Unmappable, at, bound, covering, partitions, step, time_dimension, to_date

MOST_PARTITIONS = 1_000  # of one edge: each that is missing is named in the verdict


class Side(msgspec.Struct, frozen=True):
    """The partition that asks: its key, how its task is cut (None: nobody knows), and the present time."""

    key: str
    cut: Partitioning | None
    now: datetime
    known_from: str = ""  # the day at which "all" begins, where older windows have ended

    @property
    def window(self) -> Interval | None:
        """Its time window; None for a key without one."""
        return window_of(self.cut, self.key) if self.cut else None

    @property
    def horizon(self) -> datetime:
        """How far "all" and "last" reach: to the end of the window, or until now."""
        return self.window.end if self.window else self.now


def upstream_keys(mapping: Mapping, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    """The keys of the upstream's partitions that the edge asks for, in the upstream's order.

    `theirs` is how the upstream is cut; None where nobody has declared or seen it. What has no partitions is
    needed as a whole, which is the key ''. Raises Unmappable, or InvalidPartitionKey where the upstream has no
    partition of the key that is asked for.
    """
    if theirs is not None and theirs.kind == "none":
        return ("",)
    keys = _KEYS[type(mapping)](mapping, side, theirs)
    _refuse_too_many(len(keys))
    return keys


def _refuse_too_many(count: int) -> None:
    if count > MOST_PARTITIONS:
        raise Unmappable(f"it asks for {count} partitions, and {MOST_PARTITIONS} is the most of one edge")


def upstream_choices(mapping: Mapping, side: Side, theirs: Partitioning | None) -> tuple[tuple[str, ...], ...]:
    """The same keys in groups, oldest first; of each group one ready partition, the newest, is enough."""
    keys = upstream_keys(mapping, side, theirs)
    if not chooses(mapping) or theirs is None or theirs.kind == "none":
        return tuple((key,) for key in keys)
    if isinstance(mapping, Along):
        return upstream_choices(mapping.mapping, _part(side, mapping.dimension), theirs)
    if isinstance(mapping, Dimension):
        parts = [upstream_choices(part, by, cut) for part, by, cut in _parts(mapping, side, theirs)]
        return tuple(tuple("|".join(key) for key in product(*groups)) for groups in product(*parts))
    return (keys,)


def produced_keys(
    mapping: Mapping, key: str, task: Partitioning | None, dataset: Partitioning | None, now: datetime
) -> tuple[str, ...]:
    """The partitions of a dataset that the task's run for `key` writes. Raises as `upstream_keys` does."""
    return upstream_keys(mapping, Side(key, task, now), dataset)


def _same(_: Same, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    """The same key, or where both are cut into different windows those that cover this one's."""
    if theirs is None:
        return (side.key,)
    if side.cut is not None and side.cut.kind == theirs.kind == "product":
        return _dimension(Dimension({}), side, theirs)
    if theirs.windowed and theirs != side.cut and side.window is not None:
        return partitions(theirs, side.window) or _only(theirs, (*covering(theirs, side.window), side.key)[0])
    if not side.key:
        message = f"the upstream is cut ({theirs.kind}) and the task is not: declare a mapping such as last or all"
        raise Unmappable(message)
    return _only(theirs, side.key)


def _only(theirs: Partitioning, key: str) -> tuple[str, ...]:
    """The one key, if the upstream has it; else InvalidPartitionKey is raised."""
    window_of(theirs, key)
    return (key,)


def _window(mapping: Window, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    """Partitions before the upstream's first one or after its last are not asked for: there are none."""
    mine, upstream = _windows(side, theirs)
    window = at(mine, side.key) if side.window is None else side.window
    span = Interval(step(mine, window, mapping.from_).start, step(mine, window, mapping.to).end)
    return partitions(upstream, span)


def _to_date(mapping: ToDate, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    mine, upstream = _windows(side, theirs)
    window = at(mine, side.key) if side.window is None else side.window
    return partitions(upstream, to_date(mine, window, mapping.period))


def _windows(side: Side, theirs: Partitioning | None) -> tuple[Partitioning, Partitioning]:
    """The windows of both sides; one that nobody knows is taken to be cut as the other is."""
    mine = time_dimension(theirs if side.cut is None else side.cut)
    upstream = theirs if theirs is not None else side.cut
    if mine is None or upstream is None or not upstream.windowed:
        raise Unmappable("a window needs time windows on both sides: declare their partitionings")
    return mine, upstream


def _all(mapping: All, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    if theirs is None:
        return ("",)
    if theirs.kind in ("static", "dynamic"):
        return _known(theirs)
    if theirs.kind == "product":
        return _dimension(Dimension(dict.fromkeys(theirs.dimensions, mapping)), side, theirs)
    if not theirs.windowed or theirs.start is None:
        raise Unmappable(f"all partitions of a {theirs.kind} upstream cannot be told: declare where it starts")
    keys = partitions(theirs, Interval(bound(theirs, theirs.start), side.horizon))
    keys = keys if not keys or at(theirs, keys[-1]).end <= side.horizon else keys[:-1]
    return tuple(key for key in keys if not has_ended(key, side.known_from))


def _known(theirs: Partitioning) -> tuple[str, ...]:
    """The keys of a set; of one that grows those that it holds by now. It is not empty for having none yet."""
    if not theirs.keys:
        raise Unmappable(f"the set {theirs.set} holds no key yet: register one, or run what makes its first")
    return theirs.keys


def _last(mapping: Last, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    if theirs is None:
        return ("",)
    if not theirs.windowed:
        raise Unmappable(f"a {theirs.kind} upstream has no last partition: declare another mapping")
    if mapping.not_older_than is not None:
        return _recent(theirs, Interval(side.horizon - mapping.not_older_than, side.horizon))
    horizon = min(side.horizon, bound(theirs, theirs.end)) if theirs.end else side.horizon
    window = step(theirs, Interval(horizon, horizon), -1)
    if window.end > horizon:
        window = step(theirs, window, -1)
    return partitions(theirs, window)


def _recent(theirs: Partitioning, span: Interval) -> tuple[str, ...]:
    """The partitions that ended in the span, its two ends included."""
    touched = partitions(theirs, Interval(span.start - INSTANT, span.end))
    keys = tuple(key for key in touched if span.start <= at(theirs, key).end <= span.end)
    if not keys:
        message = (
            f"no {theirs.kind} partition of it ended from {span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M}"
        )
        raise Unmappable(f"{message} UTC; a longer not_older_than finds an older one")
    return keys


def _fixed(mapping: Fixed, _: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    return (mapping.key,) if theirs is None else _only(theirs, mapping.key)


def _table(mapping: Table, side: Side, _: Partitioning | None) -> tuple[str, ...]:
    if side.key not in mapping.keys:
        raise Unmappable(f"the table of the mapping names no partitions for {side.key!r}")
    return mapping.keys[side.key]


def _dimension(mapping: Dimension, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    if theirs is None or theirs.kind != "product":
        raise Unmappable("a mapping by dimension needs an upstream of two dimensions: declare its partitioning")
    keys = [upstream_keys(part, by, cut) for part, by, cut in _parts(mapping, side, theirs)]
    _refuse_too_many(prod(map(len, keys)))
    return tuple("|".join(each) for each in product(*keys))


def _along(mapping: Along, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    return upstream_keys(mapping.mapping, _part(side, mapping.dimension), theirs)


def _parts(mapping: Dimension, side: Side, theirs: Partitioning) -> list[tuple[Mapping, Side, Partitioning]]:
    """Of each of the upstream's dimensions its mapping, what asks along it, and how it is cut."""
    parts = {name: mapping.dimensions.get(name, SAME) for name in sorted(theirs.dimensions)}
    asking = [_asks(side, name, part) for name, part in parts.items()]
    asking[1:] = [replace(each, known_from="") for each in asking[1:]]  # a key begins with its first dimension
    return [(part, by, theirs.dimensions[name]) for (name, part), by in zip(parts.items(), asking, strict=True)]


def _asks(side: Side, name: str, mapping: Mapping) -> Side:
    """What asks along one dimension: this side's dimension of that name, else this side as a whole."""
    origin = source(side.cut, name, mapping)
    return side if origin is None else _part(side, origin)


def source(ours: Partitioning | None, name: str, mapping: Mapping) -> str | None:
    """The dimension of ours from which the upstream's dimension `name` is mapped; None for all that we have."""
    if ours is None or ours.kind != "product" or isinstance(mapping, Along):
        return None
    if name in ours.dimensions:
        return name
    if isinstance(mapping, All | Fixed | Last):
        return None
    raise Unmappable(f"the task has no dimension {name}: map it along one that it has, or declare all, last or fixed")


def _part(side: Side, name: str) -> Side:
    if side.cut is None or name not in side.cut.dimensions:
        raise Unmappable(f"the task has no dimension {name}: declare its partitioning")
    return Side(parts_of(side.cut, side.key)[name], side.cut.dimensions[name], side.now, side.known_from)


_KEYS: dict[type, Callable[..., tuple[str, ...]]] = {
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
