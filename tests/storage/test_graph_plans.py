"""The plans of following the graph: what is read is what changed, however much there is."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dataforge.storage import edge, environment, graph
from dataforge.storage.database import Database
from tests.storage.plan import filled_by, rows_read

_FILL = """
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'task' || n from generate_series(1, 5000) n;
insert into dataset (environment, id, namespace, name, canonical_id)
select 1, n, 's3', 'dataset' || n, n from generate_series(1, 5000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source)
select 1, n, 'consumes', 'dataset', 1 + n % 5000, 'declared', 'source' from generate_series(1, 5000) n;
insert into graph_log (environment, position, version, change, tasks, nodes, flags)
select 1, 5000 + n, n, 'added', array[n], array[n], array[7] from generate_series(1, 5000) n;
update dataset set canonical_id = 7 where id = 8;
update task set kind = 'step' where id = 9;
update graph_log set version = 5000 where change in ('step', 'name');
analyze;
"""

# The log's end, and how often it was asked for.
_COUNTED = """
create sequence asked;
create or replace function graph_log_end(of_environment smallint) returns bigint language plpgsql stable as $$
begin
    return 10000 + 0 * nextval('asked');
end
$$
"""


@pytest.fixture
def filled(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with filled_by(database, _FILL) as connection:
        yield connection


@pytest.mark.parametrize("query", [graph.CHANGED_EDGES, graph.CHANGED_STEPS, graph.CHANGED_NAMES])
def test_what_became_of_the_graph_is_read_by_its_version(filled: psycopg.Connection[Any], query: str) -> None:
    read = rows_read(filled, query.format(environment=1, after=4_990), {})
    assert 1 <= sum(read.values()) <= 15


def test_the_edges_around_what_stands_otherwise_are_read_by_their_ends(filled: psycopg.Connection[Any]) -> None:
    query = edge.ENDS_AROUND.format(environment=1, tasks="array[9]", datasets="array[8]")
    assert rows_read(filled, query, {}) == {"edge": 2}


def test_where_the_log_ends_is_asked_for_once_however_long_it_is(filled: psycopg.Connection[Any]) -> None:
    filled.execute(_COUNTED)
    environment.advance_graph(filled, 1)
    assert filled.execute("select last_value from asked").fetchone() == (1,)
