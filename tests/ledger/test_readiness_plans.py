"""What a verdict reads is read by indexes, and no more of it than it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any, LiteralString

import psycopg
import pytest

from dataforge.storage import readiness as storage
from dataforge.storage.database import Database
from dataforge.storage.readiness import Place
from tests.ledger.readiness_rows import ENVIRONMENT, Ledger
from tests.storage.plan import reads_all, steps


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield Ledger(connection)


FILL = """
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'filler ' || n from generate_series(1, 20000) n;
insert into dataset (environment, id, namespace, name, canonical_id)
    select 1, n, 's3', 'filler ' || n, n from generate_series(1, 20000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
    select 1, n, relation, 'dataset', 1 + (n + shift) % 20000, 'observed', '', now(), now()
    from generate_series(1, 20000) n, (values ('consumes'::edge_relation, 3), ('produces', 0)) as k (relation, shift);
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, task_id, run)
    select 1, 'task', n, (date '2026-01-01' + day)::text, 'running', 'running', 'reported', n, day::text
    from generate_series(1, 2000) n, generate_series(1, 30) day;
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, partitions, source)
    select 1, n, day::text, 'task', 'g', n % 2 - 1, 'running', 'reported', 1, '{}', '{}'
    from generate_series(1, 2000) n, generate_series(1, 30) day;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence)
    select 1, 'task', n, (date '2026-01-01' + day)::text, n, day::text, '1', 'g', n, day::text, 'running', 'running',
        'reported'
    from generate_series(1, 2000) n, generate_series(1, 30) day;
insert into progress (environment, source, observed_through)
    select 1, 'source ' || n, now() from generate_series(1, 5000) n;
analyze;
"""
IDS = list(range(1, 51))
PLACES: list[Place] = [("task", task, "2026-01-09") for task in IDS]
HOT: list[tuple[LiteralString, dict[str, Any]]] = [
    (storage.SUBJECTS, {"environment": ENVIRONMENT, "tasks": IDS}),
    (storage.EDGES, {"environment": ENVIRONMENT, "tasks": IDS}),
    (storage.NODES, {"environment": ENVIRONMENT, "tasks": IDS, "datasets": IDS}),
    (storage.PRODUCERS, {"environment": ENVIRONMENT, "datasets": IDS}),
    (storage.STATES, storage.columns(ENVIRONMENT, PLACES)),
    (storage.HISTORY, storage.columns(ENVIRONMENT, PLACES)),
    (storage.PROGRESS, {"environment": ENVIRONMENT, "sources": ["source 1", "source 2"]}),
    (
        storage.RESOLVE,
        {
            "environment": ENVIRONMENT,
            "places": [0, 1],
            "namespaces": ["ns", None],
            "names": ["filler 1", "filler 2"],
        },
    ),
]


def test_every_query_reads_by_index_and_only_what_it_needs(ledger: Ledger) -> None:
    """More questions at once are read alike, until they ask for a good part of a table."""
    ledger.connection.execute(FILL)
    for (query, parameters), questions in product(HOT, (1, 10)):
        asked = {name: each[:questions] if isinstance(each, list) else each for name, each in parameters.items()}
        cursor = psycopg.ClientCursor(ledger.connection)
        row = cursor.execute("explain (analyze, format json) " + query, asked).fetchone()
        assert row is not None
        for node in steps(row[0][0]["Plan"]):
            assert not reads_all(node), json.dumps(node)
            assert node.get("Rows Removed by Filter", 0) <= 20 * questions, json.dumps(node)
