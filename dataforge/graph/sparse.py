"""The graph of one environment in memory: compressed sparse rows over numpy arrays, never changed once made.

Guarantees that a search costs no more than the part of the graph that it reaches, and that its answer is cut at
the limit and says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pandas import factorize  # type: ignore[import-untyped]  # one function is not worth a package of stubs
from scipy.sparse import csr_array

from dataforge.model.reference import NodeKind

Indices = NDArray[np.intp]
OBSERVED, DECLARED = 1, 2
_DECLARED_WEIGHT = 1 << 32  # more than one edge has rows
_MOST_STEPS = 200_000  # taken through hidden nodes in one answer: some tenths of a second


class Node(NamedTuple):
    """A task or a canonical dataset by its id."""

    kind: NodeKind
    id: int


class Reached(NamedTuple):
    """Nodes by their index with their distances, nearest first, and whether there are more."""

    nodes: Indices
    depths: Indices
    truncated: bool


class Edges(NamedTuple):
    """Edges as (upstream, downstream, origin) by index, and whether there are more."""

    edges: list[tuple[int, int, int]]
    truncated: bool


class End(NamedTuple):
    """One end of each edge, as columns."""

    ids: NDArray[np.int64]
    of_dataset: NDArray[np.bool_]


class Graph:
    """Nodes have an index: tasks first, then datasets, each by id."""

    def __init__(self, upstream: End, downstream: End, declared: NDArray[np.bool_]) -> None:
        """Of each edge where it comes from, where it leads to, and whether anybody declares it."""
        ids = np.concatenate((upstream.ids, downstream.ids))
        of_dataset = np.concatenate((upstream.of_dataset, downstream.of_dataset))
        ends = np.empty(len(ids), dtype=np.intp)
        # By hashing, which takes a sixth of the time that sorting and searching take.
        ends[~of_dataset], self._tasks = factorize(ids[~of_dataset], sort=True)
        ends[of_dataset], self._datasets = factorize(ids[of_dataset], sort=True)
        ends[of_dataset] += len(self._tasks)
        self.size = len(self._tasks) + len(self._datasets)
        self._downstream = _matrix(ends[: len(declared)], ends[len(declared) :], declared, self.size)
        self._upstream = self._downstream.T.tocsr()

    @property
    def nbytes(self) -> int:
        """How many bytes its arrays take."""
        rows = (part for each in (self._downstream, self._upstream) for part in (each.data, each.indices, each.indptr))
        return int(sum(array.nbytes for array in (self._tasks, self._datasets, *rows)))

    def index(self, node: Node) -> int | None:
        """The node's index; None when no edge leads to or from it."""
        ids, first = (self._tasks, 0) if node.kind == "task" else (self._datasets, len(self._tasks))
        place = int(np.searchsorted(ids, node.id))
        return first + place if place < len(ids) and ids[place] == node.id else None

    def node(self, index: int) -> Node:
        """The node of an index."""
        if index < len(self._tasks):
            return Node("task", int(self._tasks[index]))
        return Node("dataset", int(self._datasets[index - len(self._tasks)]))

    def hidden(self, shown: NodeKind | None) -> NDArray[np.bool_]:
        """Which nodes an answer of one kind leaves out; none where both kinds are shown."""
        mask = np.zeros(self.size, dtype=bool)
        if shown is not None:
            mask[: len(self._tasks)] = shown == "dataset"
            mask[len(self._tasks) :] = shown == "task"
        return mask

    def reach(
        self,
        start: int,
        direction: Literal["upstream", "downstream"],
        depth: int | None,
        limit: int,
        hidden: NDArray[np.bool_],
    ) -> Reached:
        """What lies up or down from `start` within `depth` steps (None: any), at most `limit` nodes with it.

        A hidden node is passed through; it costs no step and is not in the answer.
        """
        matrix = self._upstream if direction == "upstream" else self._downstream
        seen = np.zeros(self.size, dtype=bool)
        seen[start] = True
        levels, room, truncated = [np.array([start], dtype=np.intp)], limit - 1, False
        while len(levels[-1]) and not truncated and (depth is None or len(levels) <= depth):
            found = _next_level(matrix, levels[-1], seen, hidden)
            truncated = len(found) > room
            levels.append(found[:room])
            room -= len(levels[-1])
        depths = np.repeat(np.arange(len(levels)), [len(level) for level in levels])
        return Reached(np.concatenate(levels), depths, truncated)

    def between(self, nodes: Indices, hidden: NDArray[np.bool_], limit: int) -> Edges:
        """The edges among these nodes, at most `limit`; paths through hidden nodes count as edges."""
        if hidden.any():
            return self._paths(nodes, hidden, limit)
        inside = self._downstream[nodes][:, nodes].tocoo()
        ends = zip(nodes[inside.row].tolist(), nodes[inside.col].tolist(), inside.data.tolist(), strict=True)
        edges = sorted(ends)
        return Edges(edges[:limit], len(edges) > limit)

    def _paths(self, nodes: Indices, hidden: NDArray[np.bool_], limit: int) -> Edges:
        shown = set(nodes.tolist())
        edges: list[tuple[int, int, int]] = []
        steps = _MOST_STEPS
        for start in nodes.tolist():
            origins: dict[int, int] = {}
            for least in (OBSERVED, DECLARED):
                for end in self._ways(start, hidden, least, steps):
                    steps -= 1
                    if end in shown:
                        origins[end] = least
            edges += [(start, end, origin) for end, origin in sorted(origins.items())]
            if len(edges) > limit or steps <= 0:
                return Edges(edges[:limit], True)
        return Edges(edges, False)

    def _ways(self, start: int, hidden: NDArray[np.bool_], least: int, most: int) -> Iterator[int]:
        """Every node that is reached through hidden nodes alone, by edges of at least this origin. Stops after
        so many steps."""
        passed, ahead = {start}, [start]
        while ahead and most > 0:
            row = slice(*self._downstream.indptr[(at := ahead.pop()) : at + 2])
            following, origins = self._downstream.indices[row], self._downstream.data[row]
            for end in following[origins >= least][:most].tolist():
                most -= 1
                yield end
                if hidden[end] and end not in passed:
                    passed.add(end)
                    ahead.append(end)


