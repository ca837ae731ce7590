"""The plans of the feed of changes: a page reads a range of an index, also in the midst of one large transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dataforge.model.listing import MOST_EXAMINED
from dataforge.storage import change, newest
from dataforge.storage.database import Database
from tests.storage.plan import rows_read

pytestmark = pytest.mark.xdist_group("change-plans")  # in one process, which makes once what they share

_FILL = """
insert into task (environment, id, namespace, name, seen)
select 1, n, 'ns', 'task' || n, true from generate_series(1, 500) n;
insert into dataset (environment, id, namespace, name, canonical_id)
select 1, n, 'ns', 'dataset' || n, n from generate_series(1, 500) n;
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, partitions, source)
select 1, 1 + n % 500, 'r' || n, 'task', 'r' || n, -1, 'succeeded', 'reported', 1, '{}', '{}'
from generate_series(1, 30000) n;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run,
    producer_task_id, producer_run, status, run_state, evidence)
select 1, 'dataset', 1 + n % 500, 'p' || n, 1 + n % 500, 'r' || n, '1', 'r' || n, 1 + n % 500, 'r' || n, 'ready',
    'succeeded', 'reported'
from generate_series(1, 30000) n;
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, task_id, run,
    ready_task_id, ready_run)
select 1, kind::node_kind, 1 + n % 500, 'p' || n, 'ready', 'succeeded', 'reported', 1 + n % 500, 'r' || n,
    1 + n % 500, 'r' || n
from generate_series(1, 30000) n, unnest(array['task', 'dataset']) kind;
insert into partition_cleared (environment, node_kind, node_id, partition)
select 1, 'task', 1 + n % 500, 'p' || n from generate_series(1, 30000) n;
"""
_PAGE = {"environment": 1, "after_kind": "task", "after_node": -(2**63), "after": "", "kind": None}


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def connection(module_database: Database, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """A ledger of which one transaction has changed everything."""
    with module_database.transaction() as connection:
        if connection.execute("select from task limit 1").fetchone() is None:  # the first in this process, of either
            connection.execute(_FILL)
        if request.param == "analyzed":
            connection.execute("analyze")
    with module_database.transaction() as connection:
        connection.execute(change.IN_ORDER)
        yield connection


def test_a_page_reads_little_more_than_it_shows(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("select min(changed_by)::text from partition_state").fetchone()
    assert row is not None
    midst = {"transaction": row[0], "after_kind": "task", "after_node": 250, "after": "p10249"}
    for place in ({"transaction": "0"}, midst, {**midst, "after_kind": "dataset"}):
        read = rows_read(connection, change.MATCHING, {**_PAGE, **place, "limit": 100, "most": 101})
        assert 101 <= read["partition_state"] <= 3 * 101  # its own, and the state of each that was cleared
        assert read.get("partition_cleared", 0) <= 101


def test_a_page_of_one_kind_stops_where_it_has_read_enough(connection: psycopg.Connection[Any]) -> None:
    given = {**_PAGE, "transaction": "0", "kind": "dataset", "limit": 100, "most": MOST_EXAMINED}
    read = rows_read(connection, change.MATCHING, given)
    assert read["partition_state"] <= 2 * MOST_EXAMINED
    assert read["partition_cleared"] <= MOST_EXAMINED


def test_the_last_change_is_looked_up(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, change.LAST, {"environment": 1})
    assert read == {"partition_state": 1, "partition_cleared": 1}


def test_the_latest_states_read_no_others(connection: psycopg.Connection[Any]) -> None:
    given = {"environment": 1, "ids": [*range(1, 51)], "each": 5, "statuses": []}
    assert rows_read(connection, change.LATEST, given)["partition_state"] <= 50 * 5


def test_states_are_looked_up_with_all_they_show(connection: psycopg.Connection[Any]) -> None:
    nodes = [1 + n % 500 for n in range(1, 101)]
    partitions = [f"p{n}" for n in range(1, 101)]
    for kind in ("task", "dataset"):
        given = {"environment": 1, "kinds": [kind] * 100, "nodes": nodes, "partitions": partitions}
        read = rows_read(connection, change.LOAD, given)
        assert read["partition_state"] <= 100
        assert read["run"] <= 2 * 100
        assert read.get("write", 0) <= 100


def test_the_newest_changes_are_read_from_the_end_of_a_span(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("select max(changed_by)::text from partition_state").fetchone()
    assert row is not None
    end = {"before": row[0], "before_kind": "dataset", "before_node": 250, "before_key": "p10249"}
    begin = {"after": "0", "after_kind": "task", "after_node": -(2**63), "after_key": ""}
    given = {"environment": 1, "ids": [*range(1, 11)], **begin, **end, "limit": 100, "most": 5_000}
    read = rows_read(connection, newest.NEWEST, given)
    assert 5_000 <= read["partition_state"] <= 2 * 5_000
    assert read.get("partition_cleared", 0) <= 5_000
