"""What the paths that are walked all day read, of a hundredth of all tasks: by an index, and no more than they need.

Whatever statement a path executes is looked at, so that a new one is held to the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from dataforge.dispatch import backfill as backfills
from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.dispatch.announce import announce
from dataforge.dispatch.release import tend
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import backfill_list, catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import readiness, verdict
from dataforge.model import definition
from dataforge.model.backfill import Backfilling, Cap, Target
from dataforge.model.claim import Claiming, Outcome
from dataforge.model.filter import PartitionFilter, RunFilter
from dataforge.model.question import Named
from dataforge.storage.database import Database
from tests.storage.executed import Scan, executed

pytestmark = pytest.mark.xdist_group("hot-paths")  # in one process, which fills its database once

TASKS, DAYS, UPSTREAMS = 1_200, 50, 20
FIRST = datetime(2026, 7, 1, tzinfo=UTC)
NOW = FIRST + timedelta(days=DAYS + 1, hours=8)
DAY, NEXT = f"{FIRST + timedelta(days=DAYS - 1):%Y-%m-%d}", f"{FIRST + timedelta(days=DAYS):%Y-%m-%d}"
# What grows with time, by the column that its rows can be spread by over several machines.
SPREAD = {
    "attempt": "task_id",
    "touch": "task_id",
    "run": "task_id",
    "outcome": "task_id",
    "mark": "task_id",
    "shard_chunk": "task_id",
    "write": "node_id",
    "partition_state": "node_id",
    "partition_cleared": "node_id",
    "quality": "dataset_id",
    "failed_check": "dataset_id",
    "event": "id",
    "event_body": "number",
}
SCALING = Path(__file__).parents[2] / "docs" / "scaling.md"

FILL = """
create temp table told on commit drop as
    select n as number, day, (timestamptz '2026-07-01' + day * interval '1 day')::date::text as key,
        timestamptz '2026-07-01' + day * interval '1 day' + interval '25 hours' as at
    from generate_series(0, {tasks} - 1) n, generate_series(0, {days} - 1) day;
insert into attempt (environment, task_id, run, attempt_id, kind, platform, said_evidence, said_state, said_at, said_by,
        external_run, group_run, map_index, number, completed, started_at, ended_at, partition, source, state, evidence,
        ordinal, partitions, parent_task_id, parent_run, root_task_id, root_run)
    select 1, t.id, key, '1', 'task', 'airflow', 'reported', 'succeeded', at, repeat('x', 16)::bytea,
        t.name || key, key, -1, 1, true, at, at, key, '{{}}', 'succeeded', 'reported', 1, array[key],
        t.id, 'dag' || t.name || key, t.id, 'dag' || t.name || key
    from told join task t on t.environment = 1 and t.name = 'task' || told.number;
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, attempt_id,
        partitions, started_at, ended_at, source)
    select 1, t.id, key, 'task', key, -1, 'succeeded', 'reported', 1, '1', array[key], at, at, '{{}}'
    from told join task t on t.environment = 1 and t.name = 'task' || told.number;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
        producer_run, status, run_state, evidence, started_at, since)
    select 1, k.kind, case k.kind when 'task' then t.id else d.id end, key, t.id, key, '1', key, t.id, key, 'ready',
        'succeeded', 'reported', at, at
    from told join task t on t.environment = 1 and t.name = 'task' || told.number
    join dataset d on d.environment = 1 and d.name = 'table' || told.number
    cross join (values ('task'::node_kind), ('dataset')) as k (kind);
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, since, task_id,
        run, ready_task_id, ready_run, ready_since)
    select environment, node_kind, node_id, partition, status, run_state, evidence, since, task_id, run, task_id, run,
        since
    from write;
insert into touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at, measured)
    select environment, task_id, run, '1', 'output', node_id, partition, since, since, false from write
    where node_kind = 'dataset';
insert into outcome (environment, task_id, group_run, incarnation, state, at, said_by, parent_task_id, parent_run,
        source)
    select environment, task_id, run, said_at, 'succeeded', said_at, said_by, task_id, run, '{{}}' from attempt
    where task_id % 2 = 0;
