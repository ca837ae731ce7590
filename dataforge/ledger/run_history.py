"""Runs across the database and the files of the archive, and where each was found.

Guarantees that a run is listed once, as the database has it where it does. Files that this database wrote are not read
as long as it has their runs itself; those of one that was before it, or beside it, are.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
from msgspec.structs import replace

from dataforge.ledger import catalog
from dataforge.model.catalog import IntervalItem, RunItem
from dataforge.model.errors import NotFound
from dataforge.model.filter import RunFilter
from dataforge.model.listing import Page, read_cursor, write_cursor
from dataforge.model.reference import TaskRef
from dataforge.model.shard import ShardCounts
from dataforge.storage import environment as environments
from dataforge.storage import reference, run_archive
from dataforge.storage.archive import Archive
from dataforge.storage.database import Connection, Database
from dataforge.storage.run_archive import ArchivedRun
from dataforge.storage.run_file import KeptRun
from dataforge.storage.run_window import Place

DATABASE = "database"


class FoundRun(msgspec.Struct, frozen=True):
    """A run, and where it was found: `database`, or a file of the archive, which does not say what a run touched."""

    run: RunItem
    origin: str


def runs(database: Database, name: str, wanted: RunFilter, archive: Archive) -> Page[FoundRun]:
    """Runs of the environment `name`, the latest start first."""
    filed = _filed(database, name, wanted, archive)
    try:
        page = _in_database(database, name, wanted)
    except NotFound:
        if not filed:
            raise
        page = Page([], None)
    last = read_cursor(page.next_cursor, Place)
    placed = [(_place(item), FoundRun(item, DATABASE)) for item in page.items]
    placed += [(_place_of(each.run), FoundRun(_shown(each.run), each.file)) for each in filed]
    placed.sort(key=lambda each: _order(each[0]))
    within = [each for each in placed if last is None or _order(each[0]) <= _order(last)]
    shown = within[: wanted.limit]
    more = len(within) > wanted.limit or (page.next_cursor is None and len(filed) == wanted.limit)
    return Page([found for _, found in shown], write_cursor(shown[-1][0]) if more else page.next_cursor)


def _in_database(database: Database, name: str, wanted: RunFilter) -> Page[RunItem]:
    """As many as are wanted: a filtered page may hold fewer than there are."""
    items: list[RunItem] = []
    while True:
        page = catalog.runs(database, name, wanted)
        items += page.items
        rest = wanted.limit - len(page.items)
        if page.next_cursor is None or rest == 0:
            return Page(items, page.next_cursor)
        wanted = replace(wanted, limit=rest, cursor=page.next_cursor)


def _filed(database: Database, name: str, wanted: RunFilter, archive: Archive) -> list[ArchivedRun]:
    """What files have and the database does not, at most as many as are wanted."""
    with database.transaction() as connection:
        here = environments.find(connection, name)
        own = run_archive.own(connection, here.id)
        task = _task(connection, here.id, wanted)
    if task is not None:
        wanted = replace(wanted, namespace=task.namespace, name=task.name)
    among = [file for file in run_archive.files(archive, name, wanted) if file not in own]
    found: list[ArchivedRun] = []
    after = read_cursor(wanted.cursor, Place)
    with run_archive.opened(archive, among, wanted) as reading:
        while some := reading.page(after, wanted.limit):
            keys = [(each.run.task_id, each.run.run) for each in some]
            with database.transaction() as connection:
                known = run_archive.in_database(connection, here.id, keys)
            found += [each for key, each in zip(keys, some, strict=True) if key not in known]
            if len(found) >= wanted.limit:
                break
            after = _place_of(some[-1].run)
    return found[: wanted.limit]


def _task(connection: Connection, environment: int, wanted: RunFilter) -> TaskRef | None:
    """The task that is asked for, by its full name; None where all are, or the database has none of that name."""
    if wanted.name is None:
        return None
    try:
        return reference.resolve_task(connection, environment, wanted.namespace, wanted.name)
    except NotFound as error:
        if len(error.candidates) > 1:
            raise
        return None


def _place(item: RunItem) -> Place:
    return Place(item.started_at, TaskRef(item.namespace, item.name).id, item.run)


def _place_of(run: KeptRun) -> Place:
    return Place(run.started_at, run.task_id, run.run)


def _order(place: Place) -> tuple[float, int, str]:
    """The latest start first, and last what never started."""
    started = place.started_at
    return (-started.timestamp() if started else float("inf"), place.task_id, place.run)


def _shown(run: KeptRun) -> RunItem:
    interval = None
    if run.interval_start is not None and run.interval_took is not None:
        interval = IntervalItem(run.interval_start, run.interval_start + timedelta(microseconds=run.interval_took))
    return msgspec.convert(
        {
            "kind": run.kind,
            "namespace": run.namespace,
            "name": run.name,
            "partition": run.partitions[0] if len(run.partitions) == 1 else None,
            "partitions": run.partitions,
            "run": run.run,
            "attempt": run.attempt,
            "state": run.state,
            "started_at": run.started_at,
            "ended_at": None if run.took is None else run.started_at + timedelta(microseconds=run.took),
            "data_interval": interval,
            "inputs": [],
            "outputs": [],
            "error": run.error,
            "evidence": run.evidence,
            "partition_from": run.partition_from,
            "version": run.version,
            "source": msgspec.json.decode(run.source),
            "shards": msgspec.json.decode(run.shards, type=ShardCounts) if run.shards else None,
        },
        RunItem,
    )
