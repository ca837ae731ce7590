"""The plans of what a declaration asks of others: by index, whatever else is declared."""

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from dataforge.storage import completeness, definition, edge
from dataforge.storage.database import Database
from tests.storage.plan import filled_by, rows_read

_FILL = """
insert into definition_source (environment, source, manifest)
select 1, 'source' || n, '{}' from generate_series(0, 49) n;
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'task' || n from generate_series(1, 5000) n;
insert into task_version (environment, task_id, version, definition, source)
select 1, n, decode(md5(n::text), 'hex'), '{}', 'source' || n % 50 from generate_series(1, 5000) n;
analyze;
update task set declared_by = 'source' || id % 50, version = decode(md5(id::text), 'hex'),
    definition = '{"partitioning": {"kind": "daily"}}';
insert into dataset (environment, id, namespace, name, canonical_id, declared_by, definition)
select 1, n, 's3', 'dataset' || n, n, 'source' || n % 50, '{"partitioning": {"kind": "daily"}}'
from generate_series(1, 5000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source)
select 1, n, 'consumes', 'dataset', 1 + n % 5000, 'declared', 'source' || n % 50 from generate_series(1, 5000) n;
analyze;
"""


@pytest.fixture
def filled(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with filled_by(database, _FILL) as connection:
        yield connection


@pytest.mark.parametrize("query", [definition.TASK_CUTS, definition.DATASET_CUTS])
def test_how_a_few_are_cut_is_read_by_their_ids(filled: psycopg.Connection[Any], query: LiteralString) -> None:
    plain = query.replace("environment = %s", "environment = 1").replace("any(%s)", "any(%(ids)s)")
    read = rows_read(filled, plain.replace("<> %s", "<> %(source)s"), {"ids": [3, 4, 5], "source": "source3"})
    assert sum(read.values()) <= 3


def test_who_uses_a_node_is_read_by_the_node(filled: psycopg.Connection[Any]) -> None:
    given = {"environment": 1, "kind": "dataset", "nodes": [3, 4], "source": "source9"}
    assert sum(rows_read(filled, edge.TO_NODES, given).values()) <= 8


def test_what_a_changed_task_writes_is_read_by_the_task_though_the_session_knew_the_table_when_it_was_small(
    database: Database,
) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(_SMALL)
        connection.execute("vacuum analyze edge, dataset, task")
        for _ in range(10):  # by then a plan is kept
            connection.execute("update task set owner = coalesce(owner, '') || 'a'")
        connection.execute(_LARGE)
        with connection.transaction():
            connection.execute("update task set owner = 'b' where id <= 200")
            assert _edges_read(connection) < 10_000  # of all for each it would be 400,000


_SMALL = """
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'task' || n from generate_series(1, 20) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source)
select 1, n, 'produces', 'dataset', n, 'declared', 'x' from generate_series(1, 20) n;
"""
_LARGE = """
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'task' || n from generate_series(21, 2000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source)
select 1, n, 'produces', 'dataset', n, 'declared', 'x' from generate_series(21, 2000) n;
"""


def _edges_read(connection: psycopg.Connection[Any]) -> int:
    """How many edges this transaction has read."""
    return _rows_read(connection, "edge")


def _rows_read(connection: psycopg.Connection[Any], table: str) -> int:
    query = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = %s"
    return int(connection.execute(query, [table]).fetchone()[0])  # type: ignore[index]  # the table is there


def test_what_edges_lead_to_is_read_by_its_id_though_the_session_added_its_first_edge_to_small_tables(
    database: Database,
) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(_NODES.format(1, 1) + _EDGES.format(1, 1))
        with connection.transaction():
            connection.execute(_NODES.format(2, 2_000) + _EDGES.format(2, 2_000))
            assert _rows_read(connection, "task") < 10_000  # of all for each it would be 4,000,000
            assert _rows_read(connection, "dataset") < 20_000  # each once, and for its foreign key


_NODES = """
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'task' || n from generate_series({0}, {1}) n;
insert into dataset (environment, id, namespace, name, canonical_id)
select 1, n, 's3', 'dataset' || n, n from generate_series({0}, {1}) n;
"""
_EDGES = """
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source)
select 1, n, 'produces', 'dataset', n, 'declared', 'x' from generate_series({}, {}) n;
"""


def test_in_an_environment_that_no_statistics_know_yet_each_look_up_reads_its_own_edges(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(_SMALL + _LARGE)
        connection.execute("vacuum analyze")
        with connection.transaction():
            connection.execute((_SMALL + _LARGE).replace("select 1, n", "select 2, n"))
            connection.execute("update task set owner = 'b' where environment = 2 and id <= 200")
            given = {"environment": 2, "tasks": list(range(1, 201)), "source": "", "nodes": [1], "kind": "dataset"}
            for query in (completeness.DECLARED, edge.ENDS_OF_TASKS, edge.TO_NODES):
                connection.execute(query, given)
            assert _edges_read(connection) < 10_000  # of all for each it would be 400,000


def test_tasks_that_one_statement_changes_are_noted_together(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(_SMALL)
        connection.execute("delete from node_change")
        connection.execute("update task set owner = 'b', observed = '{\"x\": 1}' where id <= 7")
        connection.execute("update task set observed = '{}'")
        noted = connection.execute("select tasks from node_change").fetchall()
    assert noted == [([1, 2, 3, 4, 5, 6, 7],)]
