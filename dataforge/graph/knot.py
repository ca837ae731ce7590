"""Which tasks lie on a loop of edges at all, whatever partitions these lead to: only there a cycle can close.

Guarantees numbers alone, no names and no mappings, so that the edges of a whole platform are looked at in a second.
"""

from collections.abc import Iterable
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

    def and_those(self, other: "Ends") -> "Ends":
        """These edges and the others."""
        return Ends._make(np.concatenate(pair) for pair in zip(self, other, strict=True))


def knotted(ends: Ends, aliases: Iterable[tuple[int, int]], tasks: Iterable[int], datasets: Iterable[int]) -> set[int]:
    """The tasks on a loop of edges that leads through one of these tasks or datasets. Names of one dataset are one."""
    same = np.array(list(aliases), dtype=np.int64).reshape(-1, 2)
    known_tasks = np.unique(np.concatenate((ends.task, ends.node[~ends.of_dataset])))
    known_datasets = np.unique(np.concatenate((ends.node[ends.of_dataset], same.ravel())))
    size = len(known_tasks) + len(known_datasets)
    task = np.searchsorted(known_tasks, ends.task)
    of_dataset = len(known_tasks) + np.searchsorted(known_datasets, ends.node)
    node = np.where(ends.of_dataset, of_dataset, np.searchsorted(known_tasks, ends.node))
    first, second = (len(known_tasks) + np.searchsorted(known_datasets, same)).T
    up = np.concatenate((np.where(ends.consumes, node, task), first, second))
    down = np.concatenate((np.where(ends.consumes, task, node), second, first))
    graph = coo_array((np.ones(len(up), dtype=np.int8), (up, down)), shape=(size, size))
    _, group = connected_components(graph, directed=True, connection="strong")
    looped = np.zeros(size, dtype=bool)
    looped[group[up[(group[up] == group[down])]]] = True  # by group: it has an edge within
    named = np.concatenate(
        (_places(known_tasks, tasks), len(known_tasks) + _places(known_datasets, datasets)),
    )
    wanted = np.unique(group[named])
    chosen = np.isin(group[: len(known_tasks)], wanted[looped[wanted]])
    return set(known_tasks[chosen].tolist())


def _places(known: Ids, wanted: Iterable[int]) -> NDArray[np.intp]:
    """Where those that are known stand among them."""
    asked = np.array(list(wanted), dtype=np.int64)
    return np.flatnonzero(np.isin(known, asked))
