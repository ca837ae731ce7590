"""The plans of arrivals and windows: a question reads by index what it needs, and thousands ask as often as ten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from dataforge.ledger.asset import snapshot
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.selection import Selection
from dataforge.storage import arrival
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
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, since, task_id,
    run, ready_task_id, ready_run, ready_since)
select 1, 'dataset', n, to_char(date '2026-01-01' + day, 'YYYY-MM-DD'), 'ready', 'succeeded', 'reported', now(), n,
    'r' || day, n, 'r' || day, now()
from generate_series(1, 1000) n cross join generate_series(1, 100) day;
analyze;
"""


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A ledger large enough that a bad plan is a dear one."""
    with filled_by(module_database, _FILL) as connection:
        yield connection


@pytest.mark.parametrize("asked", [1, 20])
@pytest.mark.parametrize(("query", "most"), [(arrival.KNOWN, 8), (arrival.CAME, 25)], ids=["known", "came"])
def test_a_question_reads_what_it_needs(
    filled: psycopg.Connection[Any], query: LiteralString, most: int, asked: int
) -> None:
    read = rows_read(filled, query, {"environment": 1, "ids": list(range(1, asked + 1))})
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
