"""Runs across the database and the files of the archive, and where each was found.

Guarantees that a run is listed once, as the database has it where it does: one that ended and was begun anew, too.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
from msgspec.structs import replace

from dataforge.ledger import catalog
from dataforge.model.catalog import IntervalItem, RunItem
from dataforge.model.errors import NotFound
from dataforge.model.filter import RunFilter
from dataforge.model.listing import MOST_EXAMINED, Page, read_cursor, write_cursor
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
    """Runs of the environment `name`, the latest start first. A page may hold fewer than are wanted and yet have a next
    one, where the database has most of what a file holds."""
    filed, filed_until = _filed(database, name, wanted, archive)
    try:
        page = catalog.runs(database, name, wanted)
    except NotFound:
        if not filed:
            raise
        page = Page([], None)
    ends = [end for end in (read_cursor(page.next_cursor, Place), filed_until) if end is not None]
    last = min(ends, key=_order, default=None)  # what is behind it was not read of both
    placed = [(_place(item), FoundRun(item, DATABASE)) for item in page.items]
    placed += [(_place_of(each.run), FoundRun(_shown(each.run), each.file)) for each in filed]
    placed.sort(key=lambda each: _order(each[0]))
    within = [each for each in placed if last is None or _order(each[0]) <= _order(last)]
    shown = within[: wanted.limit]
    return Page([found for _, found in shown], write_cursor(shown[-1][0] if len(within) > len(shown) else last))


def _filed(
    database: Database, name: str, wanted: RunFilter, archive: Archive
) -> tuple[list[ArchivedRun], Place | None]:
    """What files have and the database does not, of one stretch; and where that ends, if there is more behind it."""
    with database.transaction() as connection:
        here = environments.find(connection, name)
        task = _task(connection, here.id, wanted)
    if task is not None:
        wanted = replace(wanted, namespace=task.namespace, name=task.name)
    among = run_archive.files(archive, name, wanted)
    some = run_archive.find(archive, among, wanted, read_cursor(wanted.cursor, Place), MOST_EXAMINED)
    with database.transaction() as connection:
        known = run_archive.in_database(connection, here.id, [(each.run.task_id, each.run.run) for each in some])
    found = [each for each in some if (each.run.task_id, each.run.run) not in known]
    return found, _place_of(some[-1].run) if len(some) == MOST_EXAMINED else None


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
    ended_at = None
    if run.started_at is not None and run.took is not None:
        ended_at = run.started_at + timedelta(microseconds=run.took)
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
            "ended_at": ended_at,
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
