"""Which partitions of a task one partition of an upstream wakes: the exact inverse of `model.mapping`.

Guarantees that a partition of the task is named exactly when its own needs (`upstream_keys`) hold the upstream's
partition: what may be meant is found by arithmetic, and each is then asked. Where the whole of the task is meant
(`all`, `last`, `fixed`, an upstream without partitions, a dimension that is dropped), only partitions that have begun
by now are; where they cannot be told, or are too many, `Unmappable` is raised.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as PerDimension
from datetime import UTC, datetime
from itertools import product
from math import prod

import msgspec
from msgspec.structs import replace

from dataforge.model.attempt import Interval
from dataforge.model.edge import SAME, All, Along, Dimension, Fixed, Last, Mapping, Same, Table, ToDate, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import MOST_PARTITIONS, Side, source, upstream_keys
from dataforge.model.partition import Partitioning, window_of
from dataforge.model.windows import (
    INSTANT,
    Unmappable,
    at,
    bound,
    covering,
    exists,
    partitions,
    period,
    step,
    time_dimension,
    to_date,
)

_NEVER = datetime.max.replace(tzinfo=UTC)


class _Ends(msgspec.Struct, frozen=True):
    """How the two ends of an edge are cut (None: nobody knows), and the present time."""

    ours: Partitioning | None
    theirs: Partitioning | None
    now: datetime


def downstream_keys(
    mapping: Mapping, key: str, ours: Partitioning | None, theirs: Partitioning | None, now: datetime
) -> tuple[str, ...]:
    """The keys of the task's partitions that need the upstream's partition `key`, in the task's order.

    `ours` is how the task is cut, `theirs` how its upstream is; None where nobody knows. A key that the upstream does
    not have wakes nothing. Raises Unmappable.
    """
    if not exists(theirs, key):
        return ()
    ends = _Ends(ours, theirs, now)
    whole = theirs is not None and theirs.kind == "none"
    found = _every(ours, now) if whole else _MAY[type(mapping)](mapping, key, ends)
    keys = [each for each in dict.fromkeys(found) if exists(ours, each)]
    if not whole and _exact(mapping) and time_dimension(ours) is not None:
        for each in keys[-1:]:  # it needs the most
            upstream_keys(mapping, Side(each, ours, now), theirs)
    else:
        keys = [each for each in keys if _needs(mapping, each, ends, key)]
    return tuple(_few(keys))


def _exact(mapping: Mapping) -> bool:
    """Whether the arithmetic of the kind tells the keys themselves; asking each of a year of days takes seconds."""
    recent = isinstance(mapping, Last) and mapping.not_older_than is not None
    return recent or isinstance(mapping, All | Window | ToDate)


def _few(keys: Sequence[str]) -> Sequence[str]:
    if len(keys) > MOST_PARTITIONS:
        raise Unmappable(f"{len(keys)} partitions need it, and {MOST_PARTITIONS} is the most of one edge")
    return keys


def producing_keys(
    mapping: Mapping, key: str, task: Partitioning | None, dataset: Partitioning | None, now: datetime
) -> tuple[str, ...]:
    """The partitions of a task whose runs write the dataset's partition `key`. Raises Unmappable."""
    return downstream_keys(mapping, key, task, dataset, now)


def _needs(mapping: Mapping, ours: str, ends: _Ends, key: str) -> bool:
    try:
        return key in upstream_keys(mapping, Side(ours, ends.ours, ends.now), ends.theirs)
    except InvalidInput:  # what it needs cannot be told, and a verdict on it says so
        return False


def _every(cut: Partitioning | None, now: datetime) -> Sequence[str]:
    """All keys there are by now."""
    if cut is None:
        raise Unmappable("which partitions the task has is not known: declare its partitioning")
    if cut.kind == "dynamic" and not cut.keys:
        raise Unmappable(f"which partitions the task has is not known: the set {cut.set} holds no key yet")
    if cut.kind == "product":
        return _joined(_every(part, now) for _, part in sorted(cut.dimensions.items()))
    if not cut.windowed:
        return cut.keys or ("",)
    if cut.start is None:
        raise Unmappable(f"all partitions of a {cut.kind} task cannot be told: declare where it starts")
    return _few(partitions(cut, Interval(bound(cut, cut.start), now + INSTANT)))


