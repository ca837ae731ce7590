"""The graph of one environment in memory: compressed sparse rows over numpy arrays, never changed once made.

Guarantees that a search costs no more than the part of the graph that it reaches, and that its answer is cut at
the limit and says so; and that a graph made from another by the rows that came and went is the one that would be made
from all rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pandas import factorize  # type: ignore[import-untyped]  # one function is not worth a package of stubs
from scipy.sparse import csr_array

from dataforge.model.reference import NodeKind

Ids = NDArray[np.int64]
Counts = NDArray[np.int32]
Indices = NDArray[np.intp]
OBSERVED, DECLARED = 1, 2
# An edge has a row for each name of its dataset, and for each source that declares it: 20 bits are for observed ones,
# and 2,000 declared ones have room above them.
_DECLARED_WEIGHT = 1 << 20
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

    def of(self, *, datasets: bool) -> Ids:
        """The ids of its datasets, or of its tasks; itself where there are no others: a copy of millions takes time."""
        kept = self.of_dataset == datasets
        return self.ids if kept.all() else self.ids[kept]

    def indices(self, tasks: NDArray[np.int32], datasets: NDArray[np.int32]) -> NDArray[np.int32]:
        """Of all, by those of its tasks and of its datasets."""
        found = np.empty(len(self.ids), dtype=np.int32)
        found[~self.of_dataset], found[self.of_dataset] = tasks, datasets
        return found


class Rows(NamedTuple):
    """Rows of edges, as columns; several may tell of one edge."""

    one: End
    other: End
    onwards: NDArray[np.bool_]  # whether each leads from the one to the other end; else the other way
    weights: Counts  # what each row counts; less than nothing where it is gone

    @classmethod
    def of(
        cls, one: End, other: End, onwards: NDArray[np.bool_], declared: NDArray[np.bool_], counts: Counts
    ) -> "Rows":
        """Both ends of each row and where it leads, whether it declares the edge, and if it came (1) or went (-1)."""
        return cls(one, other, onwards, np.where(declared, np.int32(_DECLARED_WEIGHT), np.int32(1)) * counts)

    def matrix(self, tasks: "_Merged", datasets: "_Merged") -> "_Matrix":
        """What each pair of nodes adds up to, by the index that nodes have by now."""
        first, ends = len(tasks.ids), zip((self.one, self.other), tasks.others, datasets.others, strict=True)
        one, other = (end.indices(of_tasks, first + of_datasets) for end, of_tasks, of_datasets in ends)
        places = np.where(self.onwards, one, other), np.where(self.onwards, other, one)
        found: _Matrix = csr_array((self.weights, places), shape=(size := first + len(datasets.ids), size))
        found.eliminate_zeros()
        return found


class Graph:
    """Nodes have an index: tasks first, then datasets, each by id. Each edge holds how many rows tell of it, so that it
    goes with the last of them."""

    def __init__(self, tasks: Ids, datasets: Ids, downstream: "_Matrix", upstream: "_Matrix") -> None:
        """Both sorted; of each node what lies one step down, and one step up."""
        self._tasks, self._datasets = tasks, datasets
        self._downstream, self._upstream = downstream, upstream
        self.size = len(tasks) + len(datasets)

    def changed(self, rows: Rows) -> "Graph":
        """This graph and these rows. A node without edges has no place in it."""
        ends = (rows.one, rows.other)
        tasks = _merged(self._tasks, [end.of(datasets=False) for end in ends])
        datasets = _merged(self._datasets, [end.of(datasets=True) for end in ends])
        first, more = len(tasks.ids), rows.matrix(tasks, datasets)
        place = np.concatenate((tasks.known, first + datasets.known)).astype(np.int32)
        downstream, upstream = _sum(self._downstream, place, more), _sum(self._upstream, place, more.T.tocsr())
        linked = (np.diff(downstream.indptr) + np.diff(upstream.indptr)) > 0
        return Graph(
            tasks.ids[linked[:first]], datasets.ids[linked[first:]], _only(downstream, linked), _only(upstream, linked)
        )

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
        origins = np.where(inside.data >= _DECLARED_WEIGHT, DECLARED, OBSERVED)
        ends = zip(nodes[inside.row].tolist(), nodes[inside.col].tolist(), origins.tolist(), strict=True)
        edges = sorted(ends)
        return Edges(edges[:limit], len(edges) > limit)

    def _paths(self, nodes: Indices, hidden: NDArray[np.bool_], limit: int) -> Edges:
        shown = set(nodes.tolist())
        edges: list[tuple[int, int, int]] = []
        steps = _MOST_STEPS
        for start in nodes.tolist():
            origins: dict[int, int] = {}
            for origin, least in ((OBSERVED, 1), (DECLARED, _DECLARED_WEIGHT)):
                for end in self._ways(start, hidden, least, steps):
                    steps -= 1
                    if end in shown:
                        origins[end] = origin
            edges += [(start, end, origin) for end, origin in sorted(origins.items())]
            if len(edges) > limit or steps <= 0:
                return Edges(edges[:limit], True)
        return Edges(edges, False)

    def _ways(self, start: int, hidden: NDArray[np.bool_], least: int, most: int) -> Iterator[int]:
        """Every node that is reached through hidden nodes alone, by edges of at least this weight. Stops after
        so many steps."""
        passed, ahead = {start}, [start]
        while ahead and most > 0:
            row = slice(*self._downstream.indptr[(at := ahead.pop()) : at + 2])
            following, weights = self._downstream.indices[row], self._downstream.data[row]
            for end in following[weights >= least][:most].tolist():
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


def _next_level(matrix: "_Matrix", level: Indices, seen: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> Indices:
    """The shown nodes one step on, which are marked as seen together with the hidden ones passed through."""
    found: list[Indices] = []
    while len(level):
        beside = np.unique(matrix[level].indices).astype(np.intp)
        beside = beside[~seen[beside]]
        seen[beside] = True
        found.append(beside[~hidden[beside]])
        level = beside[hidden[beside]]
    return np.sort(np.concatenate(found))


class _Merged(NamedTuple):
    """Ids that were known and others: all together in order, and where those known, and each of the others, stand."""

    ids: Ids
    known: Indices
    others: Sequence[NDArray[np.int32]]


def _merged(known: Ids, others: Sequence[Ids]) -> _Merged:
    """By hashing the others, which takes a sixth of the time that sorting and searching take."""
    filled = [each for each in others if len(each)]  # one alone is not copied
    codes, found = factorize(filled[0] if len(filled) == 1 else np.concatenate(others), sort=True)
    fresh = found[~_among(found, known)]
    ids = np.insert(known, np.searchsorted(known, fresh), fresh)
    place = np.searchsorted(ids, found).astype(np.int32)[codes]
    split = np.split(place, np.cumsum([len(each) for each in others[:-1]]))
    return _Merged(ids, np.arange(len(known)) + np.searchsorted(fresh, known), split)


def _among(ids: Ids, known: Ids) -> NDArray[np.bool_]:
    """Which of them are known; those known are in order."""
    place = np.searchsorted(known, ids)
    inside = place < len(known)
    inside[inside] = known[place[inside]] == ids[inside]
    return inside


def _sum(matrix: "_Matrix", place: NDArray[np.int32], more: "_Matrix") -> "_Matrix":
    """A matrix, of which the nodes stand in these places by now, and another; without what adds up to nothing."""
    return _renumbered(matrix, place, more.shape[0]) + more if matrix.nnz else more


def _renumbered(matrix: "_Matrix", place: NDArray[np.int32], size: int) -> "_Matrix":
    """With more nodes, of which those it has stand in these places, in the same order."""
    if len(place) == size:
        return matrix
    begins = np.zeros(size + 1, dtype=np.int32)
    begins[1:][place] = np.diff(matrix.indptr)
    return _sorted_rows(matrix.data, place[matrix.indices], np.cumsum(begins, dtype=np.int32))


def _only(matrix: "_Matrix", kept: NDArray[np.bool_]) -> "_Matrix":
    """With these nodes alone; no edge leads from or to any other."""
    if kept.all():
        return matrix
    place = np.cumsum(kept, dtype=np.int32) - 1
    return _sorted_rows(
        matrix.data, place[matrix.indices], np.concatenate((matrix.indptr[:1], matrix.indptr[1:][kept]))
    )


def _sorted_rows(data: Counts, ends: NDArray[np.int32], begins: NDArray[np.int32]) -> "_Matrix":
    size = len(begins) - 1
    found = csr_array((data, ends, begins), shape=(size, size))
    found.has_canonical_format = True  # else it looks at all rows to find out, each time
    return found


_Matrix: TypeAlias = "csr_array[Any, Any]"
_NO_IDS, _NO_EDGES = np.zeros(0, dtype=np.int64), csr_array((0, 0), dtype=np.int32)
EMPTY = Graph(_NO_IDS, _NO_IDS, _NO_EDGES, _NO_EDGES)


def of_rows(rows: Sequence[tuple[int, ...]]) -> Graph:
    """The graph of rows (upstream is a dataset, its id, downstream is a dataset, its id, declared)."""
    given = np.array(rows, dtype=np.int64).reshape(-1, 5)
    flags = given.astype(bool)
    ends, every = (End(given[:, 1], flags[:, 0]), End(given[:, 3], flags[:, 2])), np.ones(len(given), dtype=bool)
    return EMPTY.changed(Rows.of(*ends, every, flags[:, 4], np.ones(len(given), dtype=np.int32)))
