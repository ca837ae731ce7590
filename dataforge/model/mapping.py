"""Which partitions of an upstream one partition of a task needs.

Guarantees that an answer is complete or refused: where the needed partitions cannot be told, or are too many to
name each, `Unmappable` says what to declare; a partition is never left out in silence.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import msgspec

from dataforge.model.attempt import Interval
from dataforge.model.edge import SAME, All, Dimension, Fixed, Last, Mapping, Same, Table, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.partition import NONE, InvalidPartitionKey, Partitioning, keys_of, window_at, window_of

MOST_PARTITIONS = 1_000  # of one edge: each that is missing is named in the verdict
_MOST_STEPS = 10_000  # windows between a partition and the farthest that it needs
_INSTANT = timedelta(microseconds=1)


class Unmappable(InvalidInput):
    """Which partitions of the upstream are needed cannot be told; the message says what to declare."""


class Side(msgspec.Struct, frozen=True):
    """The partition that asks: its key, how its task is cut (None: nobody knows), and the present time."""

    key: str
    cut: Partitioning | None
    now: datetime

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
    if theirs == NONE:
        return ("",)
    keys = _KEYS[type(mapping)](mapping, side, theirs)
    if len(keys) > MOST_PARTITIONS:
        raise Unmappable(f"it asks for {len(keys)} partitions, and {MOST_PARTITIONS} is the most of one edge")
    return keys


def _same(_: Same, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    """The same key, or where both are cut into different windows those that cover this one's."""
    if theirs is None:
        return (side.key,)
    if side.window is not None and theirs.windowed and theirs != side.cut:
        return _covering(theirs, side.window)
    if not side.key:
        message = f"the upstream is cut ({theirs.kind}) and the task is not: declare a mapping such as last or all"
        raise Unmappable(message)
    window_of(theirs, side.key)
    return (side.key,)


def _window(mapping: Window, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    """Partitions before the upstream's first one or after its last are not asked for: there are none."""
    mine = _time_dimension(side.cut) or _time_dimension(theirs)
    upstream = theirs or mine
    if mine is None or upstream is None or not upstream.windowed:
        raise Unmappable("a window needs time windows on both sides: declare their partitionings")
    window = side.window or window_of(mine, side.key)
    if window is None:
        raise Unmappable(f"{side.key!r} has no time window")
    span = Interval(_step(mine, window, mapping.from_).start, _step(mine, window, mapping.to).end)
    return tuple(key for key in _covering(upstream, span) if _exists(upstream, key))


def _all(_: All, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    if theirs is None:
        return ("",)
    if theirs.kind == "static":
        return theirs.keys
    if not theirs.windowed or theirs.start is None:
        raise Unmappable(f"all partitions of a {theirs.kind} upstream cannot be told: declare where it starts")
    begin = datetime.fromisoformat(theirs.start).replace(tzinfo=ZoneInfo(theirs.time_zone))
    span = Interval(begin, side.horizon)
    return tuple(key for key in _covering(theirs, span) if _ended(theirs, key, side.horizon))


def _last(_: Last, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    if theirs is None:
        return ("",)
    if not theirs.windowed:
        raise Unmappable(f"a {theirs.kind} upstream has no last partition: declare another mapping")
    window = _step(theirs, Interval(side.horizon, side.horizon), -1)
    if window.end > side.horizon:
        window = _step(theirs, window, -1)
    return tuple(key for key in keys_of(theirs, window) if _exists(theirs, key))


def _fixed(mapping: Fixed, _: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    if theirs is not None:
        window_of(theirs, mapping.key)
    return (mapping.key,)


def _table(mapping: Table, side: Side, _: Partitioning | None) -> tuple[str, ...]:
    if side.key not in mapping.keys:
        raise Unmappable(f"the table of the mapping names no partitions for {side.key!r}")
    return mapping.keys[side.key]


def _dimension(mapping: Dimension, side: Side, theirs: Partitioning | None) -> tuple[str, ...]:
    if theirs is None or theirs.kind != "product":
        raise Unmappable("a mapping by dimension needs an upstream of two dimensions: declare its partitioning")
    parts = [
        upstream_keys(mapping.dimensions.get(name, SAME), _along(side, name), theirs.dimensions[name])
        for name in sorted(theirs.dimensions)
    ]
    return tuple("|".join(keys) for keys in product(*parts))


def _along(side: Side, name: str) -> Side:
    """What asks along one dimension: this side's dimension of that name, else its only key."""
    if side.cut is None or side.cut.kind != "product":
        return side
    if name not in side.cut.dimensions:
        raise Unmappable(f"the task has no dimension {name}: declare how the upstream's is found")
    parts = dict(zip(sorted(side.cut.dimensions), side.key.split("|"), strict=True))
    return Side(parts[name], side.cut.dimensions[name], side.now)


_KEYS: dict[type, Callable[..., tuple[str, ...]]] = {
    Same: _same,
    Window: _window,
    All: _all,
    Last: _last,
    Fixed: _fixed,
    Table: _table,
    Dimension: _dimension,
}


def _covering(cut: Partitioning, span: Interval) -> tuple[str, ...]:
    keys = keys_of(cut, span)
    if not keys and not span.empty:  # so many that `keys_of` names none
        raise Unmappable(f"it asks for too many {cut.kind} partitions, from {span.start} to {span.end}")
    return keys


def _step(cut: Partitioning, window: Interval, steps: int) -> Interval:
    """The window so many steps on, or back; partitionings are followed beyond their own start and end."""
    if abs(steps) > _MOST_STEPS:
        raise Unmappable(f"a window {steps} steps away is too far; {_MOST_STEPS} is the most")
    for _ in range(abs(steps)):
        window = window_at(cut, window.end if steps > 0 else window.start - _INSTANT)
    return window


def _time_dimension(cut: Partitioning | None) -> Partitioning | None:
    if cut is None or cut.windowed:
        return cut
    return next((part for _, part in sorted(cut.dimensions.items()) if part.windowed), None)


def _exists(cut: Partitioning, key: str) -> bool:
    try:
        window_of(cut, key)
    except InvalidPartitionKey:
        return False
    return True


def _ended(cut: Partitioning, key: str, horizon: datetime) -> bool:
    if not _exists(cut, key):
        return False
    window = window_of(cut, key)
    return window is not None and window.end <= horizon
