"""The plans of dynamic sets: what is read does not grow with the partitions of those that a set cuts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dataforge.model.reference import node_id
from dataforge.storage import partition_set
from dataforge.storage.database import Database
from tests.storage.plan import rows_read

pytestmark = pytest.mark.xdist_group("partition-set-plans")  # in one process, which makes once what they share

# A hundred sets of 200 keys, half of them registered; each cuts one of two thousand tasks.
_FILL = """
insert into task (environment, id, namespace, name, partitioning)
select 1, n, 'ns', 'task' || n, case when n <= 100 then jsonb_build_object('kind', 'dynamic', 'set', 's' || n)
    else '{"kind": "none"}' end from generate_series(1, 2000) n;
insert into observed_key (environment, set_name, key, node_kind, node_id)
select 1, 's' || n, 'k' || k, 'task', n from generate_series(1, 100) n, generate_series(1, 200) k;
insert into control (environment, scope, subject_id, partition, kind, name, namespace, subject, value, at, said_by,
    ordered_by)
select 1, 'set', n, 'k' || k, 'key', '', '', 's' || n, 'true', now(), decode(repeat('00', 16), 'hex'), 'me'
from generate_series(1, 100) n, generate_series(1, 100) k;
analyze task, observed_key, control;
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


def test_the_keys_of_a_set_are_read_up_to_the_bound(connection: psycopg.Connection[Any]) -> None:
    given = {"environment": 1, "names": ["s7"], "ids": [7], "most": 20}
    read = rows_read(connection, partition_set.HELD, given)
    assert read["observed_key"] <= 25
    assert read["control"] <= 120  # the orders of this set alone


def test_a_page_of_keys_is_read_alone(connection: psycopg.Connection[Any]) -> None:
    given = {"environment": 1, "name": "s7", "id": 7, "after": "k15", "limit": 10}
    read = rows_read(connection, partition_set.PAGE, given)
    assert read["observed_key"] <= 40
    assert read["control"] <= 40


def test_who_is_cut_by_a_set_is_found_by_its_name(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, partition_set.CUT_BY, {"environment": 1, "sets": ["s7"]})
    assert read["task"] <= 2


def test_what_is_shown_is_found_by_its_node(connection: psycopg.Connection[Any]) -> None:
    given = {"environment": 1, "kinds": ["task"], "nodes": [7]}
    assert rows_read(connection, partition_set.OF_NODES, given)["observed_key"] == 200
    read = rows_read(connection, partition_set.CUTS, {"environment": 1, "tasks": [7, 900], "datasets": [7]})
    assert read["task"] <= 2


def test_a_name_stands_for_the_set_in_its_orders(connection: psycopg.Connection[Any]) -> None:
    connection.execute("update control set subject_id = %s where subject = 's7'", [node_id("", "s7")])
    assert len(partition_set.held(connection, 1, ["s7"], 1_000)["s7"]) == 200
