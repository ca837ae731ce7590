"""Findings of runs that began on a partition while it was quarantined, as history tells of that moment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.finding import Finding
from dataforge.storage.database import Database
from tests.ledger.test_findings import found
from tests.ledger.test_quarantine import DAILY, DAY, ORDERS, at, load, looked, native, ordered

HELD = "started_on_quarantined"
BOARD = {"namespace": "s3://lake", "name": "board"}


def lake(database: Database, **edge: Any) -> None:
    """Load writes orders, report reads it and writes the board; the check looks at orders."""
    reads = [{"dataset": ORDERS, **edge}]
    named = {"namespace": "ns", "partitioning": DAILY}
    tasks = [
        {**named, "name": "load", "produces": [ORDERS]},
        {**named, "name": "report", "owner": "team-report", "consumes": reads, "produces": [BOARD]},
    ]
    datasets = [{**ORDERS, "partitioning": DAILY, "owner": "team-orders", "aliases": [{**ORDERS, "name": "o"}]}]
    datasets.append({**BOARD, "partitioning": DAILY})
    declare(database, "dev", definition.parse({"source": "lake", "tasks": tasks, "datasets": datasets}))


def report(begun: int, ended: int) -> list[dict[str, Any]]:
    written = [{**BOARD, "partition": DAY}]
    run = f"report@{begun}"
    return [native("report", begun, "running", run=run), native("report", ended, "succeeded", run=run, outputs=written)]


def told(database: Database, *events: dict[str, Any]) -> list[Finding]:
    bodies: list[object] = [json.dumps(event).encode() for event in events]
    assert record_any(database, "dev", bodies, NOTHING).rejected == []
    return [item for item in found(database) if item.code == HELD]


def test_a_run_that_began_on_a_quarantined_partition_is_found_with_why_and_whose(database: Database) -> None:
    lake(database)
    (item,) = told(database, *load(0, 10), looked(15), *report(20, 30))
    assert item.message == (
        f"report for {DAY} started at 2026-11-02 05:20:00 UTC, and s3://lake/orders for {DAY} was quarantined then"
        " (since 2026-11-02 05:15:00 UTC), because the check unique_id failed with severity error (by check, run"
        " check@15): 3 ids come twice"
    )
    assert (item.severity, item.owner, item.run) == ("high", "team-report", "report@20")
    assert [(given.node.name, given.owner, given.run) for given in item.inputs] == [
        ("orders", "team-orders", "check@15")
    ]
    assert [each.name for each in item.made] == ["board"]


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([*load(0, 10), *report(12, 30), looked(15)], 0),  # it failed only afterwards
        ([*load(0, 10), looked(15), ordered("release", 18), *report(20, 30)], 0),
        ([*load(0, 10), looked(15), *report(20, 30), ordered("release", 40)], 1),
        ([*load(0, 10), looked(15), ordered("release", 15), looked(17), *report(20, 30)], 1),
        ([*load(0, 10), looked(15), *report(20, 30), *load(40, 50, "load@2")], 1),  # made anew, and too late
        ([*load(0, 10), looked(15), *load(16, 19, "load@2"), *report(20, 30)], 0),
        ([*load(0, 10), looked(15), *load(16, 25, "load@2"), *report(20, 30)], 1),  # of what was there then
        ([*load(0, 10), *load(12, 25, "load@2"), looked(15), *report(20, 30)], 0),  # of what was under way
        ([*load(0, 10, version="1"), looked(15, version="0"), *report(20, 30)], 0),
        ([*load(0, 10, checks=[{"name": "rows", "success": False}]), *report(20, 30)], 1),  # the run's own check
        ([*load(0, 10), looked(15, success=True), looked(16, severity="warn"), *report(20, 30)], 0),
        ([*load(0, 10), looked(15, name="o"), *report(20, 30)], 1),  # under another name of it
        ([*load(0, 10), ordered("quarantine", 15), *report(20, 30)], 1),
        ([*load(0, 10), ordered("quarantine", 15), *load(16, 19, "load@2"), *report(20, 30)], 0),
        ([*load(0, 10), ordered("quarantine", 25), *report(20, 30)], 0),
        ([*load(0, 10), looked(15), *report(20, 30), ordered("quarantine", 40)], 1),
        ([*load(0, 10), ordered("quarantine", 15), *report(20, 30), ordered("release", 40)], 1),  # let go only since
        ([*load(0, 10), ordered("quarantine", 15), ordered("release", 18), *report(20, 30)], 0),
        (
            [*load(0, 10), looked(15), ordered("release", 16), *report(20, 30), ordered("release", 40)],
            0,
        ),  # let go before
        ([*load(0, 10), looked(15), ordered("release", 16), *report(20, 30), ordered("quarantine", 40)], 0),
    ],
)
def test_it_is_told_by_what_was_there_and_held_back_at_that_moment(
    database: Database, events: list[dict[str, Any]], count: int
) -> None:
    lake(database)
    assert len(told(database, *events)) == count


def test_who_looks_at_a_quarantined_partition_again_is_not_told_of(database: Database) -> None:
    lake(database)
    again = [native("check", 20, "running", run="check@20"), looked(21, success=True, run="check@20")]
    assert told(database, *load(0, 10), looked(15), *again) == []


@pytest.mark.parametrize("edge", [{"required": False}, {"condition": {"kind": "finished"}}])
def test_an_edge_that_asks_for_no_success_makes_no_finding(database: Database, edge: dict[str, Any]) -> None:
    lake(database, **edge)
    assert told(database, *load(0, 10), looked(15), *report(20, 30)) == []


def test_an_order_about_the_task_before_it_counts_too(database: Database) -> None:
    named = {"namespace": "ns", "partitioning": DAILY}
    tasks = [
        {**named, "name": "load"},
        {**named, "name": "report", "consumes": [{"task": {"namespace": "ns", "name": "load"}}]},
    ]
    declare(database, "dev", definition.parse({"source": "lake", "tasks": tasks}))
    about = {"task": {"namespace": "ns", "name": "load"}, "partition": DAY, "by": "anna", "reason": "odd"}
    order = {"time": at(15), "control": "quarantine", **about}
    (item,) = told(database, *load(0, 10), order, *report(20, 30))
    assert item.message.endswith(
        "load for 2026-11-01 was quarantined then (since 2026-11-02 05:15:00 UTC) by anna: odd"
    )
