"""Which tasks lie on a loop of edges at all, whatever partitions these lead to: only there a cycle can close.

Guarantees numbers alone, no names and no mappings, so that the edges of a whole platform are looked at in a second.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ids = NDArray[np.int64]


class Ends(NamedTuple):
    """Edges, column by column: a task consumes or produces a task or a dataset."""

    task: Ids
    consumes: NDArray[np.bool_]
    of_dataset: NDArray[np.bool_]
    node: Ids

    @classmethod
    def of(cls, edges: Iterable[tuple[int, bool, bool, int]]) -> "Ends":
        """Edges given one by one, in the order of the columns."""
        rows = np.array(list(edges), dtype=np.int64).reshape(-1, 4)
        return cls(rows[:, 0], rows[:, 1].astype(bool), rows[:, 2].astype(bool), rows[:, 3])

    @classmethod
    def alike(cls, tasks: Sequence[int], nodes: Sequence[int], *said: bool) -> "Ends":
        """Edges of one relation to nodes of one kind: whether they consume, and whether datasets."""
        consumes, of_dataset = (np.full(len(tasks), each) for each in said)
        return cls(np.array(tasks, dtype=np.int64), consumes, of_dataset, np.array(nodes, dtype=np.int64))

    def and_those(self, *others: "Ends") -> "Ends":
        """These edges and the others."""
        return Ends._make(np.concatenate(columns) for columns in zip(self, *others, strict=True))


def knotted(ends: Ends, aliases: Iterable[tuple[int, int]], tasks: Iterable[int], datasets: Iterable[int]) -> set[int]:
    """The tasks on a loop of edges that leads through one of these tasks or datasets. Names of one dataset are one."""
    found = _grouped(ends, aliases)
    named = np.concatenate((_places(found.tasks, tasks), len(found.tasks) + _places(found.datasets, datasets)))
    wanted = np.unique(found.group[named])
    chosen = np.isin(found.group[: len(found.tasks)], wanted[found.looped[wanted]])
    return set(found.tasks[chosen].tolist())


def knots(ends: Ends, aliases: Iterable[tuple[int, int]]) -> list[set[int]]:
    """The tasks that lie on loops with others, each strongly connected group by itself, the least task first."""
    found = _grouped(ends, aliases)
    group = found.group[: len(found.tasks)]
    shared = np.flatnonzero(np.bincount(group)[group] > 1)
    by_group: dict[int, set[int]] = {}
    for task, number in zip(found.tasks[shared].tolist(), group[shared].tolist(), strict=True):
        by_group.setdefault(number, set()).add(task)
    return list(by_group.values())


class _Grouped(NamedTuple):
    tasks: Ids  # in order
    datasets: Ids
    group: NDArray[np.int32]  # of each task, then of each dataset
    looped: NDArray[np.bool_]  # of each group: whether it has an edge within


def _grouped(ends: Ends, aliases: Iterable[tuple[int, int]]) -> _Grouped:
    """All tasks and datasets by strongly connected groups."""
    same = np.array(list(aliases), dtype=np.int64).reshape(-1, 2)
    tasks = np.unique(np.concatenate((ends.task, ends.node[~ends.of_dataset])))
    datasets = np.unique(np.concatenate((ends.node[ends.of_dataset], same.ravel())))
    size = len(tasks) + len(datasets)
    task = np.searchsorted(tasks, ends.task)
    of_dataset = len(tasks) + np.searchsorted(datasets, ends.node)
    node = np.where(ends.of_dataset, of_dataset, np.searchsorted(tasks, ends.node))
    first, second = (len(tasks) + np.searchsorted(datasets, same)).T
    up = np.concatenate((np.where(ends.consumes, node, task), first, second))
    down = np.concatenate((np.where(ends.consumes, task, node), second, first))
    graph = coo_array((np.ones(len(up), dtype=np.int8), (up, down)), shape=(size, size))
    _, group = connected_components(graph, directed=True, connection="strong")
    looped = np.zeros(size, dtype=bool)
    looped[group[up[(group[up] == group[down])]]] = True
    return _Grouped(tasks, datasets, group, looped)


def _places(known: Ids, wanted: Iterable[int]) -> NDArray[np.intp]:
    """Where those that are known stand among them."""
    asked = np.array(list(wanted), dtype=np.int64)
    return np.flatnonzero(np.isin(known, asked))
