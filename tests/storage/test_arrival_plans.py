"""The plans of arrivals and windows: a question reads by index what it needs, and thousands ask as often as ten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest

from dataforge.ledger.asset import snapshot
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.column_change import MOST_RESULTS
from dataforge.model.out_of_order import DAYS
from dataforge.model.selection import Selection
from dataforge.storage import arrival, column_list, out_of_order
from dataforge.storage.database import Database
from tests.storage.counted import counted
from tests.storage.plan import filled_by, rows_read

pytestmark = pytest.mark.xdist_group("arrival-plans")  # in one process, which makes once what they share

# Each dataset is written by a task, and came on a hundred days.
_FILL = """
insert into task (environment, id, namespace, name) select 1, n, 'ns', 'task' || n from generate_series(1, 1000) n;
insert into dataset (environment, id, namespace, name, canonical_id)
select 1, n, 's3', 'dataset' || n, n from generate_series(1, 1000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
select 1, n, 'produces', 'dataset', n, 'observed', '', now(), now() from generate_series(1, 1000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
select 1, n, 'consumes', 'dataset', n % 1000 + 1, 'observed', '', now(), now() from generate_series(1, 1000) n;
insert into attempt (environment, task_id, run, attempt_id, kind, platform, said_evidence, said_state, said_at,
    said_by, external_run, group_run, map_index, completed, source, partition)
select 1, n, 'r' || day, '1', 'task', '', 'reported', 'succeeded',
    timestamptz '2026-01-01 00:00+00' + day * '1 day'::interval, '', 'r' || day, 'r' || day, -1, true, '{}',
    to_char(date '2026-01-01' + day, 'YYYY-MM-DD')
from generate_series(1, 1000) n cross join generate_series(1, 100) day;
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, since, task_id,
    run, ready_task_id, ready_run, ready_since)
select 1, 'dataset', n, to_char(date '2026-01-01' + day, 'YYYY-MM-DD'), 'ready', 'succeeded', 'reported', now(), n,
    'r' || day, n, 'r' || day, now()
from generate_series(1, 1000) n cross join generate_series(1, 100) day;
insert into touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at, measured,
    columns, columns_at)
select a.environment, a.task_id, a.run, a.attempt_id, 'output', a.task_id, a.partition, a.said_at, a.said_at, true,
    md5((a.said_at > timestamptz '2026-02-01' and a.task_id % 2 = 0)::text), a.said_at
from attempt a;
insert into column_list (environment, dataset_id, hash, columns)
select distinct environment, dataset_id, columns, '[["id", "int"]]'::jsonb from touch;
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since)
select environment, 'dataset', task_id, partition, task_id, run, attempt_id, run, task_id, run, 'ready', 'succeeded',
    'reported', said_at, said_at
from attempt;
insert into out_of_order (environment, dataset_id, day, events, recorded_at, occurred_at, behind, task_id, run,
    partition)
select 1, n, date '2026-06-01' - day, 3, now(), '2026-05-01', '2026-05-02', n, 'r1', ''
from generate_series(1, 1000) n cross join generate_series(0, 30) day;
analyze;
"""


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A ledger large enough that a bad plan is a dear one."""
    with filled_by(module_database, _FILL) as connection:
        yield connection


@pytest.mark.parametrize("asked", [1, 20])
@pytest.mark.parametrize(
    ("query", "most"),
    [(arrival.KNOWN, 8), (arrival.CAME, 25), (column_list.SHOWN, 25), (out_of_order.TOLD, 8)],
    ids=["known", "came", "shown", "told"],
)
def test_a_question_reads_what_it_needs(
    filled: psycopg.Connection[Any], query: LiteralString, most: int, asked: int
) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    given = {"environment": 1, "ids": list(range(1, asked + 1)), "most": MOST_RESULTS, "now": now, "days": DAYS}
    read = rows_read(filled, query, given)
    assert read
    assert max(read.values()) <= most * asked, read


def test_a_window_takes_as_many_statements_whatever_it_shows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [
        {
            "namespace": "shell",
            "name": f"task{number}",
            "consumes": [{"dataset": {"namespace": "s3://lake", "name": f"table{number - 1}"}}] if number else [],
            "produces": [{"namespace": "s3://lake", "name": f"table{number}"}],
        }
        for number in range(500)
    ]
    declare(database, "dev", definition.parse({"source": "many", "tasks": tasks}))
    sent = counted(monkeypatch)
    counts = []
    for name, shown in (("table9", 10), ("table499", 500)):
        sent.clear()
        found = snapshot(database, "dev", Selection(names=(name,), upstream_of=(name,)))
        assert len(found.assets) == shown
        counts.append(len(sent))
    assert counts[0] == counts[1] <= 25
