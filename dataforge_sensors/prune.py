"""Taking from Dagster's event log what is old and that nobody needs: `dataforge dagster prune` runs this as a process.

Guarantees that what Dagster shows stays: the last event of each kind of each partition, the last state of each one
that the mirror wrote, the last result of each check; and so does what is still to be read or gone on with: events that
a sensor has not come to, whole runs that go on or of which a sensor has not read all. Rows go in small transactions,
so that nothing waits for it, and one that is killed is begun again.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.definitions.run_status_sensor_definition import RunStatusSensorCursor
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import BACKFILL_ID_TAG
from sqlalchemy import text

from dataforge_sensors.dagster_to_ledger import dagster_to_ledger
from dataforge_sensors.mirror import MIRROR_ID
from dataforge_sensors.read_back import storage_of

AT_ONCE = 2_000  # rows of one transaction
CHECKS = "results of checks"
# Of these Dagster shows the last one of each partition.
SHOWN = (
    "ASSET_MATERIALIZATION",
    "ASSET_OBSERVATION",
    "ASSET_MATERIALIZATION_PLANNED",
    "ASSET_FAILED_TO_MATERIALIZE",
)


class Freed(msgspec.Struct, frozen=True):
    """What went, or may go, of one kind of rows."""

    kind: str
    rows: int
    bytes: int


class Pruned(msgspec.Struct, frozen=True):
    """What was found, of all that is old."""

    freed: tuple[Freed, ...]
    kept: dict[str, int]  # by reason
    held_by: str | None  # the sensor that has read least


class Reader(msgspec.Struct, frozen=True):
    """A sensor, and the last event that it has read."""

    name: str
    read_through: int


def prune(instance: DagsterInstance, before: datetime, *, apply: bool, at_once: int = AT_ONCE) -> Pruned:
    """What of the log is older than a moment and may go; with `apply` it goes."""
    reader, needed = slowest(instance), runs_needed(instance)
    rows: Counter[str] = Counter()
    size: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    finds = [
        _events(instance, before, reader.read_through, needed, at_once),
        _checks(instance, before, needed, at_once),
    ]
    for statement, find in zip((DELETE_EVENTS, DELETE_CHECKS), finds, strict=True):
        for found in find:
            for row in found:
                kept[row.why] += bool(row.why)
                rows[row.kind] += not row.why
                size[row.kind] += 0 if row.why else row.size
            gone = [row.id for row in found if not row.why]
            if apply and gone:
                with storage_of(instance).index_connection() as connection:
                    connection.execute(text(statement), {"ids": gone})
    freed = tuple(Freed(kind, number, size[kind]) for kind, number in rows.most_common() if number)
    return Pruned(freed, {why: number for why, number in kept.items() if why}, reader.name)


def slowest(instance: DagsterInstance) -> Reader:
    """The sensor that has read least of the log, of those that run, and of the mirror of Dagster also where it does
    not: what that has not told the ledger yet, it will have to. Where there is none yet, nothing is read."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    readers = [reader for state in states if (reader := _reader(state))]
    if not any(reader.name == dagster_to_ledger.name for reader in readers):
        return Reader(dagster_to_ledger.name, 0)
    return min(readers, key=lambda reader: reader.read_through)


def _reader(state: InstigatorState) -> Reader | None:
    """How far a sensor has read; None for one that is stopped, or keeps no place in the log."""
    mirrors = state.name == dagster_to_ledger.name
    cursor = state.instigator_data.cursor if isinstance(state.instigator_data, SensorInstigatorData) else None
    if (state.status is InstigatorStatus.STOPPED and not mirrors) or not cursor:
        return Reader(state.name, 0) if mirrors else None
    if cursor.isdecimal():
        return Reader(state.name, int(cursor))
    if RunStatusSensorCursor.is_valid(cursor):
        return Reader(state.name, RunStatusSensorCursor.from_json(cursor).record_id)
    return None


def runs_needed(instance: DagsterInstance) -> list[str]:
    """The runs that go on, those that these go on from, and those of a backfill that goes on."""
    going = [status for status in DagsterRunStatus if status not in FINISHED_STATUSES]
    runs = instance.get_runs(RunsFilter(statuses=going))
    terminal = {*BULK_ACTION_TERMINAL_STATUSES}
    wanted = BulkActionsFilter(statuses=[status for status in BulkActionStatus if status not in terminal])
    for backfill in instance.get_backfills(filters=wanted):
        runs = [*runs, *instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: backfill.backfill_id}))]
    found = {each for run in runs for each in (run.run_id, run.parent_run_id, run.root_run_id) if each}
    return sorted(found)


