"""What is left out as unchanged is not stale, and what is left is told of as if all had been looked at."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import unchanged
from dataforge.ledger.declare import declare
from dataforge.ledger.staleness import Bounds, staleness
from dataforge.ledger.unchanged import compared, suspected
from dataforge.model import definition
from dataforge.model.reference import node_id
from dataforge.storage import environment as environments
from dataforge.storage import unchanged as storage
from dataforge.storage.database import Connection, Database
from dataforge.storage.readiness import Node, Place
from tests.ledger.test_freshness_twin import (
    DAYS,
    NOW,
    TASKS,
    Execution,
    World,
    _events,
    _new_environment,
    histories,
    worlds,
)
from tests.storage.plan import reads_all, rows_of, steps, table_of

PLACES: list[Place] = [
    *(("dataset", node_id("lake", f"d{task}"), day) for task in range(TASKS) for day in DAYS),
    *(("task", node_id("ns", f"t{task}"), day) for task in range(TASKS) for day in DAYS),
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    world=worlds(),
    history=histories(),
    seed=st.integers(0, 2**32),
    levels=st.integers(0, 3),
    most=st.integers(0, 4),
    plain=st.booleans(),
)
def test_nothing_that_is_stale_is_left_out(
    module_database: Database,
    world: World,
    history: list[Execution],
    seed: int,
    levels: int,
    most: int,
    plain: bool,
) -> None:
    if plain:
        world = World([[each._replace(window=False) for each in edges] for edges in world.edges], world.policies)
    environment = _new_environment(module_database, world)
    for run in history:
        assert record_native(module_database, environment, _events(world, history, run), NOTHING).rejected == []
    random, bounds = Random(seed), Bounds(levels=levels, places=most, partly=False, inputs=10_000)
    with module_database.transaction() as connection:
        here = environments.find(connection, environment).id
        made = _made(connection, here)
        for many in range(1, len(made) + 1):
            _look_alike(connection, here, set(random.sample(made, many)), bounds, NOW)


def _made(connection: Connection, environment: int) -> list[Place]:
    found = connection.execute(
        "select node_kind, node_id, partition from partition_state where environment = %s and ready_run is not null",
        [environment],
    )
    return sorted({(kind, node, key) for kind, node, key in found} & set(PLACES))


def _look_alike(connection: Connection, environment: int, asked: set[Place], bounds: Bounds, now: datetime) -> None:
    whole = staleness(connection, environment, asked, now, bounds)
    suspicion = suspected(connection, environment, asked, now, bounds)
    assert suspicion.whole <= suspicion.suspects <= asked
    known = compared(connection, environment, suspicion, asked, now)
    found = staleness(connection, environment, suspicion.suspects, now, suspicion.bounds, known)
    for place in asked:
        assert (found.stale(place) if place in suspicion.suspects else ()) == whole.stale(place)


DAY = DAYS[0]


def _said(name: str, state: str, at: str, **more: Any) -> dict[str, Any]:
    task = {"namespace": "ns", "name": name}
    return {"task": task, "run": f"{name} {DAY}", "partition": DAY, "state": state, "time": f"{DAY}T{at}Z", **more}


def _data(name: str, version: str) -> dict[str, Any]:
    return {"namespace": "lake", "name": name, "partition": DAY, "version": version}


def test_who_read_another_version_than_there_was_is_suspected(database: Database) -> None:
    events = [
        _said("made", "succeeded", "01:00:00", run="1", outputs=[_data("orders", "v1")]),
        _said("made", "succeeded", "02:00:00", run="2", outputs=[_data("orders", "v2")]),
        _said("read", "running", "03:00:00", inputs=[_data("orders", "v1")]),
        _said("read", "succeeded", "04:00:00"),
    ]
    assert record_native(database, "dev", events, NOTHING).rejected == []
    asked: set[Place] = {("task", node_id("ns", "read"), DAY)}
    with database.transaction() as connection:
        assert (
            suspected(connection, 1, asked, NOW, Bounds(levels=1, places=10, partly=False, inputs=10_000)).whole
            == asked
        )
        _look_alike(connection, 1, asked, Bounds(levels=1, places=10, partly=False, inputs=10_000), NOW)


@pytest.mark.parametrize("changed", range(6))
def test_what_lies_beyond_the_most_that_is_told_is_looked_at(
    database: Database, monkeypatch: pytest.MonkeyPatch, changed: int
) -> None:
    """The last of six that are read is stale itself, and of only three is told at once."""
    monkeypatch.setattr(unchanged, "MOST_ABOVE", 2)
    names = [f"middle{number}" for number in range(6)]
    tasks = [
        {"namespace": "ns", "name": "last", "consumes": [{"task": {"namespace": "ns", "name": name}} for name in names]}
    ]
    tasks += [
        {"namespace": "ns", "name": name, "consumes": [{"task": {"namespace": "ns", "name": f"first{number}"}}]}
        for number, name in enumerate(names)
    ]
    partitioning = {"kind": "daily", "start": "2026-01-01"}
    manifest = {"source": "s", "tasks": [{**task, "partitioning": partitioning} for task in tasks]}
    declare(database, "dev", definition.parse(manifest))
    events = [_said(f"first{number}", "succeeded", "01:00:00") for number in range(6)]
    for hour, each in [*((2, name) for name in names), (3, "last")]:
        events += [_said(each, "running", f"0{hour}:10:00"), _said(each, "succeeded", f"0{hour}:20:00")]
    events.append(_said(f"first{changed}", "succeeded", "05:00:00", attempt=2))
    assert record_native(database, "dev", events, NOTHING).rejected == []
    bounds = Bounds(levels=2, places=100, partly=False, inputs=10_000)
    with database.transaction() as connection:
        asked: set[Place] = {("task", node_id("ns", "last"), DAY)}
        assert staleness(connection, 1, asked, NOW, bounds).stale(min(asked))
        _look_alike(connection, 1, asked, bounds, NOW)


FILL = """
insert into task (environment, id, namespace, name, partitioning, partitioning_origin)
    select 1, n, 'ns', 'task ' || n, '{"kind": "daily"}', 'observed' from generate_series(1, 20000) n;