def merge(first: Reached, second: Reached, limit: int) -> Reached:
    """The union of two searches, each node at its least distance."""
    nodes, depths = np.concatenate((first.nodes, second.nodes)), np.concatenate((first.depths, second.depths))
    order = np.lexsort((nodes, depths))
    _, kept = np.unique(nodes[order], return_index=True)
    kept = order[np.sort(kept)]
    truncated = first.truncated or second.truncated or len(kept) > limit
    return Reached(nodes[kept][:limit], depths[kept][:limit], truncated)


def _next_level(
    matrix: "csr_array[Any, Any]", level: Indices, seen: NDArray[np.bool_], hidden: NDArray[np.bool_]
) -> Indices:
    """The shown nodes one step on, which are marked as seen together with the hidden ones passed through."""
    found: list[Indices] = []
    while len(level):
        beside = np.unique(matrix[level].indices).astype(np.intp)
        beside = beside[~seen[beside]]
        seen[beside] = True
        found.append(beside[~hidden[beside]])
        level = beside[hidden[beside]]
    return np.sort(np.concatenate(found))


def _matrix(upstream: Indices, downstream: Indices, declared: NDArray[np.bool_], size: int) -> "csr_array[Any, Any]":
    """An edge that is both declared and observed is declared."""
    weights = np.where(declared, _DECLARED_WEIGHT, 1)
    found = csr_array((weights, (upstream, downstream)), shape=(size, size))  # rows of one edge are added up
    origins = np.where(found.data >= _DECLARED_WEIGHT, DECLARED, OBSERVED).astype(np.int8)
    return csr_array((origins, found.indices, found.indptr), shape=(size, size))


def of_rows(rows: Sequence[tuple[int, ...]]) -> Graph:
    """The graph of rows (upstream is a dataset, its id, downstream is a dataset, its id, declared)."""
    given = np.array(rows, dtype=np.int64).reshape(-1, 5)
    flags = given.astype(bool)
    return Graph(End(given[:, 1], flags[:, 0]), End(given[:, 3], flags[:, 2]), flags[:, 4])


def of_columns(edges: Mapping[str, Any], steps: Mapping[str, Any], aliases: Mapping[str, Any]) -> Graph:
    """The graph of columns as `storage.graph` reads them. Steps are parts of a task and no nodes; a dataset stands
    under its canonical id."""
    task, node, of_dataset = edges["task"], edges["node"], edges["of_dataset"]
    if len(steps["id"]):
        shown = ~np.isin(task, steps["id"]) & (of_dataset | ~np.isin(node, steps["id"]))
        return of_columns({name: values[shown] for name, values in edges.items()}, {"id": steps["id"][:0]}, aliases)
    if len(aliases["id"]):
        node = np.where(of_dataset, _canonical(node, aliases), node)
    consumes, own = edges["consumes"], np.zeros(len(task), dtype=bool)
    upstream = End(np.where(consumes, node, task), np.where(consumes, of_dataset, own))
    downstream = End(np.where(consumes, task, node), np.where(consumes, own, of_dataset))
    return Graph(upstream, downstream, edges["declared"])


def _canonical(nodes: NDArray[np.int64], aliases: Mapping[str, Any]) -> NDArray[np.int64]:
    """Each dataset under the name that stands for it."""
    order = np.argsort(aliases["id"])
    names, stands = aliases["id"][order], aliases["canonical"][order]
    place = np.minimum(np.searchsorted(names, nodes), len(names) - 1)
    return np.where(names[place] == nodes, stands[place], nodes)
