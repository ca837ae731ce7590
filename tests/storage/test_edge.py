"""Observed edges: the same set whatever the order and the batches."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from psycopg import Connection, errors

from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import dataset, edge, task
from dataforge.storage.database import Database
from dataforge.storage.edge import ObservedEdge

START = datetime(2026, 11, 1, tzinfo=UTC)
LOAD, EXTRACT, CHECK = TaskRef("ns", "load"), TaskRef("ns", "extract"), TaskRef("ns", "check")
ORDERS = DatasetRef("s3://lake", "orders")


def prepare(connection: Connection) -> None:
    task.ensure(connection, 1, [LOAD, EXTRACT, CHECK])
    dataset.ensure(connection, 1, [ORDERS])


def seen(minute: int, node: TaskRef | DatasetRef = ORDERS) -> ObservedEdge:
    at = START + timedelta(minutes=minute)
    return ObservedEdge(LOAD.id, "consumes", "task" if isinstance(node, TaskRef) else "dataset", node.id, at, at)


def stored(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select node_kind::text, node_id, first_at, last_at from edge order by node_kind, node_id"
    ).fetchall()


def test_an_edge_is_widened_by_every_event_and_new_only_once(database: Database) -> None:
    with database.transaction() as connection:
        prepare(connection)
        assert edge.upsert_observed(connection, 1, [seen(5), seen(3), seen(4)])
        assert not edge.upsert_observed(connection, 1, [seen(9), seen(1)])
        assert not edge.upsert_observed(connection, 1, [seen(4)])
        assert not edge.upsert_observed(connection, 1, [])
        assert edge.upsert_observed(connection, 1, [seen(4), seen(4, EXTRACT)])
        expected = [("dataset", ORDERS.id, START + timedelta(minutes=1), START + timedelta(minutes=9))]
        assert [row for row in stored(connection) if row[0] == "dataset"] == expected


def test_order_and_batches_of_observations_do_not_matter(database: Database) -> None:
    observations = [seen(minute, node) for minute in range(5) for node in (ORDERS, EXTRACT, CHECK)]
    states = []
    for seed in range(5):
        random = Random(seed)
        random.shuffle(observations)
        cut = random.randrange(len(observations))
        with database.transaction() as connection:
            prepare(connection)
            connection.execute("delete from edge")
            edge.upsert_observed(connection, 1, observations[:cut])
            edge.upsert_observed(connection, 1, observations[cut:])
            states.append(stored(connection))
    assert all(state == states[0] for state in states)


def test_the_latest_list_of_upstream_tasks_replaces_the_one_before(database: Database) -> None:
    later = START + timedelta(hours=1)
    with database.transaction() as connection:
        prepare(connection)
        edge.upsert_observed(connection, 1, [seen(0)])
        assert edge.replace_observed_upstreams(connection, 1, {LOAD.id: (START, {EXTRACT.id})}) == (True, set())
        again = edge.replace_observed_upstreams(connection, 1, {LOAD.id: (later, {CHECK.id}), CHECK.id: None})
        assert again == (True, {LOAD.id})
        assert edge.replace_observed_upstreams(connection, 1, {LOAD.id: (later, {CHECK.id})}) == (False, set())
        rows = stored(connection)
        assert [row for row in rows if row[0] == "task"] == [("task", CHECK.id, later, later)]
        assert [row[1] for row in rows if row[0] == "dataset"] == [ORDERS.id]
        assert edge.replace_observed_upstreams(connection, 1, {LOAD.id: (later, set())}) == (True, {LOAD.id})
        assert [row[0] for row in stored(connection)] == ["dataset"]


def test_no_observation_makes_a_task_its_own_upstream(database: Database) -> None:
    with pytest.raises(errors.CheckViolation), database.transaction() as connection:
        prepare(connection)
        edge.upsert_observed(connection, 1, [seen(0, LOAD)])