insert into dataset (environment, id, namespace, name, canonical_id)
    select 1, n, 's3', 'dataset ' || n, n from generate_series(1, 20000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
    select 1, n, relation, kind, 1 + (n + shift) % 20000, 'observed', '', now(), now()
    from generate_series(1, 20000) n, (values ('consumes'::edge_relation, 'dataset'::node_kind, 3),
        ('consumes', 'task', 1), ('produces', 'dataset', 0)) as k (relation, kind, shift);
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, task_id, run,
    ready_task_id, ready_run, ready_since)
    select 1, kind, n, (date '2026-01-01' + day)::text, 'ready', 'succeeded', 'reported', n, day::text, n, day::text,
        timestamptz '2026-01-02' + day * interval '1 day'
    from generate_series(1, 2000) n, generate_series(1, 20) day, (values ('task'::node_kind), ('dataset')) as k (kind);
analyze;
"""
AT = datetime.fromisoformat("2026-01-10T00:00:00Z")
ASKED: list[tuple[Node, str]] = [(("task", task), "2026-01-09") for task in range(1, 51)]


@pytest.mark.parametrize("questions", [1, 10])
def test_what_was_made_is_read_by_index_and_no_more_of_it_than_is_asked_for(database: Database, questions: int) -> None:
    with database.transaction() as connection:
        connection.execute(FILL)
        asked = storage.columns(1, ASKED[:questions], {"2026-01-09": AT})
        query = "explain (analyze, format json) " + storage.MADE
        row = psycopg.ClientCursor(connection).execute(query, asked).fetchone()
        assert row is not None
        for node in steps(row[0][0]["Plan"]):
            assert not reads_all(node), node
            assert table_of(node) != "partition_state" or rows_of(node) <= questions, node
