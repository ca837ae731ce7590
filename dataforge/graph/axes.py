"""What partitions are apart from their time: clients, regions, single keys.

Guarantees that a loop which comes back to another client is told from one that comes back to the same: each node is
split by those keys that any mapping among the edges tells apart, and by one that stands for all others; by two where
a task updates one key and reads others beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import permutations, product
from typing import TYPE_CHECKING, NamedTuple

from dataforge.model import edge
from dataforge.model.edge import Along, Dimension, Fixed, Same, Table, ToDate, Window
from dataforge.model.partition import Partitioning
from dataforge.model.windows import time_dimension

if TYPE_CHECKING:
    from dataforge.graph.strict import Dependence

OTHER, ANOTHER = "\0", "\0\0"  # stand for every key that no mapping names; no key holds a NUL
_MOST_SUBS = 2_000  # beyond these no key is told from another
_DAILY = Partitioning(kind="daily")


class Axes(NamedTuple):
    """The nodes by time and by key."""

    cuts: Sequence[Partitioning]
    times: Sequence[Partitioning | None]  # by node
    subs: dict[tuple[int, tuple[str, ...]], int]  # a node with one key of each of its other dimensions
    of: Sequence[Sequence[tuple[int, tuple[str, ...]]]]  # by node its places among them, and their keys
    told: bool  # whether keys are told apart at all


def axes_of(steps: Sequence[Dependence], cuts: Sequence[Partitioning | None]) -> Axes:
    """The axes of all nodes. One whose partitioning nobody declares is taken to be cut as its neighbours are."""
    known = _assumed(steps, cuts)
    times = [time_dimension(cut) if cut.kind != "none" else None for cut in known]
    values = _values(steps, known)
    told = sum(_product_size(each) for each in values) <= _MOST_SUBS
    if not told:
        values = [[[OTHER] for _ in each] for each in values]
    subs = [(node, keys) for node, each in enumerate(values) for keys in product(*each)]
    of: list[list[tuple[int, tuple[str, ...]]]] = [[] for _ in known]
    for place, (node, keys) in enumerate(subs):
        of[node].append((place, keys))
    return Axes(known, times, {sub: place for place, sub in enumerate(subs)}, of, told)


def _product_size(values: Sequence[Sequence[str]]) -> int:
    size = 1
    for each in values:
        size *= len(each)
    return size


def _assumed(steps: Sequence[Dependence], cuts: Sequence[Partitioning | None]) -> list[Partitioning]:
    known = list(cuts)
    halves = {one: other for s in steps if s.mapping is None for one, other in permutations((s.upstream, s.downstream))}
    beside: dict[int, set[int]] = {}
    for step in steps:
        if isinstance(step.mapping, Same | Window | ToDate):
            beside.setdefault(step.upstream, set()).add(step.downstream)
            beside.setdefault(step.downstream, set()).add(step.upstream)
    ahead = deque(node for node, cut in enumerate(known) if cut is not None)
    while ahead:
        node = ahead.popleft()
        for other in sorted(beside.get(node, ())):
            if known[other] is None:
                for half in {other, halves.get(other, other)}:  # a dataset before and after its updates is cut alike
                    known[half] = known[node]
                    ahead.append(half)
    by_table = {n for s in steps if isinstance(s.mapping, Table) for n in (s.upstream, s.downstream)}
    by_table |= {halves[node] for node in by_table if node in halves}
    unnamed = Partitioning(kind="dynamic", set="unknown")
    return [cut or (unnamed if node in by_table else _DAILY) for node, cut in enumerate(known)]


def dimensions(cut: Partitioning) -> list[tuple[str, Partitioning]]:
    """Those by which a partitioning cuts besides its time, by name; the only one has none."""
    if cut.kind == "product":
        return [(name, part) for name, part in sorted(cut.dimensions.items()) if not part.windowed]
    return [("", cut)] if cut.kind in ("static", "dynamic") else []


def _values(steps: Sequence[Dependence], cuts: Sequence[Partitioning]) -> list[list[list[str]]]:
    named = {key for step in steps for said in (step.mapping, step.written) if said for key in _named(said)}
    parts = [part for cut in cuts for _, part in dimensions(cut)]
    sets = {frozenset(part.keys) for part in parts if part.kind == "static"}
    if len(sets) > 1:
        named |= frozenset().union(*sets)
    others = [OTHER, ANOTHER] if any(step.part == "others" for step in steps) else [OTHER]
    return [[_keys(part, named, others) for _, part in dimensions(cut)] for cut in cuts]


def _named(mapping: edge.Mapping) -> Iterable[str]:
    if isinstance(mapping, Fixed):
        return [mapping.key, *mapping.key.split("|")]
    if isinstance(mapping, Table):
        whole = [*mapping.keys, *(key for keys in mapping.keys.values() for key in keys)]
        return [*whole, *(part for key in whole for part in key.split("|"))]
    if isinstance(mapping, Along):
        return _named(mapping.mapping)
    if isinstance(mapping, Dimension):
        return [key for part in mapping.dimensions.values() for key in _named(part)]
    return []


def _keys(part: Partitioning, named: set[str], others: Sequence[str]) -> list[str]:
    if part.kind != "static":
        return [*sorted(named), *others]
    told = [key for key in part.keys if key in named]
    return [*told, *others[: len(part.keys) - len(told)]]
