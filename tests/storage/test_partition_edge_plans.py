"""The plans of partition edges: what is read follows from the places asked for, not from how many runs there were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dataforge.storage import partition_edge
from dataforge.storage.database import Database
from tests.storage.plan import rows_read
from tests.storage.test_condition_plans import _FILL

pytestmark = pytest.mark.xdist_group("partition-edge-plans")  # in one process, which makes once what they share

# Each run for a day of a task, which writes that day of a dataset, also reads the same day of its neighbour's.
_MORE = """
insert into touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at, measured)
select environment, task_id, run, attempt_id, 'input', dataset_id % 100 + 1, partition, first_at, last_at, false
from touch;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since)
select environment, 'task', task_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since from write;
analyze touch, write;
"""
_GIVEN: dict[str, Any] = {"environment": 1, "nodes": [7, 8], "partitions": ["p3", "p4"], "most": 50}


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A ledger large enough that a bad plan is a dear one."""
    with module_database.transaction() as connection:
        connection.execute(_FILL)
        connection.execute(_MORE)
        yield connection


@pytest.fixture
def connection(filled: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """The ledger as it was filled: what a test changes is undone."""
    with filled.transaction(force_rollback=True):
        yield filled


@pytest.mark.parametrize("written", [False, True])
def test_edges_are_read_from_either_end_by_their_place(connection: psycopg.Connection[Any], written: bool) -> None:
    for query in (partition_edge.OF_TASKS, partition_edge.OF_DATASETS):
        read = rows_read(connection, query, {**_GIVEN, "written": written})
        assert all(rows <= 10 for rows in read.values()), read


def test_an_edge_costs_an_entry_of_the_index_beside_its_touch(connection: psycopg.Connection[Any]) -> None:
    parts = "select inhrelid::regclass::text from pg_inherits where inhparent = 'touch_by_place'::regclass"
    indexes = [row[0] for row in connection.execute(parts)]
    for index in indexes:
        connection.execute(f"reindex index {index}".encode())
    size = "select sum(pg_relation_size(index::regclass)) from unnest(%s::text[]) as each (index)"
    row = connection.execute(f"select ({size}) / count(*) from touch".encode(), [indexes]).fetchone()
    assert row is not None
    assert 0 < row[0] <= 48