class Row(msgspec.Struct, frozen=True):
    """One old row, and why it stays; no reason where it may go."""

    id: int
    kind: str
    size: int
    why: str
    is_old: bool = True


# A row is the last of its kind where no later one is of the same asset and partition; each look-up is one of an index.
EVENTS = """
select c.id, coalesce(c.dagster_event_type, 'log lines'), pg_column_size(c.event), case
    when c.run_id = any(cast(:needed as text[])) then 'of runs that go on'
    when c.run_id <> '' and exists (
        select from event_logs u where u.run_id = c.run_id and u.id > :through
    ) then 'of runs that a sensor has not read to their end'
    when c.dagster_event_type = any(cast(:shown as text[])) and not exists (
        select from event_logs l where l.asset_key = c.asset_key and l.dagster_event_type = c.dagster_event_type
            and l.partition = c.partition and l.id > c.id
        union all
        select from event_logs l where c.partition is null and l.asset_key = c.asset_key
            and l.dagster_event_type = c.dagster_event_type and l.partition is null and l.id > c.id
    ) then 'the last of their partitions'
    when c.dagster_event_type = any(cast(:shown as text[])) and strpos(c.event, :mirrored) > 0 and not exists (
        select from event_logs l where l.asset_key = c.asset_key and l.id > c.id
            and l.partition is not distinct from c.partition and l.dagster_event_type = any(cast(:shown as text[]))
            and strpos(l.event, :mirrored) > 0
    ) then 'the last states that the mirror wrote'
    else '' end, c.timestamp < :before
from (
    select * from event_logs where id > :after and id <= :through order by id limit :most
) c
order by c.id
"""
CHECK_ROWS = """
select c.id, :kind, pg_column_size(c.evaluation_event), case
    when c.run_id = any(cast(:needed as text[])) then 'of runs that go on'
    when not exists (
        select from asset_check_executions l where l.asset_key = c.asset_key and l.check_name = c.check_name
            and l.partition is not distinct from c.partition and l.id > c.id
            and l.execution_status in ('SUCCEEDED', 'FAILED')
    ) then 'the last results of their checks'
    else '' end, c.create_timestamp < :before
from (select * from asset_check_executions where id > :after order by id limit :most) c
order by c.id
"""
DELETE_EVENTS = """
with gone as (delete from event_logs where id = any(cast(:ids as bigint[])) returning id)
delete from asset_event_tags t using gone where t.event_id = gone.id
"""
DELETE_CHECKS = "delete from asset_check_executions where id = any(cast(:ids as bigint[]))"


def _events(
    instance: DagsterInstance, before: datetime, through: int, needed: Sequence[str], most: int
) -> Iterator[list[Row]]:
    """The old events, some at a time."""
    asked = {"through": through, "shown": [*SHOWN], "mirrored": MIRROR_ID}
    yield from _pages(instance, EVENTS, {**asked, "needed": [*needed], "before": _plain(before), "most": most})


def _checks(instance: DagsterInstance, before: datetime, needed: Sequence[str], most: int) -> Iterator[list[Row]]:
    """The old results of checks, some at a time."""
    asked = {"kind": CHECKS, "needed": [*needed], "before": _plain(before), "most": most}
    yield from _pages(instance, CHECK_ROWS, asked)


def _pages(instance: DagsterInstance, query: str, parameters: dict[str, Any]) -> Iterator[list[Row]]:
    """Up to where nothing is old any more: rows are numbered about as they come."""
    after = 0
    while True:
        with storage_of(instance).index_connection() as connection:
            rows: list[Any] = [*connection.execute(text(query), {**parameters, "after": after})]
        old = [Row(*row) for row in rows if row[4]]
        if not old:
            return
        after = rows[-1][0]
        yield old


def _plain(moment: datetime) -> datetime:
    """As Dagster stores it: in UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def main() -> None:
    """Prints what was found, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=datetime.fromisoformat, required=True)
    parser.add_argument("--apply", action="store_true")
    asked = parser.parse_args()
    with DagsterInstance.get() as instance:
        sys.stdout.buffer.write(msgspec.json.encode(prune(instance, asked.before, apply=asked.apply)))


if __name__ == "__main__":
    main()
