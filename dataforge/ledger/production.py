"""Which of what is declared decides over runs and partitions that are there already, and what of it has changed.

Guarantees that a declaration settles again what follows from it and nothing else. An owner or a domain moves no
run.
"""

from collections.abc import Collection, Iterator, Mapping, Set

import msgspec

from dataforge.model.shard import tolerated
from dataforge.storage import completeness as storage
from dataforge.storage import task as tasks
from dataforge.storage.completeness import DeclaredEdge
from dataforge.storage.database import Connection

_Edge = tuple[int, int]  # task, dataset


class Production(msgspec.Struct, frozen=True):
    """What is declared of some tasks and datasets that decides over what their runs come to."""

    edges: Set[DeclaredEdge]
    wholes: Mapping[int, object]  # by dataset: how it is cut, and when a partition is complete
    allowed: Mapping[int, int]  # by task: how many shards of a run may fail, where any may


class Otherwise(msgspec.Struct, frozen=True):
    """What is declared otherwise."""

    produced: Set[int]  # the datasets that runs write otherwise, or that are complete otherwise
    staged: Set[int]  # the datasets whose stages may have another order
    allowed: Set[int]  # the tasks that allow for another number of failed shards


def production(
    connection: Connection,
    environment: int,
    writers: Collection[int],
    of_tasks: Collection[int],
    of_datasets: Collection[int],
) -> Production:
    """What stands now of the edges of some tasks, and of these tasks and datasets themselves (all by id)."""
    return Production(
        edges=storage.declared(connection, environment, writers),
        wholes=storage.wholes(connection, environment, of_datasets),
        allowed={
            task: allowed
            for task, said in tasks.shards(connection, environment, of_tasks).items()
            if (allowed := tolerated(said))
        },
    )


def otherwise(before: Production, after: Production) -> Otherwise:
    """What differs between two moments of the same tasks and datasets."""
    edges = before.edges ^ after.edges
    return Otherwise(
        produced={dataset for _, dataset in _edges(edges, "produces")} | _differing(before.wholes, after.wholes),
        staged=_staged(before.edges | after.edges, {edge[0] for edge in edges if edge[1] == "consumes"}),
        allowed=_differing(before.allowed, after.allowed),
    )


def _staged(edges: Set[DeclaredEdge], tasks: Set[int]) -> set[int]:
    """The datasets that these tasks update in place: what else they wait for orders them among the other stages."""
    in_place = set(_edges(edges, "produces")) & set(_edges(edges, "consumes"))
    return {dataset for task, dataset in in_place if task in tasks}


def _edges(edges: Set[DeclaredEdge], relation: str) -> Iterator[_Edge]:
    return ((edge[0], edge[3]) for edge in edges if edge[1] == relation and edge[2] == "dataset")


def _differing(before: Mapping[int, object], after: Mapping[int, object]) -> set[int]:
    return {each for each in before.keys() | after.keys() if before.get(each) != after.get(each)}