def holding(cut: Partitioning, key: str, now: datetime) -> Sequence[str]:
    """All keys there are by now of which this key of a dynamic set is a part. Raises Unmappable."""
    if cut.kind != "product":
        return (key,) if cut.kind == "dynamic" else ()
    found: dict[str, None] = {}
    for name, part in cut.dimensions.items():
        if part.kind == "dynamic":
            found |= dict.fromkeys(_by_dimension(cut, {name: (key,)}, now))
    return tuple(found)


def _over(cut: Partitioning | None, span: Interval, now: datetime) -> Sequence[str]:
    """All keys whose time windows the span touches; what has no window is touched by every span."""
    if span.empty:
        return ()
    if cut is None or time_dimension(cut) is None:
        return _every(cut, now)
    if cut.windowed:
        return _few(partitions(cut, span))
    name = _timed(cut)
    return _by_dimension(cut, {name: _over(cut.dimensions[name], span, now)}, now)


def _timed(cut: Partitioning) -> str:
    """Of two dimensions the one that is time; where both are, the first."""
    return next(name for name, part in sorted(cut.dimensions.items()) if part is time_dimension(cut))


def _joined(parts: Iterable[Sequence[str]]) -> Sequence[str]:
    found = list(parts)
    if prod(map(len, found)) > MOST_PARTITIONS:
        raise Unmappable(f"more than {MOST_PARTITIONS} partitions need it, the most of one edge")
    return ["|".join(keys) for keys in product(*found)]


def _same(_: Same, key: str, ends: _Ends) -> Sequence[str]:
    ours, theirs = ends.ours, ends.theirs
    if ours is None or theirs is None:
        return (key,)
    if ours.kind == theirs.kind == "product":
        return _dimension(Dimension({}), key, ends)
    if theirs.windowed and time_dimension(ours) is not None:
        return _over(ours, at(theirs, key), ends.now)
    return (key,)


def _window(mapping: Window, key: str, ends: _Ends) -> Sequence[str]:
    mine, theirs = _windows(ends)
    if mine is None or theirs is None or not exists(theirs, key):
        return ()
    touched = [at(mine, each) for each in covering(mine, at(theirs, key))]
    span = Interval(step(mine, touched[0], -mapping.to).start, step(mine, touched[-1], -mapping.from_).end)
    return _over(mine if ends.ours is None else ends.ours, span, ends.now)


def _to_date(mapping: ToDate, key: str, ends: _Ends) -> Sequence[str]:
    mine, theirs = _windows(ends)
    if mine is None or theirs is None or not exists(theirs, key):
        return ()
    window = at(theirs, key)
    last = at(mine, covering(mine, window)[-1])
    span = Interval(window.start, max(last.end, period(mine, last, mapping.period).end))
    found = _over(mine if ends.ours is None else ends.ours, span, ends.now)
    return [each for each in found if _reaches_back(mapping, mine, ends.ours, each, window.end)]


def _reaches_back(mapping: ToDate, mine: Partitioning, ours: Partitioning | None, key: str, before: datetime) -> bool:
    window = at(mine, key) if ours is None else window_of(ours, key)
    return window is not None and to_date(mine, window, mapping.period).start < before


def _windows(ends: _Ends) -> tuple[Partitioning | None, Partitioning | None]:
    """The time windows of both ends; None for an end that has none, so that nothing maps."""
    mine = time_dimension(ends.theirs if ends.ours is None else ends.ours)
    theirs = ends.theirs if ends.theirs is not None else ends.ours
    return mine, theirs if theirs is not None and theirs.windowed else None


def _all(mapping: All, key: str, ends: _Ends) -> Sequence[str]:
    theirs = ends.theirs
    if theirs is None:
        return () if key else _every(ends.ours, ends.now)
    if theirs.kind == "product":
        return _dimension(Dimension(dict.fromkeys(theirs.dimensions, mapping)), key, ends)
    if theirs.kind == "dynamic" and key not in theirs.keys:
        return ()  # all of the set is asked for, and it holds no such key
    if theirs.windowed:
        return _ending(ends, at(theirs, key).end, _NEVER)
    return _every(ends.ours, ends.now)


def _last(mapping: Last, key: str, ends: _Ends) -> Sequence[str]:
    theirs = ends.theirs
    if theirs is None:
        return () if key else _every(ends.ours, ends.now)
    if not theirs.windowed:
        return ()
    window = at(theirs, key)
    if mapping.not_older_than is not None:
        return _ending(ends, window.end, window.end + mapping.not_older_than)
    following = step(theirs, window, 1)
    stays = theirs.end and following.end > bound(theirs, theirs.end)  # the last one for ever
    return _ending(ends, window.end, _NEVER if stays else following.end - INSTANT)


