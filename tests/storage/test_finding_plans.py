"""The plans of findings: a page reads by index what it needs, whatever the tables hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest

from dataforge.storage import (
    above,
    consequence,
    finding,
    finding_cycle,
    finding_edge,
    finding_source,
    made,
    quality,
    quarantine_order,
)
from dataforge.storage.database import Database
from dataforge.storage.finding import RunPlace
from dataforge.storage.quality import Reign
from dataforge.storage.readiness import Place, columns
from tests.storage.plan import reads_all, steps
from tests.storage.test_freshness_plans import _FILL

pytestmark = pytest.mark.xdist_group("finding-plans")  # in one process, which makes once what they share

_EDGES = """
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
select 1, n, relation::edge_relation, 'dataset', n, 'observed', '', now(), now()
from generate_series(1, 5000) n, unnest(array['consumes', 'produces']) relation;
insert into progress (environment, source, observed_through) select 1, 's' || n, now() from generate_series(1, 5000) n;
insert into progress (environment, source, observed_through) values (1, 'ns', '2026-01-07 22:40+00');
insert into task_version (environment, task_id, version, definition, source)
select 1, n, decode(md5(n::text), 'hex'), '{}', 'test' from generate_series(1, 5000) n;
analyze edge, progress, task_version;
insert into failed_check (environment, dataset_id, partition, task_id, run, attempt_id, own, at, checks, number,
    version)
select 1, node_id, partition, task_id, run, '1', n % 2 = 0, timestamptz '2026-01-09', 'unique', 1, ''
from (select *, row_number() over () as n from write) w;
insert into quality (environment, dataset_id, partition, task_id, run, attempt_id, at, report)
select 1, node_id, partition, task_id, run, '1', timestamptz '2026-01-09', '{}' from write;
insert into quarantine_order (environment, scope, subject_id, partition, at, said_by, namespace, subject, holds,
    ordered_by)
select distinct 1, 'dataset', node_id, partition, timestamptz '2026-01-01' + day * interval '1 day',
    decode(md5('x'), 'hex'), 's3', 'd' || node_id, day % 2 = 0, 'anna' from write, generate_series(1, 9) day;
analyze failed_check, quality, quarantine_order;
"""
_SINCE = datetime(2026, 1, 2, tzinfo=UTC)
_UNTIL = datetime(2026, 1, 7, tzinfo=UTC)
_FAILED = datetime(2026, 1, 9, tzinfo=UTC)  # when as many checks of every dataset failed as it was written
_TASKS = list(range(2, 22))
_NAMED: list[Place] = [("dataset", 1, ""), *(("dataset", node, "2026-01-09") for node in range(2, 21))]
_PLACES: list[tuple[Place, datetime]] = [(place, _UNTIL) for place in _NAMED]
_KEYS = columns(1, _NAMED)
_RUNS: dict[str, Any] = {"environment": 1, "tasks": _TASKS, "runs": [f"r{5_000 + task - 1}" for task in _TASKS]}


_REIGNS = [
    Reign(dataset_id=task, partition="2026-01-09", run=(task, run), version=None, begun=_SINCE, until=_FAILED)
    for task, run in zip(_TASKS, _RUNS["runs"], strict=True)
]


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """A ledger large enough that a bad plan is a dear one."""
    with module_database.transaction() as connection:
        connection.execute(_FILL)
        connection.execute(_EDGES)
    return module_database


QUERIES: dict[str, tuple[LiteralString, dict[str, Any], int]] = {
    "stretch": (finding.STRETCH, finding.stretch_of(1, _SINCE, RunPlace(_UNTIL), 2), 2),
    "started": (
        finding.STARTED,
        {"environment": 1, "tasks": _TASKS, "froms": [_SINCE] * 20, "untils": [_UNTIL] * 20, "most": 3},
        20 * 3,
    ),
    "touched": (finding.TOUCHED, {**_RUNS, "attempts": ["1"] * 20}, 20),
    "made": (made.MADE, made.made_of(1, _PLACES), 20 * 50),
    "orders about quarantine": (quarantine_order.STOOD, quarantine_order.stood_of(1, _PLACES), 20),
    "what checks refused": (quality.REFUSED, quality.refused_of(1, _REIGNS), 20),
    "who looked": (quality.LOOKED, {**_RUNS, "nodes": _TASKS, "partitions": ["2026-01-09"] * 20}, 20),
    "earlier keys": (made.EARLIER_KEYS, {**_KEYS, "times": [_UNTIL] * 20}, 20 * 20),
    "first starts": (made.FIRST_STARTS, {"environment": 1, "tasks": _TASKS}, 20),
    "outputs": (consequence.OUTPUTS, _RUNS, 20 * 3),
    "consumers": (
        consequence.CONSUMERS,
        {"environment": 1, "kinds": ["dataset"] * 20, "nodes": _TASKS},
        20 * 3,
    ),
    "tasks": (finding_edge.DECLARED_TASKS, {"environment": 1, "from": 100, "most": 2}, 2),
    "edges": (finding_edge.EDGES, {"environment": 1, "tasks": _TASKS}, 20 * 6),
    "above": (above.ABOVE, {"environment": 1, "tasks": _TASKS}, 20 * 6),
    "loops": (finding_cycle.EDGES, {"environment": 1, "tasks": _TASKS}, 20 * 6),
    "lagging": (finding_cycle.LAGGING, {"environment": 1, "tasks": _TASKS, "datasets": _TASKS}, 20 * 50),
    "telling": (finding_edge.TELLING, {"environment": 1, "tasks": _TASKS, "since": [_SINCE] * 20}, 20 * 50),
    "succeeded": (finding_edge.SUCCEEDED, {"environment": 1, "tasks": [1], "since": [_SINCE]}, 2 * 50),
    "sources": (finding_source.SOURCES, {"environment": 1, "begin": "s2", "most": 2}, 2),
    "paces": (
        finding_source.PACES,
        {"environment": 1, "sources": ["ns"], "froms": [_SINCE], "tasks": 2, "runs": 5},
        2 * 5,
    ),
}


_FIND_NOTHING = ("earlier keys", "above", "lagging")  # here every task reads what it writes, for its own partition


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_reads_by_index_and_only_what_it_needs(filled: Database, name: str) -> None:
    query, given, most = QUERIES[name]
    with filled.transaction() as connection:
        row = psycopg.ClientCursor(connection).execute("explain (analyze, format json) " + query, given).fetchone()
    assert row is not None
    assert name in _FIND_NOTHING or row[0][0]["Plan"]["Actual Rows"] > 0
    for node in steps(row[0][0]["Plan"]):
        assert not reads_all(node), json.dumps(node)
        read = node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        assert read <= 2 * most, json.dumps(node)