insert into quality (environment, dataset_id, partition, task_id, run, attempt_id, at, report)
    select environment, node_id, partition, task_id, run, attempt_id, since, '{{"said": {{}}}}' from write
    where node_kind = 'dataset' and task_id % 2 = 0;
insert into failed_check (environment, dataset_id, partition, task_id, run, attempt_id, own, at, checks, number,
        version)
    select environment, node_id, partition, task_id, run, attempt_id, true, since, 'rows', 1, '' from write
    where node_kind = 'dataset' and task_id % 4 = 0;
insert into task (environment, id, namespace, name) select 1, n, 'other', 'task' || n from generate_series(1, 20000) n;
insert into dataset (environment, id, namespace, name, canonical_id)
    select 1, n, 'other', 'table' || n, n from generate_series(1, 20000) n;
delete from outbox;
"""


def _name(number: int) -> str:
    return f"task{number}"


def _manifest() -> dict[str, Any]:
    """Each task reads what twenty before it write, one group after the other."""
    daily = {"kind": "daily", "start": "2026-01-01"}

    def dataset(number: int) -> dict[str, str]:
        return {"namespace": "lake", "name": f"table{number}"}

    def upstreams(number: int) -> list[dict[str, Any]]:
        first = (number // UPSTREAMS - 1) * UPSTREAMS
        return [{"dataset": dataset(each)} for each in range(first, first + UPSTREAMS)] if first >= 0 else []

    tasks = [
        {
            "namespace": "ns",
            "name": _name(number),
            "partitioning": daily,
            "consumes": upstreams(number),
            "produces": [dataset(number)],
        }
        for number in range(TASKS)
    ]
    return {"source": "s", "tasks": tasks, "datasets": [{**dataset(n), "partitioning": daily} for n in range(TASKS)]}


@pytest.fixture(scope="module")
def platform(module_database: Database) -> Database:
    declare(module_database, "dev", definition.parse(_manifest()), now=FIRST)
    with module_database.transaction() as connection:
        for statement in FILL.format(tasks=TASKS, days=DAYS).split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())
    record_native(module_database, "dev", _native(range(40), DAY, "running"), NOTHING)
    _backfill(module_database)
    with module_database.transaction() as connection:
        connection.execute("analyze")
    return module_database


def _backfill(database: Database) -> None:
    """All of the next day, planned; nothing of it is released yet."""
    targets = tuple(Target(namespace="ns", name=_name(number), partitions=(NEXT,)) for number in range(UPSTREAMS))
    wanted = Backfilling(targets=targets, direction="downstream", caps=(Cap("all", 10),), reason="all of a day")
    assert backfills.begin(database, "dev", wanted, NOW).planned == TASKS


def _stepped(database: Database) -> None:
    """Two looks of the worker, and what people see of it."""
    for seconds in (1, 2):
        tend(database, "dev", NOW + timedelta(seconds=seconds))
    [found] = backfill_list.backfills(database, "dev").items
    backfill_list.items(database, "dev", UUID(found.id))


def _native(numbers: range, day: str, state: str) -> list[bytes]:
    at = (NOW - timedelta(hours=2)).isoformat()
    return [
        json.dumps(
            {
                "time": at,
                "task": {"namespace": "ns", "name": _name(number)},
                "run": day,
                "attempt": 2,
                "partition": day,
                "state": state,
                "outputs": [{"namespace": "lake", "name": f"table{number}", "partition": day}],
            }
        ).encode()
        for number in numbers
    ]


def _openlineage() -> list[bytes]:
    captured = Path(__file__).parents[2] / "examples" / "captures" / "airflow" / "events.jsonl"
    return captured.read_bytes().splitlines()[:50]


def _claims(database: Database) -> None:
    wanted = Claiming(name=_name(7), namespace="ns", partition=NEXT, worker="w", lease_seconds=600)
    granted = dispatch.claim(database, "dev", wanted, NOW)
    leases.beat(database, "dev", UUID(granted.claim), 600, NOW)
    leases.end(database, "dev", UUID(granted.claim), "completed", Outcome(), NOW + timedelta(seconds=9))


def _announced(database: Database) -> None:
    record_native(database, "dev", _native(range(100, 120), NEXT, "succeeded"), NOTHING)
    while announce(database, "dev", NOW):
        pass


ASKED = [Named(_name(number), "ns", NEXT) for number in range(600, 700)]
# The most rows that one statement reads of one table that grows, and of what is declared.
PATHS: dict[str, tuple[Callable[[Database], object], int]] = {
    "a batch of events": (
        lambda db: record_native(db, "dev", _native(range(200, 400), NEXT, "succeeded"), NOTHING),
        4_500,
    ),
    "an event": (lambda db: record_native(db, "dev", _native(range(9, 10), NEXT, "running"), NOTHING), 30),
    "what a run was told of before": (
        lambda db: record_native(db, "dev", _native(range(20), DAY, "succeeded"), NOTHING),
        100,
    ),
    "events of OpenLineage": (lambda db: record_openlineage(db, "dev", _openlineage(), NOTHING), 400),
    "a verdict": (lambda db: verdict(db, "dev", ASKED[0], NOW), 600),
    "a hundred verdicts": (lambda db: readiness(db, "dev", ASKED, NOW), 6_000),
    "a claim, extended and completed": (_claims, 60),
    "what is announced": (_announced, 900),
    "two steps of a backfill": (_stepped, 1_300),
    "a page of runs": (lambda db: catalog.runs(db, "dev", RunFilter(limit=50)), 120),
    "a page of a task's runs": (
        lambda db: catalog.runs(db, "dev", RunFilter(namespace="ns", name=_name(3), limit=50)),
        120,
    ),
    "a page of partitions": (
        lambda db: catalog.partitions(db, "dev", PartitionFilter(namespace="ns", name=_name(3), limit=50), NOW),
        200,
    ),
}


@pytest.fixture(scope="module", params=PATHS)
def walked(request: pytest.FixtureRequest, platform: Database) -> tuple[list[Scan], int]:
    path, most = PATHS[request.param]
    with platform.transaction() as connection:
        connection.execute("delete from outbox")
    with pytest.MonkeyPatch.context() as patched, executed(patched) as found:
        path(platform)
    assert found, "it reads something"
    return found, most


def test_it_reads_by_index_and_no_more_than_it_needs(walked: tuple[list[Scan], int]) -> None:
    found, most = walked
    growing = [
        each for each in found if each.table in {*SPREAD, "edge", "task", "dataset", "task_version", "backfill_item"}
    ]
    assert [each for each in growing if each.kind == "Seq Scan"] == []
    assert [each for each in growing if each.rows > most] == []


def test_what_is_spread_is_found_by_what_it_is_spread_by(walked: tuple[list[Scan], int]) -> None:
    """Else every machine is asked: `docs/scaling.md` says by which index, and why."""
    found, _ = walked
    text = SCALING.read_text()
    across = {each.by for each in found if each.table in SPREAD and f"({SPREAD[each.table]} = " not in each.condition}
    assert {index for index in across if f"`{index}`" not in text} == set()


def test_every_unique_key_of_what_is_spread_holds_what_it_is_spread_by(module_database: Database) -> None:
    with module_database.transaction() as connection:
        keys = connection.execute(
            "select c.relname, i.indexrelid::regclass::text, array_agg(a.attname::text)"
            " from pg_index i join pg_class c on c.oid = i.indrelid join pg_attribute a on a.attrelid = i.indexrelid"
            " where i.indisunique and c.relnamespace = 'public'::regnamespace group by 1, 2"
        ).fetchall()
    of_spread = [(table, index, columns) for table, index, columns in keys if table in SPREAD]
    assert len(of_spread) >= len(SPREAD)
    assert [(table, index) for table, index, columns in of_spread if SPREAD[table] not in columns] == []
    without = {index for _, index, columns in keys if "environment" not in columns and "yoyo" not in index}
    assert without == {"body_dictionary_pkey", "ending_pkey", "environment_name_key", "environment_pkey"}
