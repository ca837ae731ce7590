"""The plans of streams: a watermark that moves on reads and writes its own windows, however long the stream has run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from dataforge.storage import stream
from dataforge.storage.database import Database
from tests.storage.plan import rows_read

pytestmark = pytest.mark.xdist_group("stream-plans")  # in one process, which makes once what they share

# Ten streams that told of a watermark each minute for a day, and what each has made ready.
_FILL = """
insert into task (environment, id, namespace, name, seen)
select 1, n, 'ns', 'task' || n, true from generate_series(1, 1000) n;
insert into watermark (environment, task_id, dataset_id, at, said_at, said_by, run)
select 1, n, 0, timestamptz '2026-11-05 00:00+00' + m * interval '1 minute',
    timestamptz '2026-11-05 00:01+00' + m * interval '1 minute', decode(md5(n || '/' || m), 'hex'), 'r'
from generate_series(1, 10) n, generate_series(0, 1439) m;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since)
select 1, 'task', n, 'p' || m, n, 'r', '~watermark', 'r/~watermark', n, 'r', 'ready', 'succeeded', 'reported',
    now(), now() from generate_series(1, 10) n, generate_series(0, 1439) m;
insert into late (environment, task_id, dataset_id, partition, said_at, said_by, rows)
select 1, n, 0, 'p' || m, now(), decode(md5(n || '/' || m), 'hex'), 1
from generate_series(1, 10) n, generate_series(0, 1439) m;
analyze task, watermark, write, late;
"""
_END = datetime(2026, 11, 5, 23, 58, tzinfo=UTC)


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


def test_a_step_forward_reads_what_was_told_above_it(connection: psycopg.Connection[Any]) -> None:
    given = {"environment": 1, "task": 7, "datasets": [0], "above": _END}
    assert rows_read(connection, stream.TOLD, given) == {"watermark": 1}
    known = {"environment": 1, "task": 7, "datasets": [0], "said_at": _END + timedelta(minutes=5), "new": [b"\0" * 16]}
    assert rows_read(connection, stream.BEFORE, known)["watermark"] <= 2


def test_tasks_that_are_no_streams_cost_a_look_each(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, stream.STREAMING, {"environment": 1, "tasks": [7, *range(100, 200)]})
    assert read.get("watermark", 0) <= 10
    assert read["task"] <= 202


def test_what_came_late_is_found_by_its_partition(connection: psycopg.Connection[Any]) -> None:
    given = {"environment": 1, "task": 7, "datasets": [0], "partitions": ["p3", "p4"]}
    assert rows_read(connection, stream.LATE, given) == {"late": 2}
    stale = {"environment": 1, "kinds": ["task"], "nodes": [7], "partitions": ["p3"]}
    read = rows_read(connection, stream.LATE_ROWS, stale)
    assert all(rows <= 10 for rows in read.values()), read
