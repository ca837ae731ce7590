"""What belongs to many tasks or datasets at once: of each a page of its runs, partitions or edges.

Guarantees as many queries whatever the number of tasks, and of each the page that a list of that task alone would show,
with the same cursors. What a filter reads in search of what matches is shared among the tasks, so a filtered page of
many may end sooner, with a cursor.

All of it in the caller's transaction, which sees one snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from dataforge.ledger.catalog import explained
from dataforge.model.catalog import DatasetItem, PartitionItem, RunItem, TaskItem
from dataforge.model.edge_item import EdgeFilter, EdgeItem
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.filter import PartitionFilter, RunFilter
from dataforge.model.listing import Examined, Page, cut, read_cursor, write_cursor
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef
from dataforge.model.state import PartitionStatus
from dataforge.storage import dataset_list, edge_list, partition_list, run_list, task_list
from dataforge.storage.database import Connection
from dataforge.storage.edge_list import EdgePlace
from dataforge.storage.partition_list import PartitionPlace
from dataforge.storage.run_window import Place

_Key = TypeVar("_Key", bound=msgspec.Struct)
_Item = TypeVar("_Item")


def tasks_named(connection: Connection, within: int, names: Sequence[TaskRef]) -> list[TaskItem | None]:
    """The tasks of these names; None for one that was neither declared nor seen."""
    found = {(each.namespace, each.name): each for each in task_list.load(connection, within, list(names))}
    return [found.get((each.namespace, each.name)) for each in names]


def datasets_named(connection: Connection, within: int, names: Sequence[DatasetRef]) -> list[DatasetItem | None]:
    """The datasets of these canonical names; None where there is none."""
    found = {(each.namespace, each.name): each for each in dataset_list.load(connection, within, list(names))}
    return [found.get((each.namespace, each.name)) for each in names]


def runs_of(connection: Connection, within: int, wanted: RunFilter, tasks: Sequence[int]) -> list[Page[RunItem]]:
    """Of each task (by id) its runs, the latest start first."""
    found = run_list.find_of_each(connection, within, wanted, tasks, read_cursor(wanted.cursor, Place))
    return _pages(found, wanted.limit, lambda places: run_list.load(connection, within, places))


def partitions_of(
    connection: Connection, within: int, wanted: PartitionFilter, nodes: Sequence[tuple[NodeKind, int]]
) -> list[Page[PartitionItem]]:
    """Of each task and dataset (of these by canonical id) its partitions, in the order of their keys. Raises
    InvalidInput for those that are to be stale: each of them would have to be judged."""
    if wanted.state is PartitionStatus.STALE:
        expected = "a state that is stored; what is stale is listed for one task or dataset by its name"
        raise InvalidInput(f"state is 'stale': expected {expected}", [FieldError("state", "stale", expected)])
    after = read_cursor(wanted.cursor, PartitionPlace)
    found = partition_list.find_of_each(connection, within, wanted, nodes, after)
    return _pages(found, wanted.limit, lambda places: explained(connection, within, places))


def edges_of(connection: Connection, within: int, wanted: EdgeFilter, tasks: Sequence[int]) -> list[Page[EdgeItem]]:
    """Of each task (by id) its edges of one relation."""
    found = edge_list.load(connection, within, wanted, tasks, read_cursor(wanted.cursor, EdgePlace))
    shown = [edges[: wanted.limit] for edges in found]
    return [
        Page([each.item for each in some], write_cursor(some[-1].place if len(all_) > len(some) else None))
        for some, all_ in zip(shown, found, strict=True)
    ]


def _pages(
    found: Sequence[Examined[_Key]], limit: int, load: Callable[[list[_Key]], Sequence[_Item]]
) -> list[Page[_Item]]:
    """The pages, whose items are loaded together."""
    cuts = [cut(each, limit) for each in found]
    items = iter(load([place for places, _ in cuts for place in places]))
    return [Page([next(items) for _ in places], write_cursor(last)) for places, last in cuts]
