"""A place with one claim stands as the rule for all places has it: `sole` of RESOLVE is that rule, made short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg.types.json import Jsonb

from dataforge.model.completeness import Judged
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.run import Belief, status_of
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.storage import dataset as datasets
from dataforge.storage import partition as partitions
from dataforge.storage import task as tasks
from dataforge.storage.database import Database
from dataforge.storage.write import Claim, claim

TASKS = [TaskRef("ns", "first"), TaskRef("ns", "second")]
NAMES = [DatasetRef("ns", "orders"), DatasetRef("glue", "orders")]  # of one dataset, the first stands for it
KEY = "2026-11-01"
STATED = """
select node_kind, node_id, partition, status, run_state, evidence, since, task_id, run, version, ready_task_id,
    ready_run, ready_since, ready_version, held
from partition_state where environment = 1 order by node_kind, node_id, partition
"""
GENERAL = partitions.RESOLVE.replace(") c on c.number = 1", ") c on false")
TABLES: tuple[LiteralString, ...] = (
    "write",
    "control",
    "failed_check",
    "partition_state",
    "outbox",
    "partition_cleared",
)

BEGUN = datetime(2026, 11, 2, 1, tzinfo=UTC)
moments = st.integers(0, 4).map(lambda hour: BEGUN.replace(hour=hour))
task_ids = st.sampled_from([task.id for task in TASKS])
names = st.sampled_from([name.id for name in NAMES])
runs = st.sampled_from(["r", "r/0", "s"])
attempt_ids = st.sampled_from(["1", "2"])
SELDOM = st.sampled_from([*[False] * 4, True])


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    task, run = draw(task_ids), draw(runs)
    state = draw(st.sampled_from([*[RunState.SUCCEEDED] * 10, *RunState]))
    status = status_of(Belief(state, Evidence.REPORTED))
    late = status is PartitionStatus.READY and draw(SELDOM)  # data came behind a watermark
    of_task = draw(SELDOM)
    return Claim(
        node_kind="task" if of_task else "dataset",
        node_id=task if of_task else draw(names),
        partition=KEY,
        run=(task, run),
        attempt_id=draw(attempt_ids),
        group_run=run.split("/")[0],
        producer=(draw(task_ids), draw(runs)),
        status=PartitionStatus.STALE if late else status,
        belief=Belief(state, draw(st.sampled_from(list(Evidence)))),
        started_at=draw(st.none() | st.just(BEGUN)),
        since=draw(st.none() | moments),
        version=draw(st.none() | st.sampled_from(["v1", "v2"])),
        past=status is PartitionStatus.READY and not late and draw(st.booleans()),
    )


orders = st.tuples(
    st.sampled_from([("task", TASKS[0].id), *(("dataset", name.id) for name in NAMES)]),
    st.sampled_from(["quarantine", "quarantine", "rerun"]),
    st.booleans(),
    moments,
)
refusals = st.tuples(names, task_ids, runs, attempt_ids, st.booleans(), moments, st.sampled_from(["", "v1", "v2"]))
groups = st.lists(st.tuples(task_ids, st.sampled_from(["r", "s"])), max_size=2)
judgements = st.builds(
    lambda of_runs, short, ever: Judged((), tuple(of_runs), PartitionStatus.READY, short, ever or not short, 1),
    groups,
    st.booleans(),
    st.booleans(),
)


def tell(connection: Connection, said: list[Claim], ordered: list[Any], refused: list[Any]) -> None:
    for table in TABLES:
        connection.execute("delete from " + table)
    claim(connection, 1, list({(c.node_kind, c.node_id, c.partition, c.run, c.attempt_id): c for c in said}.values()))
    for (scope, subject), kind, value, at in ordered:
        connection.execute(
            "insert into control values (1, %s, %s, %s, %s, '', 'ns', 'x', %s, %s, %s, 'anna', 'r')"
            " on conflict do nothing",
            [scope, subject, KEY, kind, Jsonb(value), at, bytes(16)],
        )
    for name, *attempt, at, version in refused:
        connection.execute(
            "insert into failed_check values (1, %s, %s, %s, %s, %s, %s, %s, 'rows', 1, %s) on conflict do nothing",
            [name, KEY, *attempt, at, version],
        )


def resolved(connection: Connection, judged: dict[tuple[int, str], Judged]) -> list[Any]:
    places = {*(("task", task.id, KEY) for task in TASKS), ("dataset", NAMES[0].id, KEY)}
    asked = cast(set[partitions.Place], places)
    partitions.resolve(connection, 1, asked, partitions.names(connection, 1, asked).members, judged)
    return connection.execute(STATED).fetchall()


@settings(max_examples=200, deadline=timedelta(seconds=5), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(claims(), min_size=1, max_size=2),
    st.lists(orders, max_size=2),
    st.lists(refusals, max_size=2),
    st.none() | judgements,
)
def test_one_claim_decides_as_the_rule_for_several_does(
    database: Database, said: list[Claim], ordered: list[Any], refused: list[Any], together: Judged | None
) -> None:
    judged = {(NAMES[0].id, KEY): together} if together else {}
    with database.transaction() as connection:
        tasks.ensure(connection, 1, set(TASKS))
        datasets.ensure(connection, 1, set(NAMES))
        datasets.set_canonical(connection, 1, {NAMES[1].id: NAMES[0].id})
        tell(connection, said, ordered, refused)
        short = resolved(connection, judged)
        tell(connection, said, ordered, refused)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(partitions, "RESOLVE", GENERAL)
            assert resolved(connection, judged) == short
