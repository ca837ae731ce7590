"""What a process remembers of tasks, datasets and edges is what it would read, whoever has changed them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.cli.example import load
from dataforge.ingest.replay import replay
from dataforge.ledger import memory
from dataforge.ledger.memory import Nodes
from dataforge.ledger.record import apply
from dataforge.model.event import EdgeFact, Facts
from dataforge.storage import environment as environments
from dataforge.storage import node_change
from dataforge.storage import readiness as storage
from dataforge.storage.database import Connection, Database
from dataforge.storage.readiness import Node
from tests.ledger.test_graph_log import DATASETS, TASKS, _do, _event, facts, manifests, rebuilt
from tests.storage.counted import counted
from tests.storage.plan import rows_of, steps

_KNOWN = """
select 'task', id from task where environment = 1 union select 'dataset', id from dataset where environment = 1
"""
_READS = Facts(edges=(EdgeFact(TASKS[0], "consumes", DATASETS[0]),))


def _known(connection: Connection) -> tuple[set[int], set[Node]]:
    nodes: set[Node] = {(kind, node) for kind, node in connection.execute(_KNOWN)}
    return {node for kind, node in nodes if kind == "task"}, nodes


def _remembered(connection: Connection) -> tuple[Any, ...]:
    tasks, nodes = _known(connection)
    datasets = {node for kind, node in nodes if kind == "dataset"}
    here = Nodes(connection, 1)
    found = here.subjects(tasks), here.edges(tasks), here.nodes(nodes), here.producers(datasets)
    here.remember()
    return found


def _anew(connection: Connection) -> tuple[Any, ...]:
    tasks, nodes = _known(connection)
    datasets = {node for kind, node in nodes if kind == "dataset"}
    written = storage.producers(connection, 1, datasets)
    return (
        storage.subjects(connection, 1, tasks),
        storage.edges(connection, 1, tasks),
        storage.nodes(connection, 1, nodes),
        {dataset: written.get(dataset, []) for dataset in datasets},
    )


def _look_alike(database: Database) -> None:
    with database.snapshot() as connection:
        assert _remembered(connection) == _anew(connection)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(st.lists(st.lists(st.one_of(facts, manifests, rebuilt), min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_is_remembered_is_what_is_there(database: Database, stretches: list[list[Any]]) -> None:
    for stretch in stretches:
        for step in stretch:
            _do(database, step)
        _look_alike(database)


def test_what_a_rebuilt_state_mends_is_not_remembered_as_it_was(database: Database) -> None:
    load(database.url, "dev")
    _look_alike(database)
    with database.transaction() as connection:
        connection.execute("delete from edge where relation = 'produces'")
        connection.execute("update edge set staleness = 'block', required = not required")
        connection.execute("update dataset set canonical_id = id, owner = 'nobody'")
        connection.execute("update task set owner = 'nobody', partitioning = '{\"kind\": \"none\"}'")
    _look_alike(database)
    replay(database, "dev")
    _look_alike(database)


def test_who_sees_an_older_state_is_answered_by_that(database: Database) -> None:
    _do(database, _READS)
    with database.snapshot() as older:
        before = _remembered(older)
        _do(database, Facts(edges=(EdgeFact(TASKS[0], "consumes", DATASETS[1]),)))
        _look_alike(database)
        assert _remembered(older) == _anew(older) == before
    _look_alike(database)


class _Refused(Exception):
    """Ends a transaction without a trace."""


def test_what_was_never_committed_is_remembered_by_nobody(database: Database) -> None:
    _do(database, _READS)
    _look_alike(database)
    with pytest.raises(_Refused), database.transaction() as connection:
        locked = environments.lock(connection, "dev")
        apply(connection, locked.id, [_event(Facts(edges=_more()))], locked.last_part)
        assert _remembered(connection) == _anew(connection)
        assert len(_remembered(connection)[1][TASKS[0].id]) == 3
        raise _Refused
    _look_alike(database)
    _do(database, Facts(edges=_more()[1:]))
    _look_alike(database)


def _more() -> tuple[EdgeFact, ...]:
    return tuple(EdgeFact(TASKS[0], "consumes", each) for each in DATASETS[:3])


@pytest.mark.parametrize("most", [2, 5])
def test_who_is_far_behind_or_remembers_much_forgets_everything(
    database: Database, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(node_change, "MOST_FOLLOWED", most)
    monkeypatch.setattr(memory, "MOST_ROWS", most)
    for dataset in DATASETS:
        _do(database, _READS)
        _look_alike(database)
        for task in TASKS:
            _do(database, Facts(edges=(EdgeFact(task, "produces", dataset),)))
        _look_alike(database)


def test_what_nobody_has_changed_is_not_read_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    _do(database, _READS)
    _look_alike(database)
    _do(database, _READS)  # again, which changes nothing
    with database.snapshot() as connection:
        expected, sent = _anew(connection), counted(monkeypatch)
        assert _remembered(connection) == expected
    assert sent == [_KNOWN, node_change.MOMENT]


_FILL = """
insert into node_change (environment, version, tasks, datasets)
select 1, n / 2, array[n], '{}' from generate_series(1, 20000) n;
analyze;
"""


def test_what_changed_since_a_version_is_read_by_index_and_no_more_of_it(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(_FILL)
        asked = {"environment": 1, "version": 5_000, "most": node_change.MOST_FOLLOWED}
        query = "explain (analyze, format json) " + node_change.SINCE
        row = psycopg.ClientCursor(connection).execute(query, asked).fetchone()
        assert row is not None
        read = [node for node in steps(row[0][0]["Plan"]) if node.get("Relation Name") == "node_change"]
        assert [node.get("Index Name") for node in read] == ["node_change_pkey"]
        assert all(rows_of(node) <= node_change.MOST_FOLLOWED for node in read)
