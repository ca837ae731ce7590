"""What partitions are apart from their time: clients, regions, single keys; and how edges lead from one to another.

Guarantees that a loop which comes back to another client is told from one that comes back to the same: each node is
split by those keys that any mapping among the edges tells apart, and by one that stands for all others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations, product
from typing import TYPE_CHECKING, NamedTuple

from dataforge.model import edge
from dataforge.model.edge import SAME, All, Along, Dimension, Fixed, Last, Same, Table, ToDate, Window
from dataforge.model.mapping import source
from dataforge.model.partition import Partitioning
from dataforge.model.windows import Unmappable, time_dimension

if TYPE_CHECKING:
    from dataforge.graph.strict import Dependence

Pair = tuple[int, int]  # a downstream sub-node and one of its upstreams
_OTHER = "\0"  # stands for every key that no mapping names; no key holds a NUL
_MOST_SUBS = 2_000  # beyond these no key is told from another
_DAILY, _ANY = Partitioning(kind="daily"), edge.Table({})


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
        values = [[[_OTHER] for _ in each] for each in values]
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


def _dimensions(cut: Partitioning) -> list[tuple[str, Partitioning]]:
    """Those by which it is cut besides its time."""
    if cut.kind == "product":
        return [(name, part) for name, part in sorted(cut.dimensions.items()) if not part.windowed]
    return [("", cut)] if cut.kind in ("static", "dynamic") else []


def _values(steps: Sequence[Dependence], cuts: Sequence[Partitioning]) -> list[list[list[str]]]:
    named = {key for step in steps for said in (step.mapping, step.written) if said for key in _named(said)}
    parts = [part for cut in cuts for _, part in _dimensions(cut)]
    sets = {frozenset(part.keys) for part in parts if part.kind == "static"}
    if len(sets) > 1:
        named |= frozenset().union(*sets)
    return [[_keys(part, named) for _, part in _dimensions(cut)] for cut in cuts]


def _named(mapping: edge.Mapping) -> Iterable[str]:
    if isinstance(mapping, Fixed):
        return [mapping.key]
    if isinstance(mapping, Table):
        return [*mapping.keys, *(key for keys in mapping.keys.values() for key in keys)]
    if isinstance(mapping, Along):
        return _named(mapping.mapping)
    if isinstance(mapping, Dimension):
        return [key for part in mapping.dimensions.values() for key in _named(part)]
    return []


def _keys(part: Partitioning, named: set[str]) -> list[str]:
    if part.kind != "static":
        return [*sorted(named), _OTHER]
    told = [key for key in part.keys if key in named]
    return told + [_OTHER] * (len(told) < len(part.keys))


def pairs_of(
    mapping: edge.Mapping | None, written: edge.Mapping | None, step: Dependence, axes: Axes
) -> tuple[list[Pair], edge.Mapping, edge.Mapping | None]:
    """The sub-nodes that a step joins, and by which mappings their times follow."""
    task, other = (step.downstream, step.upstream) if step.consumes else (step.upstream, step.downstream)
    ours, theirs = axes.cuts[task], axes.cuts[other]
    if mapping is None:
        subs = {keys: (axes.subs[step.downstream, keys], axes.subs[step.upstream, keys]) for _, keys in axes.of[task]}
        return list(subs.values()), SAME, None
    try:
        by, rules = _split(mapping, ours, theirs)
        writes = _split(written, ours, theirs)[0] if written is not None else None
    except Unmappable:  # it leads nowhere: no partition can ever be told
        return [], SAME, None
    found = [
        (place, axes.subs[other, reached])
        for place, keys in axes.of[task]
        for reached in _reached(rules, dict(zip([n for n, _ in _dimensions(ours)], keys, strict=True)), other, axes)
    ]
    return found if step.consumes else [(up, down) for down, up in found], by, writes


_Rule = tuple[edge.Mapping, str | None]  # of a dimension: its mapping, and from which of ours; None: all that we have


def _split(mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning) -> tuple[edge.Mapping, dict[str, _Rule]]:
    """The mapping of time, and those of the other side's other dimensions."""
    if theirs.kind == "none":
        return SAME, {}
    parts = _parts(mapping, ours, theirs)
    timed = time_dimension(theirs)
    dimensions = theirs.dimensions if theirs.kind == "product" else {"": theirs}
    by: edge.Mapping = SAME
    for name, (rule, origin) in parts.items():
        if dimensions[name] is timed:
            by = rule if _by_time(rule, ours, origin) else _ANY
    return by, parts


def _by_time(rule: edge.Mapping, ours: Partitioning, origin: str | None) -> bool:
    """Whether time follows from our time; else any of the other side's may be meant."""
    if isinstance(rule, All | Last | Fixed):
        return True
    if origin is not None and ours.kind == "product" and ours.dimensions[origin] is not time_dimension(ours):
        return False
    return isinstance(rule, Same | Window | ToDate)


def _parts(mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning) -> dict[str, _Rule]:
    if theirs.kind == "product":
        if isinstance(mapping, All):
            mapping = Dimension(dict.fromkeys(theirs.dimensions, mapping))
        if isinstance(mapping, Same):
            mapping = Dimension({})
        if not isinstance(mapping, Dimension):
            raise Unmappable("the other side has two dimensions")
        given = {name: mapping.dimensions.get(name, SAME) for name in theirs.dimensions}
        return {name: _rule(rule, ours, name) for name, rule in given.items()}
    if isinstance(mapping, Dimension):
        raise Unmappable("the other side has no dimensions")
    return {"": (mapping.mapping, mapping.dimension) if isinstance(mapping, Along) else (mapping, None)}


def _rule(rule: edge.Mapping, ours: Partitioning, name: str) -> _Rule:
    if isinstance(rule, Along):
        if rule.dimension not in ours.dimensions:
            raise Unmappable(f"the task has no dimension {rule.dimension}")
        return rule.mapping, rule.dimension
    return rule, source(ours, name, rule)


def _reached(rules: Mapping[str, _Rule], keys: Mapping[str, str], other: int, axes: Axes) -> list[tuple[str, ...]]:
    names = [name for name, _ in _dimensions(axes.cuts[other])]
    known = [reached for _, reached in axes.of[other]]
    choices = []
    for place, name in enumerate(names):
        rule, origin = rules[name]
        key = keys.get(origin if origin is not None else "")
        choices.append(_led(rule, key, sorted({reached[place] for reached in known}), told=axes.told))
    return list(product(*choices))


def _led(rule: edge.Mapping, key: str | None, theirs: Sequence[str], *, told: bool) -> Sequence[str]:
    """The keys that a rule leads to from one of ours; None: from one that is not told apart."""
    if not told or isinstance(rule, All):
        return theirs
    if isinstance(rule, Fixed):
        return [rule.key] if rule.key in theirs else []
    if isinstance(rule, Table):
        rows = rule.keys.values() if key is None else [rule.keys.get(key, ())]
        return [each for row in rows for each in row if each in theirs]
    if isinstance(rule, Same):
        return theirs if key is None else [key] if key in theirs else []
    return []
