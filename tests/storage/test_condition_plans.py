"""The plans of conditions and triggers: what is read does not grow with the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from dataforge.storage import report, update, update_list, withdrawal
from dataforge.storage.database import Database
from tests.storage.plan import rows_read

pytestmark = pytest.mark.xdist_group("condition-plans")  # in one process, which makes once what they share

# A hundred tasks write a dataset each, 200 partitions of it, and every partition is checked once.
_FILL = """
insert into task (environment, id, namespace, name, seen)
select 1, n, 'ns', 'task' || n, true from generate_series(1, 100) n;
insert into dataset (environment, id, namespace, name, canonical_id)
select 1, n, 'ns', 'dataset' || n, n from generate_series(1, 12000) n;
create temporary table made as
select n % 100 + 1 as id, n / 100 as day, timestamptz '2026-01-01' + n * interval '1 minute' as at
from generate_series(0, 19999) n;
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, partitions,
    started_at, source)
select 1, id, 'r' || day, 'task', 'r' || day, -1, 'succeeded', 'reported', 1, '{}', at, '{}' from made;
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, partitions, ended_at,
    source)
select 1, id, 'e' || day, 'task', 'e' || day, -1, 'succeeded', 'reported', 1, '{}', at, '{}' from made;
insert into attempt (environment, task_id, run, attempt_id, kind, platform, said_evidence, said_state, said_at, said_by,
    external_run, group_run, map_index, completed, started_at, source)
select 1, id, 'r' || day, '1', 'task', '', 'reported', 'succeeded', at, '', 'r' || day, 'r' || day, -1, true, at, '{}'
from made;
insert into touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at, measured)
select 1, id, 'r' || day, '1', 'output', id, 'p' || day, at, at, true from made;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since)
select 1, 'dataset', id, 'p' || day, id, 'r' || day, '1', 'r' || day, id, 'r' || day, 'ready', 'succeeded', 'reported',
    at, at from made;
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, since, task_id,
    run, ready_task_id, ready_run, ready_since)
select 1, 'dataset', id, 'p' || day, 'ready', 'succeeded', 'reported', at, id, 'r' || day, id, 'r' || day, at from made;
insert into quality (environment, dataset_id, partition, task_id, run, attempt_id, at, report)
select 1, id, 'p' || day, id, 'r' || day, '1', at, '{"said": {}}' from made;
analyze task, dataset, run, attempt, touch, write, partition_state, quality;
"""


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A ledger large enough that a bad plan is a dear one."""
    with module_database.transaction() as connection:
        connection.execute(_FILL)
        yield connection


@pytest.fixture
def connection(filled: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """The ledger as it was filled: what a test changes is undone."""
    with filled.transaction(force_rollback=True):
        yield filled


def _given(**more: Any) -> dict[str, Any]:
    return {"environment": 1, "nodes": [7, 8], "keys": ["p3", "p4"], **more}


def test_a_report_is_read_by_its_partition_alone(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, report.WRITTEN, _given())
    assert all(read[table] <= 4 for table in ("partition_state", "write", "touch", "dataset")), read


def test_checks_are_read_by_their_partition_alone(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, report.CHECKED, _given(times=[None, None], most=10))
    assert (read["quality"], read["dataset"]) == (2, 2)


def test_what_a_run_said_is_withdrawn_by_its_run(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, withdrawal.WITHDRAW, {"environment": 1, "tasks": [7], "runs": ["r3"]})
    assert read["quality"] <= 2


def test_the_last_update_is_the_first_of_an_index(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, update.LATEST, {"environment": 1, "datasets": [7, 8]})
    assert read["write"] <= 4


def test_the_runs_around_a_moment_are_bounded(connection: psycopg.Connection[Any]) -> None:
    for at in ("infinity", datetime(2026, 1, 8, tzinfo=UTC)):
        read = rows_read(connection, update.STARTS, {"environment": 1, "tasks": [7], "at": at, "most": 10})
        assert read["run"] <= 40
        assert read["attempt"] <= 20


def test_a_page_of_updates_reads_little_more_than_it_shows(connection: psycopg.Connection[Any]) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    cursor = {"seen": at, "node": 7, "partition": "p", "task": 7, "run": "r", "attempt": "1"}
    for after in (cursor, dict.fromkeys(cursor)):
        span = {"environment": 1, "datasets": [7], "after": "-infinity", "upto": "infinity", "limit": 10}
        assert rows_read(connection, update_list.PAGE, {**span, **after})["write"] <= 12
