"""Whether declared edges make something wait for itself, and if so, along which names.

The rule (invariant I4): an edge to strictly earlier partitions closes no cycle; neither does a task that reads
and writes one dataset in place. Such a dataset is two nodes here, before and after its updates. What writes it
without reading comes before, the tasks that update it lie between (their order among themselves is that of
their own edges), and whoever only reads it comes after. So an updater that waits for a reader is found.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from dataforge.model.reference import NodeKind


class Name(NamedTuple):
    """A task or a dataset by its id, a dataset under the name that the edge gives it."""

    kind: NodeKind
    id: int


class Link(NamedTuple):
    """That a task consumes or produces something, not only in strictly earlier partitions."""

    task: int
    consumes: bool
    node: Name


class _Node(NamedTuple):
    kind: NodeKind
    id: int  # of a dataset, the one that stands for all its names
    after: bool = False  # a dataset's updates in place


class _Step(NamedTuple):
    upstream: _Node
    downstream: _Node
    said: Name | None  # the dataset's name in the edge behind this step


def find(links: Iterable[Link], aliases: Iterable[tuple[int, int]]) -> list[Name] | None:
    """One shortest cycle from upstream to downstream, its first name again at the end; None when there is none.

    Where a dataset is written under one name and read under another, both are listed.
    """
    steps = _steps(list(links), _stands(list(aliases)))
    found = _loop(sorted({(step.upstream, step.downstream) for step in steps}))
    if found is None:
        return None
    said = {(step.upstream, step.downstream): step.said for step in steps}
    return _spelled(found, said)


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

    read = {(link.task, node(link.node)) for link in links if link.consumes}
    written = {(link.task, node(link.node)) for link in links if not link.consumes}
    updates = read & written
    updated = {dataset for _, dataset in updates}
    steps = [_Step(dataset, dataset._replace(after=True), None) for dataset in updated]
    for link in links:
        task, other = _Node("task", link.task), node(link.node)
        in_place = (link.task, other) in updates
        # A reader meets an updated dataset after its updates, an updater before them; a writer the reverse.
        other = other._replace(after=other in updated and link.consumes is not in_place)
        said = link.node if link.node.kind == "dataset" else None
        steps.append(_Step(other, task, said) if link.consumes else _Step(task, other, said))
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