def _ending(ends: _Ends, first: datetime, last: datetime) -> Sequence[str]:
    """Those that have begun by now and end from the first moment to the last one; what has no window ends now."""
    ours = ends.ours
    if ours is not None and ours.kind == "product" and time_dimension(ours) is not None:
        name = _timed(ours)
        ended = _ending(replace(ends, ours=ours.dimensions[name]), first, last)
        return _by_dimension(ours, {name: ended}, ends.now)
    span = Interval(first - INSTANT, min(last, max(first, ends.now)) + INSTANT)
    found = _over(ours, span, ends.now)
    windows = ((key, window_of(ours, key) if ours and exists(ours, key) else None) for key in found)
    return [key for key, window in windows if window is None or _ends(window, first, last, ends.now)]


def _ends(window: Interval, first: datetime, last: datetime, now: datetime) -> bool:
    return window.start <= now and first <= window.end <= last


def _fixed(mapping: Fixed, key: str, ends: _Ends) -> Sequence[str]:
    return _every(ends.ours, ends.now) if key == mapping.key else ()


def _table(mapping: Table, key: str, _: _Ends) -> Sequence[str]:
    return [ours for ours, theirs in sorted(mapping.keys.items()) if key in theirs]


def _along(mapping: Along, key: str, ends: _Ends) -> Sequence[str]:
    ours = ends.ours
    if ours is None or mapping.dimension not in ours.dimensions:
        return ()
    found = downstream_keys(mapping.mapping, key, ours.dimensions[mapping.dimension], ends.theirs, ends.now)
    return _by_dimension(ours, {mapping.dimension: found}, ends.now)


def _dimension(mapping: Dimension, key: str, ends: _Ends) -> Sequence[str]:
    """Every dimension narrows what is meant; one by which all is meant narrows only what nothing else does, since it
    knows of no partition that has not begun, or whose key no set holds. Each partition is asked afterwards."""
    ours, theirs = ends.ours, ends.theirs
    if theirs is None or theirs.kind != "product":
        return ()
    narrowed: dict[str | None, tuple[bool, Sequence[str]]] = {}
    for name, part in zip(sorted(theirs.dimensions), key.split("|"), strict=True):
        rule = mapping.dimensions.get(name, SAME)
        try:
            origin, found = _by_part(rule, part, name, ends)
        except Unmappable:
            continue
        each = (_means_all(rule), found)
        narrowed[origin] = min(narrowed.get(origin, each), each, key=lambda it: (it[0], len(it[1])))
    _, whole = narrowed.pop(None, (True, None))
    if whole is not None and not (whole and narrowed):
        return whole
    if ours is None or ours.kind != "product":
        return _every(ours, ends.now)
    return _by_dimension(ours, {origin: found for origin, (_, found) in narrowed.items()}, ends.now)


def _means_all(mapping: Mapping) -> bool:
    """Whether it leads back to every partition there is by now."""
    return isinstance(mapping.mapping if isinstance(mapping, Along) else mapping, All | Last | Fixed)


def _by_part(mapping: Mapping, key: str, name: str, ends: _Ends) -> tuple[str | None, Sequence[str]]:
    """Which keys of ours need the key of the upstream's dimension `name`: of the dimension that is given with them,
    or whole keys."""
    ours, theirs = ends.ours, ends.theirs
    assert theirs is not None
    origin = mapping.dimension if isinstance(mapping, Along) else source(ours, name, mapping)
    inner = mapping.mapping if isinstance(mapping, Along) else mapping
    if origin is None or ours is None:
        return None, downstream_keys(inner, key, ours, theirs.dimensions[name], ends.now)
    if origin not in ours.dimensions:
        raise Unmappable(f"the task has no dimension {origin}")
    return origin, downstream_keys(inner, key, ours.dimensions[origin], theirs.dimensions[name], ends.now)


def _by_dimension(ours: Partitioning, found: PerDimension[str | None, Sequence[str]], now: datetime) -> Sequence[str]:
    """The keys of which these are a part; where a dimension has none, whatever the other one holds."""
    if not all(found.values()):
        return ()
    return _joined(
        found[name] if name in found else _every(part, now) for name, part in sorted(ours.dimensions.items())
    )


_MAY: dict[type, Callable[..., Sequence[str]]] = {
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
