"""Findings about loops that were observed: what is one, how it is told, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dataforge.ledger import finding_cycle
from dataforge.ledger.findings import findings
from dataforge.model.filter import FindingFilter
from dataforge.model.finding import Finding, FindingCode
from dataforge.storage.database import Database
from tests.ledger.freshness_events import Event, at, data, declared, named, record, run

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SINCE = datetime(2026, 11, 1, tzinfo=UTC)
BEFORE = "2026-11-04"


def loops(database: Database, limit: int = 50, since: datetime = SINCE) -> list[Finding]:
    """Every finding of that code, page by page."""
    found: list[Finding] = []
    cursor = None
    while True:
        wanted = FindingFilter(since=since, code=FindingCode.OBSERVED_CYCLE, limit=limit, cursor=cursor)
        page = findings(database, "dev", wanted, NOW)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def moved(task: str, reads: str, writes: str, begun: int = 0, **read: Any) -> list[Event]:
    return run(task, begun, begun + 5, inputs=[data(reads, **read)], outputs=[data(writes)])


def consumes(name: str, **more: Any) -> dict[str, Any]:
    return {"dataset": named(name), **more}


def test_a_loop_is_told_by_the_edge_that_closed_it_with_the_way_round(database: Database) -> None:
    record(database, moved("clean", "raw", "orders"), moved("report", "orders", "raw", 10))
    (item,) = loops(database)
    assert item.message == (
        "report was seen to produce s3://lake/raw, which closes a loop: clean -> s3://lake/orders -> report ->"
        " s3://lake/raw -> clean (last seen 2026-11-06 05:05:00 UTC); nobody waits along it for what was only observed"
    )
    assert (item.severity, item.node and item.node.name, item.upstream and item.upstream.name) == (
        "medium",
        "report",
        "raw",
    )
    assert item.since == at(15)


def test_an_observed_edge_that_closes_what_is_declared_is_told_and_whose_it_is(database: Database) -> None:
    declared(
        database,
        {"name": "clean", "consumes": [consumes("raw")], "produces": [named("orders")]},
        {"name": "extract", "produces": [named("raw")]},
    )
    assert loops(database) == []
    record(database, run("extract", 0, 5, inputs=[data("orders")], outputs=[data("raw")]))
    (item,) = loops(database)
    assert (item.node and item.node.name, item.owner, item.upstream and item.upstream.name) == (
        "extract",
        "team-extract",
        "orders",
    )
    assert "extract was seen to consume s3://lake/orders" in item.message


def test_what_reads_only_the_partitions_of_the_day_before_closes_none(database: Database) -> None:
    record(database, moved("clean", "raw", "orders"), moved("report", "orders", "raw", 10, key=BEFORE))
    assert loops(database) == []
    record(database, moved("report", "orders", "raw", 20))
    assert len(loops(database)) == 1


def test_a_declared_edge_that_leads_back_in_time_closes_none(database: Database) -> None:
    yesterday = {"kind": "window", "from": -1, "to": -1}
    declared(
        database,
        {"name": "report", "consumes": [consumes("orders", mapping=yesterday)], "produces": [named("raw")]},
    )
    record(database, moved("clean", "raw", "orders"), moved("report", "orders", "raw", 10))
    assert loops(database) == []


def test_a_task_that_reads_what_it_writes_is_none(database: Database) -> None:
    record(database, moved("merge", "orders", "orders"), moved("report", "orders", "sales", 10))
    assert loops(database) == []


def test_what_was_not_seen_for_a_while_closes_none_any_more(database: Database) -> None:
    record(database, moved("clean", "raw", "orders"), moved("report", "orders", "raw", 10))
    assert loops(database, since=at(10)) == []


def test_the_steps_of_a_task_are_parts_of_it(database: Database) -> None:
    record(
        database, moved("app", "raw", "orders"), moved("app.one", "raw", "middle", 1), moved("app.two", "middle", "raw")
    )
    assert len(loops(database)) == 1
    with database.transaction() as connection:
        connection.execute("update task set kind = 'step' where name like 'app.%'")
    assert loops(database) == []


def test_that_a_task_runs_another_is_no_need(database: Database) -> None:
    """A DAG runs its task, which reads what the DAG is said to write."""
    record(database, moved("dag", "raw", "orders"), moved("load", "orders", "mart", 10))
    with database.transaction() as connection:
        connection.execute(
            "insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)"
            " select 1, (select id from task where name = 'load'), 'runs', 'task', id, 'observed', '', %s, %s"
            " from task where name = 'dag'",
            [at(0), at(0)],
        )
    assert loops(database) == []


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_every_loop_is_told_once_however_the_pages_are_cut(
    database: Database, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding_cycle, "MOST_LOOPS", 2)
    for number in range(5):
        one, other = f"one_{number}", f"other_{number}"
        record(database, moved(f"a_{number}", one, other), moved(f"b_{number}", other, one, 10))
    found = loops(database, limit)
    assert sorted(item.node.name for item in found if item.node) == [f"b_{number}" for number in range(5)]
