"""The plans of freshness: a question reads by index what it needs, whatever the tables hold; a thousand ask as often
as one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, LiteralString, cast

import psycopg
import pytest

from dataforge.ledger.freshness import freshness
from dataforge.model.freshness import FreshnessQuestion
from dataforge.storage import backfill_basis, data_version, freshness_columns
from dataforge.storage import freshness as storage
from dataforge.storage.database import Database
from dataforge.storage.maker import MAKERS
from dataforge.storage.readiness import Node, Place, columns
from tests.storage.counted import counted
from tests.storage.plan import reads_all, rows_of, steps, table_of

pytestmark = pytest.mark.xdist_group("freshness-plans")  # in one process, which makes once what they share

# One dataset without partitions, which 5,000 runs wrote, stands for the worst of them: 1. The others have a day each.
# The tables are analyzed as they grow, or their foreign keys would be checked by scans.
_FILL = """
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'task' || n from generate_series(1, 5000) n;
insert into dataset (environment, id, namespace, name, canonical_id)
select 1, n, 's3', 'dataset' || n, n from generate_series(1, 5000) n;
insert into attempt (environment, task_id, run, attempt_id, kind, platform, said_evidence, said_state, said_at, said_by,
    external_run, group_run, map_index, completed, source)
select 1, task, 'r' || n, '1', 'task', '', 'reported', 'succeeded', now(), '', 'x' || n, 'r' || n, 0, true, '{}'
from (select n, case when n % 2 = 0 then 1 else 1 + n % 5000 end as task from generate_series(1, 10000) n) each;
analyze;
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, attempt_id,
    partitions, started_at, source)
select 1, task_id, run, kind, group_run, map_index, 'succeeded', 'reported', 1, attempt_id, '{}',
    timestamptz '2026-01-01' + substr(run, 2)::int * interval '1 minute', '{}' from attempt;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since)
select 1, 'dataset', task_id, case when task_id = 1 then '' else '2026-01-09' end, task_id, run, '1', group_run,
    task_id, run, 'ready', 'succeeded', 'reported', started_at, started_at from run;
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, since, task_id,
    run, ready_task_id, ready_run, ready_since)
select distinct on (node_id, partition) 1, 'dataset', node_id, partition, 'ready', 'succeeded', 'reported'::evidence,
    since, task_id, run, task_id, run, since
from write order by node_id, partition, started_at desc;
insert into touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at, version,
    measured)
select 1, task_id, run, '1', 'input', 2, '2026-01-09', started_at, started_at, 'v', false from run;
analyze;
"""
_PLACES: list[Place] = [("dataset", 1, ""), *(("dataset", node, "2026-01-09") for node in range(2, 60, 2))]
_RUNS: dict[str, Any] = {
    "environment": 1,
    "tasks": [1, *range(2, 60, 2)],
    "runs": ["r10000", *(f"r{5_000 + node - 1}" for node in range(2, 60, 2))],
    "until": [datetime(2027, 1, 1, tzinfo=UTC)] * 30,
}
_NAMES: dict[str, Any] = {
    "environment": 1,
    "places": [0, 1],
    "namespaces": ["s3", None],
    "names": ["dataset1", "dataset2"],
}


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """A ledger large enough that a bad plan is a dear one."""
    with module_database.transaction() as connection:
        connection.execute(_FILL)
    return module_database


@pytest.mark.parametrize("asked", [1, 10])
@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (storage.RESOLVE, _NAMES),
        (storage.BUILT, columns(1, _PLACES)),
        (storage.STANDING, columns(1, _PLACES)),
        (storage.READS, _RUNS),
        (data_version.SUCCESSES, {**data_version.successes_of(1, _PLACES), "most": 10}),
        (MAKERS, columns(1, _PLACES[1:])),
    ],
    ids=["resolve", "built", "standing", "reads", "successes", "makers"],
)
def test_every_query_reads_by_index_and_only_what_it_needs(
    filled: Database, query: LiteralString, parameters: dict[str, Any], asked: int
) -> None:
    given = {name: each[:asked] if isinstance(each, list) else each for name, each in parameters.items()}
    with filled.transaction() as connection:
        row = psycopg.ClientCursor(connection).execute("explain (analyze, format json) " + query, given).fetchone()
    assert row is not None
    assert row[0][0]["Plan"]["Actual Rows"] > 0
    for node in steps(row[0][0]["Plan"]):
        assert not reads_all(node), json.dumps(node)
        assert rows_of(node) <= 20 * asked, json.dumps(node)


@pytest.mark.parametrize("query", [backfill_basis.STATUSES, freshness_columns.STOOD], ids=["statuses", "stood"])
def test_how_all_keys_of_a_node_stand_is_found_by_the_key_of_the_table(filled: Database, query: LiteralString) -> None:
    asked = {("dataset", node): ["2026-01-08", "2026-01-09"] for node in range(2, 60, 2)}
    given = backfill_basis.of_nodes(1, cast("dict[Node, list[str]]", asked))
    with filled.transaction() as connection:
        row = psycopg.ClientCursor(connection).execute("explain (analyze, format json) " + query, given).fetchone()
    assert row is not None
    found = [step for step in steps(row[0][0]["Plan"]) if table_of(step) == "partition_state" and step["Actual Rows"]]
    (read,) = found  # all lie in one part
    assert (read["Index Name"], "partition" in read["Index Cond"]) == (f"{read['Relation Name']}_pkey", True)
    assert 0 < rows_of(read) <= len(asked)


def test_a_thousand_questions_take_as_many_statements_as_one(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = counted(monkeypatch)
    counts = []
    for many in (1, 1_000):
        questions = [FreshnessQuestion(name=f"dataset{2 + n}", partition="2026-01-09") for n in range(many)]
        sent.clear()
        items = freshness(filled, "dev", questions, datetime(2027, 1, 1, tzinfo=UTC)).items
        assert len(items) == many
        counts.append(len(sent))
    assert counts[1] <= counts[0] <= 13  # what the first has read is remembered
