"""Whether declared edges make something wait for itself, and if so, along which names.

The rule (invariant I4): a loop that leads back to strictly earlier partitions closes no cycle (`graph.strict`); neither
does a task that reads and writes one dataset in place. Such a dataset is two nodes here, before and after its updates.
What writes it without reading comes before, the tasks that update it lie between (their order among themselves is that
of their own edges), and whoever only reads it comes after. So an updater that waits for a reader is found. What an
updater reads beside the partitions that it writes, it reads after their updates. A task that updates trigger is no
updater beside others, since they wait for what it writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from dataforge.graph.strict import Dependence, Part, closing
from dataforge.model import edge
from dataforge.model.edge import SAME, in_place
from dataforge.model.partition import Partitioning
from dataforge.model.reference import NodeKind

_MOST_TRIED = 60  # steps of a knot from which those are left out, one by one, that the cycle does not need


class Name(NamedTuple):
    """A task or a dataset by its id, a dataset under the name that the edge gives it."""

    kind: NodeKind
    id: int


class Link(NamedTuple):
    """That a task consumes or produces something, in the partitions that the mapping leads to."""

    task: int
    consumes: bool
    node: Name
    mapping: edge.Mapping = SAME
    triggers: bool = False  # the task runs on updates of it, and waits for no partition


def links(link: Link, *, waits: bool, triggers: bool) -> Iterator[Link]:
    """What one edge comes to, given as the link by which its task waits: that, and one by which updates trigger the
    task, for whichever partition."""
    if waits:
        yield link
    if triggers:
        yield link._replace(mapping=edge.All(), triggers=True)


class _Node(NamedTuple):
    kind: NodeKind
    id: int  # of a dataset, the one that stands for all its names
    after: bool = False  # a dataset's updates in place


class _Step(NamedTuple):
    upstream: _Node
    downstream: _Node
    said: Name | None  # the dataset's name in the edge behind this step
    mapping: edge.Mapping | None = None  # of that edge; None from before a dataset's updates to after them
    consumes: bool = True
    part: Part = "all"
    written: edge.Mapping | None = None  # how the task writes the dataset that it reads in this step

    @property
    def ends(self) -> tuple[_Node, _Node]:
        return (self.upstream, self.downstream)


Cuts = Callable[[set[Name]], Mapping[Name, Partitioning]]


def unknown(_: set[Name]) -> Mapping[Name, Partitioning]:
    """That nobody has declared how anything is cut."""
    return {}


def find(links: Iterable[Link], aliases: Iterable[tuple[int, int]], cuts: Cuts = unknown) -> list[Name] | None:
    """One cycle from upstream to downstream, a shortest one as far as that is told at once, its first name again at
    the end; None when there is none. `cuts` answers how tasks and datasets are cut; it is asked for those alone that
    lie on a loop of edges.

    Where a dataset is written under one name and read under another, both are listed.
    """
    steps = _steps(list(links), _stands(list(aliases)))
    for knot in _knots(steps):
        nodes = sorted({node for step in knot for node in step.ends})
        known = cuts({Name(node.kind, node.id) for node in nodes})
        looped = _closing(knot, nodes, known)
        if looped:
            found = _loop(sorted({step.ends for step in looped}))
            assert found is not None
            return _spelled(found, {step.ends: step.said for step in looped})
    return None


def _closing(knot: Sequence[_Step], nodes: Sequence[_Node], cuts: Mapping[Name, Partitioning]) -> list[_Step]:
    """Steps of one loop that does not lead back to strictly earlier partitions; none where all loops do."""
    place = {node: index for index, node in enumerate(nodes)}
    known = [cuts.get(Name(node.kind, node.id)) for node in nodes]

    def closed(steps: Sequence[_Step]) -> list[_Step]:
        dependences = [
            Dependence(
                place[step.upstream], place[step.downstream], step.mapping, step.consumes, step.part, step.written
            )
            for step in steps
        ]
        return [steps[index] for index in sorted(closing(dependences, known))]

    looped = closed(knot)
    if looped and (shortest := _along(looped, _loop(sorted({step.ends for step in looped})))) and closed(shortest):
        return shortest
    for step in list(looped) if len(looped) <= _MOST_TRIED else ():
        rest = [each for each in looped if each != step]
        if step in looped and (still := closed(rest)):
            looped = still
    return looped


def _along(steps: Sequence[_Step], loop: Sequence[_Node] | None) -> list[_Step]:
    ends = set(pairwise(loop or ()))
    return [step for step in steps if step.ends in ends]


def _knots(steps: Sequence[_Step]) -> list[list[_Step]]:
    """The steps that lie on loops, each strongly connected group of nodes by itself."""
    nodes = sorted({node for step in steps for node in step.ends})
    place = {node: index for index, node in enumerate(nodes)}
    ends = np.array([(place[up], place[down]) for up, down in (step.ends for step in steps)], dtype=np.int64)
    ends = ends.reshape(-1, 2)
    ones = np.ones(len(ends), dtype=np.int8)
    graph = coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(len(nodes), len(nodes)))
    _, group = connected_components(graph, directed=True, connection="strong")
    found: dict[int, list[_Step]] = {}
    for index in np.flatnonzero(group[ends[:, 0]] == group[ends[:, 1]]):
        found.setdefault(int(group[ends[index, 0]]), []).append(steps[int(index)])
    return [found[number] for number in sorted(found)]


def _stands(aliases: Sequence[tuple[int, int]]) -> dict[int, int]:
    """For each dataset with an alias, the least id among all its names."""
    ids = sorted({dataset for pair in aliases for dataset in pair})
    if not ids:
        return {}
    pairs = np.searchsorted(ids, np.array(aliases, dtype=np.int64))
    joined = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(ids),) * 2)
    _, group = connected_components(joined, directed=False)
    least: dict[int, int] = {}
    for dataset, number in zip(ids, group.tolist(), strict=True):
        least.setdefault(number, dataset)
    return {dataset: least[number] for dataset, number in zip(ids, group.tolist(), strict=True)}


def _steps(links: Sequence[Link], stands: dict[int, int]) -> list[_Step]:
    def node(name: Name) -> _Node:
        return _Node(name.kind, stands.get(name.id, name.id) if name.kind == "dataset" else name.id)

    written = {(link.task, node(link.node)): link.mapping for link in links if not link.consumes}
    found = [
        (link.task, node(link.node), link.triggers)
        for link in links
        if link.consumes and in_place(link.mapping, written.get((link.task, node(link.node))))
    ]
    staged = {dataset for _, dataset, triggers in found if not triggers}
    updates = {(task, dataset) for task, dataset, triggers in found if not triggers or dataset not in staged}
    updated = {dataset for _, dataset in updates}
    steps = [_Step(dataset, dataset._replace(after=True), None) for dataset in sorted(updated)]
    for link in links:
        task, other = _Node("task", link.task), node(link.node)
        updating = (link.task, other) in updates
        said = link.node if link.node.kind == "dataset" else None
        after = other._replace(after=other in updated)
        if not link.consumes:  # a writer comes before the updates, an updater ends them
            steps.append(_Step(task, after if updating else other, said, link.mapping, consumes=False))
        elif not updating:
            steps.append(_Step(after, task, said, link.mapping))
        else:
            own = written[link.task, other]
            steps.append(_Step(other, task, said, link.mapping, part="own", written=own))
            if own != link.mapping:
                steps.append(_Step(after, task, said, link.mapping, part="others", written=own))
    return steps


def _loop(steps: Sequence[tuple[_Node, _Node]]) -> list[_Node] | None:
    """A shortest cycle through the least node that lies on one, a task if possible."""
    nodes = sorted({node for step in steps for node in step}, key=lambda node: (node.kind == "dataset", node))
    if not nodes:
        return None
    place = {node: index for index, node in enumerate(nodes)}
    ends = np.array([(place[upstream], place[downstream]) for upstream, downstream in steps]).reshape(-1, 2)
    looped = ends[ends[:, 0] == ends[:, 1], 0]
    if len(looped):
        return [nodes[looped[0]], nodes[looped[0]]]
    ones = np.ones(len(ends), dtype=np.int8)
    graph = coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(len(nodes), len(nodes))).tocsr()
    _, group = connected_components(graph, directed=True, connection="strong")
    knotted = np.flatnonzero(np.bincount(group)[group] > 1)
    if not len(knotted):
        return None
    first = int(knotted[0])
    _, before = breadth_first_order(graph, first, directed=True)
    return [nodes[index] for index in _way_back(first, before, graph[:, [first]].nonzero()[0])]


def _way_back(first: int, before: "np.ndarray[tuple[int], np.dtype[np.int32]]", last: Iterable[int]) -> list[int]:
    """The shortest of the ways from `first` to one of its own upstream nodes, closed."""
    ways = []
    for index in last:
        way = [first, int(index)]
        while way[-1] != first and before[way[-1]] >= 0:
            way.append(int(before[way[-1]]))
        if way[-1] == first:
            ways.append(way[::-1])
    return min(ways, key=len)


def _spelled(nodes: Sequence[_Node], said: dict[tuple[_Node, _Node], Name | None]) -> list[Name]:
    """The names along a cycle that begins at a task."""
    names = [Name("task", nodes[0].id)]
    for upstream, downstream in pairwise(nodes):
        spoken = said[upstream, downstream]
        if upstream.kind == downstream.kind == "dataset":
            continue  # from before a dataset's updates to after them
        if upstream.kind == "dataset" and spoken is not None and spoken != names[-1]:
            names.append(spoken)
        names.append(spoken if downstream.kind == "dataset" and spoken else Name("task", downstream.id))
    return names
