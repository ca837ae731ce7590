"""Whether a loop of edges leads back to strictly earlier partitions, whatever the mixture of granularities.

The rule (docs/decisions/0006-cycles.md): a loop is a cycle exactly when along it some partition would need itself, or
a later one of its own, which would need a later one in turn. Because every edge is monotone in time
(`graph.timeline`), it is enough to follow from each partition the last one that each edge leads to, and to let a later
partition stand for any earlier one: then a cycle is a strongly connected component of partitions, found at once for
years of them.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import NegativeCycleError, bellman_ford, connected_components

from dataforge.graph.axes import Axes, axes_of
from dataforge.graph.timeline import NOTHING, Ints, Windows, back, reach, windows, within, without
from dataforge.graph.ways import Pair, ways_of
from dataforge.model.attempt import Interval
from dataforge.model.edge import All, Last, Mapping, Same, ToDate, Window
from dataforge.model.partition import Partitioning, endless
from dataforge.model.windows import bound

Part = Literal["all", "own", "others"]  # of what a task reads: that which it writes in place itself, and the rest
_LENGTHS = {"hourly": timedelta(hours=2), "daily": timedelta(hours=26), "weekly": timedelta(days=8)}
_LONGEST = timedelta(days=32)  # a month; the windows of a cron schedule are taken to be no longer
_FIRST_LOOK = timedelta(days=400)
_YEARS = {"cron": 2, "hourly": 4}  # followed where such a partitioning is among them; else 28, after which weekdays,
_MOST_YEARS = 28  # leap days and the lengths of months meet again as they did
_MOST_MARGIN = timedelta(days=10_000)


class Dependence(NamedTuple):
    """That a downstream node needs an upstream one. `mapping` leads from the task among the two to the other; None
    where the same partition is meant. `written` is what the task writes of the node that it reads."""

    upstream: int
    downstream: int
    mapping: Mapping | None
    consumes: bool
    part: Part = "all"
    written: Mapping | None = None


class _Timed(NamedTuple):
    """A dependence as pairs of keys that are no times, and its mappings of time."""

    step: int
    said: Dependence
    pairs: Sequence[Pair]
    by: Mapping
    written: Mapping | None


def closing(steps: Sequence[Dependence], cuts: Sequence[Partitioning | None]) -> set[int]:
    """The places of the steps that lie on loops which do not lead back to strictly earlier partitions; empty where
    all do. `cuts` are the partitionings of the nodes, None for those that nobody declares."""
    axes = axes_of(steps, cuts)
    timed = [_Timed(place, step, *way) for place, step in enumerate(steps) for way in ways_of(step, axes)]
    weighed = [_weights(each) for each in timed]
    if _alike(axes) and all(each is not None for each in weighed):
        return _by_weight(timed, [each or () for each in weighed], axes)
    return _followed(timed, axes, _span(timed, axes, _FIRST_LOOK)) or _followed(timed, axes, _span(timed, axes))


def _alike(axes: Axes) -> bool:
    """Whether all windows are the same and go on for ever, so that steps can be counted."""
    cuts = {cut for cut in axes.times if cut is not None}
    return len({endless(cut) for cut in cuts}) <= 1 and None not in axes.times and not any(cut.end for cut in cuts)


def _weights(timed: _Timed) -> tuple[int, ...] | None:
    """How many windows later the upstream partition is, at most, of each way that it leads; None where that differs."""
    said, found = timed.said, _steps(timed.by)
    if found is None:
        return None
    first, last = found
    if not said.consumes:
        return None if first is None else (-first,)
    written = _steps(timed.written) if timed.written is not None else None
    if said.part == "all" or timed.written is None:
        return (last,)
    if first is None or written is None or written[0] is None:
        return None
    return _apart(first, last, written[0], written[1], said.part)


def _apart(first: int, last: int, begin: int, end: int, part: Part) -> tuple[int, ...]:
    if part == "own":
        return (min(last, end),) if max(first, begin) <= min(last, end) else ()
    before = (min(last, begin - 1),) if first < begin else ()
    return before + ((last,) if last > end else ())


def _steps(mapping: Mapping) -> tuple[int | None, int] | None:
    """The first (None: that differs) and the last window of the same partitioning, counted from its own."""
    if isinstance(mapping, Same):
        return 0, 0
    if isinstance(mapping, Window):
        return mapping.from_, mapping.to
    if isinstance(mapping, ToDate | All):
        return None, 0
    return (0, 0) if isinstance(mapping, Last) and mapping.not_older_than is None else None


def _by_weight(timed: Sequence[_Timed], weights: Sequence[tuple[int, ...]], axes: Axes) -> set[int]:
    """Loops whose steps add up to zero or more: with every step times the number of nodes and one more they are those
    that add up to more than zero."""
    size = len(axes.subs)
    found = [(place, down, up, w) for place, t in enumerate(timed) for down, up in t.pairs for w in weights[place]]
    if not found:
        return set()
    places, downs, ups, weighed = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
    group = _strong(downs, ups, size)
    together = group[downs] == group[ups]
    closed: set[int] = set()
    for number in np.unique(group[downs[together]]):
        among = together & (group[downs] == number)
        if _adds_up(downs[among], ups[among], weighed[among] * (size + 1) + 1):
            closed |= {timed[place].step for place in places[among]}
    return closed


def _adds_up(downs: Ints, ups: Ints, weights: Ints) -> bool:
    """Whether any loop of these edges has a positive sum; they are strongly connected."""
    if bool(np.any((downs == ups) & (weights > 0))):
        return True
    nodes, places = np.unique(np.concatenate((downs, ups)), return_inverse=True)
    down, up = places[: len(downs)], places[len(downs) :]
    order = np.argsort(weights, kind="stable")  # of parallel edges the greatest stands
    best = {(int(down[i]), int(up[i])): float(-weights[i]) for i in order if down[i] != up[i]}
    if not best:
        return False
    ends = np.array(list(best))
    graph = coo_array((np.array(list(best.values())), (ends[:, 0], ends[:, 1])), shape=(len(nodes),) * 2).tocsr()
    try:
        bellman_ford(graph, directed=True, indices=[0])
    except NegativeCycleError:
        return True
    return False


def _span(timed: Iterable[_Timed], axes: Axes, look: timedelta | None = None) -> Interval:
    """The time whose windows are followed: from the last start on, with room for every step on both sides."""
    cuts = [cut for cut in axes.times if cut is not None]
    begin = max((bound(cut, cut.start) for cut in cuts if cut.start), default=datetime(2024, 1, 1, tzinfo=UTC))
    years = min((_YEARS.get(cut.kind, _MOST_YEARS) for cut in cuts), default=1)
    room = min(sum((_room(each, axes) for each in timed), timedelta()), _MOST_MARGIN)
    return Interval(begin - room, begin + (look or timedelta(days=366 * years)) + room)


def _room(timed: _Timed, axes: Axes) -> timedelta:
    lengths = [_LENGTHS.get(cut.kind, _LONGEST) for cut in (axes.times[n] for n in timed.said[:2]) if cut]
    steps = 1
    for mapping in (timed.by, timed.written):
        if isinstance(mapping, Window):
            steps += max(abs(mapping.from_), abs(mapping.to)) + 1
    return max(lengths, default=_LONGEST) * steps * 2 + timedelta(days=366) * isinstance(timed.by, ToDate)


def _followed(timed: Sequence[_Timed], axes: Axes, span: Interval) -> set[int]:
    """The steps on loops of partitions within the span, a later partition standing for every earlier one."""
    lines = [windows(cut, span) for cut in axes.times]
    sizes = np.array([lines[node].size for node, _ in axes.subs])
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    downs, ups, places = list[Ints](), list[Ints](), list[Ints]()
    for each in timed:
        for leads in _leads(each, lines):
            at = np.flatnonzero(leads != NOTHING)
            for below, above in each.pairs:
                downs.append(offsets[below] + at)
                ups.append(offsets[above] + leads[at])
                places.append(np.full(len(at), each.step))
    if not downs:
        return set()
    down, up, place = np.concatenate(downs), np.concatenate(ups), np.concatenate(places)
    later = np.concatenate([np.arange(offsets[i] + 1, offsets[i + 1]) for i in range(len(sizes))])
    group = _strong(np.concatenate((down, later)), np.concatenate((up, later - 1)), int(offsets[-1]))
    return set(place[group[down] == group[up]].tolist())


def _leads(timed: _Timed, lines: Sequence[Windows]) -> list[Ints]:
    """For each window of the downstream the last one of the upstream, of each way that the step leads."""
    said = timed.said
    down, up = lines[said.downstream], lines[said.upstream]
    if said.mapping is None:
        return [np.arange(down.size)]
    if not said.consumes:
        return [back(reach(timed.by, up, down), down.size)]
    read = reach(timed.by, down, up)
    if said.part == "all" or timed.written is None:
        return [read.last]
    written = reach(timed.written, down, up)
    if said.part == "own":
        return [within(read, written).last]
    return [each.last for each in without(read, written)]


def _strong(downs: Ints, ups: Ints, size: int) -> NDArray[np.int32]:
    graph = coo_array((np.ones(len(downs), dtype=np.int8), (downs, ups)), shape=(size, size))
    _, group = connected_components(graph, directed=True, connection="strong")
    return group
