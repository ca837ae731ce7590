"""What is asked of the run that made a partition stands with its state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import pytest

from dataforge.ingest.batch import record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.freshness import freshness
from dataforge.ledger.readiness import readiness
from dataforge.model.freshness import FreshnessQuestion
from dataforge.model.question import Named
from dataforge.storage.database import MIGRATIONS, Database
from tests.ledger.completeness_events import declare_orders, say, task

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
STATES = """
select t.namespace, t.name, s.partition from partition_state s
join task t on t.environment = s.environment and t.id = s.node_id where s.node_kind = 'task'
"""
FORGET: tuple[LiteralString, ...] = (
    "update write set began = null, parent_task_id = null, made_for = null",
    """
    update partition_state set began = null, group_run = null, ready_began = null, ready_parent_task_id = null,
        ready_made_for = null
    """,
)


@pytest.mark.parametrize("capture", ["airflow", "airflow_edge", "dbt", "spark", "spark_edge"])
def test_the_migration_fills_what_recording_writes(database: Database, capture: str) -> None:
    bodies = (CAPTURES / capture / "events.jsonl").read_bytes().splitlines()
    assert record_openlineage(database, "dev", bodies, NOTHING).applied
    _fill_again(database)


def test_the_migration_fills_what_several_runs_make_together(database: Database) -> None:
    declare_orders(database, task("load", mapping={"kind": "window", "from": -2, "to": 0}), task("mend"))
    say(database, "mend", hour=2)
    say(database, "load", hour=1)
    say(database, "mend", state="failed", hour=3)
    _fill_again(database)


def _fill_again(database: Database) -> None:
    migration = (MIGRATIONS / "0049_makers_of_states.sql").read_text()
    with database.transaction() as connection:
        for statement in FORGET:
            connection.execute(statement)
    assert verify(database, "dev").found.counts.keys() >= {"partition_state"}
    with database.transaction() as connection:
        connection.execute(migration[migration.index("update write") :].encode())
    assert verify(database, "dev").difference is None


@pytest.mark.parametrize("capture", ["airflow_edge", "dbt", "spark_edge"])
def test_no_verdict_asks_for_the_runs_that_made_what_it_waits_for(database: Database, capture: str) -> None:
    record_openlineage(database, "dev", (CAPTURES / capture / "events.jsonl").read_bytes().splitlines(), NOTHING)
    with database.transaction() as connection:
        rows = connection.execute(STATES).fetchall()
    assert rows
    before = _answers(database, rows)
    with database.transaction() as connection:
        connection.execute("delete from run")
    assert _answers(database, rows) == before


def _answers(database: Database, rows: Sequence[Any]) -> tuple[object, ...]:
    asked = [Named(name, namespace, key) for namespace, name, key in rows]
    fresh = [
        FreshnessQuestion(kind="task", name=name, namespace=namespace, partition=key) for namespace, name, key in rows
    ]
    return readiness(database, "dev", asked, NOW).items, freshness(database, "dev", fresh, NOW).items
