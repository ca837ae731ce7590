"""Lists of what the ledger holds: tasks, datasets, runs, attempts and shards, partitions, rejects, page by page.

Guarantees that a page is one transaction's view, and that its cost does not grow with the ledger: what a page
reads, filtered or not, is a bounded range of one index.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from dataforge.ledger import update
from dataforge.ledger.partition_reason import reasons
from dataforge.ledger.staleness import FAR, staleness
from dataforge.model.catalog import (
    DatasetItem,
    PartitionItem,
    PartitionPage,
    RejectItem,
    RunItem,
    ShardItem,
    TaskItem,
    UpdateItem,
)
from dataforge.model.filter import (
    DatasetFilter,
    PartitionFilter,
    RejectFilter,
    RunFilter,
    ShardFilter,
    TaskFilter,
    UpdateFilter,
)
from dataforge.model.listing import Examined, Page, cut, read_cursor, write_cursor
from dataforge.model.reference import DatasetRef, TaskRef, node_id
from dataforge.model.shard import ShardKey
from dataforge.model.state import PartitionStatus, RunKind
from dataforge.storage import (
    attempt_list,
    dataset_list,
    environment,
    partition_list,
    readiness,
    reference,
    reject_list,
    run_graph,
    run_list,
    shard,
    task_list,
    update_list,
)
from dataforge.storage.database import Connection, Database
from dataforge.storage.dataset_list import DatasetPlace
from dataforge.storage.partition_list import PartitionPlace
from dataforge.storage.reject_list import RejectPlace
from dataforge.storage.run_window import Place
from dataforge.storage.task_list import TaskPlace
from dataforge.storage.update_list import UpdatePlace

MOST_JUDGED = 500  # partitions that are there which one page looks through for stale ones


def runs(database: Database, name: str, wanted: RunFilter) -> Page[RunItem]:
    """Runs of the environment `name`, or their attempts, the latest start first."""
    with database.transaction() as connection:
        return runs_in(connection, environment.find(connection, name).id, wanted)


def runs_in(connection: Connection, within: int, wanted: RunFilter) -> Page[RunItem]:
    """The same in a transaction that is open."""
    source = attempt_list if wanted.attempts else run_list
    task = _task(connection, within, wanted)
    found = source.find(connection, within, wanted, task, read_cursor(wanted.cursor, Place))
    places, last = cut(found, wanted.limit)
    return Page(source.load(connection, within, places), write_cursor(last))


def shards(database: Database, name: str, wanted: ShardFilter) -> Page[ShardItem]:
    """The shards of one run in the environment `name`, in the order of their keys. Raises NotFound for a task or a run
    that nobody knows."""
    with database.transaction() as connection:
        within = environment.find(connection, name).id
        task = reference.resolve_task(connection, within, wanted.namespace, wanted.name)
        if not run_graph.load(connection, within, [(task.id, wanted.run)]):
            raise reference.no_such_run(connection, within, task, wanted.run)
        seen = read_cursor(wanted.cursor, ShardKey)
        after = seen.key if seen else ""
        found = shard.page(connection, within, (task.id, wanted.run), wanted.state, after, wanted.limit)
        items = [ShardItem(each.key, each.state, each.ended_at, each.rows) for each in found.shards]
        return Page(items, write_cursor(ShardKey(found.last) if found.last is not None else None))


def tasks(database: Database, name: str, wanted: TaskFilter) -> Page[TaskItem]:
    """Tasks of the environment `name` that were declared or seen, by namespace and name."""
    with database.transaction() as connection:
        return tasks_in(connection, environment.find(connection, name).id, wanted)


def tasks_in(connection: Connection, within: int, wanted: TaskFilter) -> Page[TaskItem]:
    """The same in a transaction that is open."""
    if wanted.name is not None:
        one = reference.resolve_task(connection, within, wanted.namespace, wanted.name)
        return Page(task_list.load(connection, within, [one]), None)
    found = task_list.find(connection, within, wanted, read_cursor(wanted.cursor, TaskPlace))
    places, last = cut(found, wanted.limit)
    refs = [TaskRef(place.namespace, place.name) for place in places]
    return Page(task_list.load(connection, within, refs), write_cursor(last))


def datasets(database: Database, name: str, wanted: DatasetFilter) -> Page[DatasetItem]:
    """Datasets of the environment `name`, each once, by canonical namespace and name."""
    with database.transaction() as connection:
        return datasets_in(connection, environment.find(connection, name).id, wanted)


def datasets_in(connection: Connection, within: int, wanted: DatasetFilter) -> Page[DatasetItem]:
    """The same in a transaction that is open."""
    if wanted.name is not None:
        one = reference.resolve_dataset(connection, within, wanted.namespace, wanted.name)
        return Page(dataset_list.load(connection, within, [one]), None)
    found = dataset_list.find(connection, within, wanted, read_cursor(wanted.cursor, DatasetPlace))
    places, last = cut(found, wanted.limit)
    refs = [DatasetRef(place.namespace, place.name) for place in places]
    return Page(dataset_list.load(connection, within, refs), write_cursor(last))


def partitions(database: Database, name: str, wanted: PartitionFilter, now: datetime) -> PartitionPage:
    """Partition states of the environment `name`; those of one task or dataset in the order of their keys."""
    with database.transaction() as connection:
        readiness.begin_snapshot(connection)
        here = environment.find(connection, name)
        page = partitions_in(connection, here.id, wanted, now)
    return PartitionPage(page.items, page.next_cursor, here.states_known_from or None)


def partitions_in(connection: Connection, within: int, wanted: PartitionFilter, now: datetime) -> Page[PartitionItem]:
    """The same in a transaction that sees one snapshot."""
    node, after = _node(connection, within, wanted), read_cursor(wanted.cursor, PartitionPlace)
    if wanted.state is PartitionStatus.STALE:
        return _stale_partitions(connection, within, wanted, node, after, now)
    places, last = cut(partition_list.find(connection, within, wanted, node, after), wanted.limit)
    return Page(explained(connection, within, places), write_cursor(last))


def explained(connection: Connection, within: int, places: list[PartitionPlace]) -> list[PartitionItem]:
    """The partitions at these places, each with why it serves nobody."""
    items = partition_list.load(connection, within, places)
    keys = [(each.kind, each.node_id, each.partition) for each in places]
    why = reasons(connection, within, {key: item.state for key, item in zip(keys, items, strict=True)})
    return [replace(item, reason=why.get(key)) for key, item in zip(keys, items, strict=True)]


def _stale_partitions(
    connection: Connection,
    within: int,
    wanted: PartitionFilter,
    node: int | None,
    after: PartitionPlace | None,
    now: datetime,
) -> Page[PartitionItem]:
    """Of so many that are there those that are stale, directly or in turn: nothing stores which are."""
    built = replace(wanted, limit=MOST_JUDGED)
    judged, last = cut(partition_list.find(connection, within, built, node, after), MOST_JUDGED)
    places = [(each.kind, each.node_id, each.partition) for each in judged]
    found = staleness(connection, within, places, now, FAR)
    why = {each: found.stale(place, 1) for each, place in zip(judged, places, strict=True)}
    shown, last = cut(Examined([each for each in judged if why[each]], last), wanted.limit)
    loaded = zip(partition_list.load(connection, within, shown), shown, strict=True)
    items = [replace(item, state=PartitionStatus.STALE, reason=why[each][0].message) for item, each in loaded]
    return Page(items, write_cursor(last))


def rejects(database: Database, name: str, wanted: RejectFilter) -> Page[RejectItem]:
    """What the environment `name` has refused, the latest first."""
    with database.transaction() as connection:
        within = environment.find(connection, name).id
        found = reject_list.find(connection, within, wanted, read_cursor(wanted.cursor, RejectPlace))
        places, last = cut(found, wanted.limit)
        return Page(reject_list.load(connection, within, places), write_cursor(last))


def updates(database: Database, name: str, wanted: UpdateFilter) -> Page[UpdateItem]:
    """Updates of datasets in the environment `name` that a run consumed, or that wait for the next one, the earliest
    first. Raises InvalidInput for a task without a trigger."""
    with database.transaction() as connection:
        within = environment.find(connection, name).id
        task = reference.resolve_task(connection, within, wanted.namespace, wanted.name)
        trigger, span = update.consumed(connection, within, task, wanted.run)
        after = read_cursor(wanted.cursor, UpdatePlace)
        if span is None:
            return Page([], None)
        found = update_list.page(connection, within, trigger.datasets, span, after, wanted.limit + 1)
        shown, more = found[: wanted.limit], len(found) > wanted.limit
        return Page([item for _, item in shown], write_cursor(shown[-1][0] if more else None))


def _task(connection: Connection, within: int, wanted: RunFilter) -> int | None:
    """The id of the task whose runs are wanted; None for all. Steps come and go with their plans, so one is
    found by its whole name only."""
    if wanted.name is None:
        return None
    if wanted.kind is RunKind.STEP and wanted.namespace is not None:
        return node_id(wanted.namespace, wanted.name)
    return reference.resolve_task(connection, within, wanted.namespace, wanted.name).id


def _node(connection: Connection, within: int, wanted: PartitionFilter) -> int | None:
    """The id of the task or dataset whose partitions are wanted; None for all."""
    if wanted.name is None:
        return None
    if wanted.kind == "task":
        return reference.resolve_task(connection, within, wanted.namespace, wanted.name).id
    if wanted.kind == "dataset":
        return reference.resolve_dataset(connection, within, wanted.namespace, wanted.name).id
    return reference.resolve_node(connection, within, wanted.namespace, wanted.name).id
