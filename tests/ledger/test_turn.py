"""Tasks that were seen to read what the other one writes: nobody waits for what waits for him."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from dataforge.ledger import turn
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage.database import Database
from tests.ledger.readiness_rows import DAILY, DAY, Ledger, ask, reasons

_BEFORE = "2026-10-31"


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield Ledger(connection)


def seen(ledger: Ledger, name: str) -> TaskRef:
    return ledger.task(name, observed={}, platform="dbt", partitioning=DAILY)


def ring(ledger: Ledger, *names: str) -> list[TaskRef]:
    """Tasks of which each was seen to come after the one before, and the first after the last."""
    tasks = [seen(ledger, name) for name in names]
    for before, after in zip(tasks, tasks[1:] + tasks[:1], strict=True):
        ledger.edge(after, before, seen=True)
    return tasks


def test_two_that_would_wait_for_each_other_may_both_run_and_say_why(database: Database, ledger: Ledger) -> None:
    ring(ledger, "left", "right")
    answer = ask(database, "left")
    assert (answer.runnable, answer.basis) == (True, "observed")
    assert [(each.code, each.upstream and each.upstream.name, each.partition) for each in answer.warnings] == [
        ("observed_cycle", "right", DAY)
    ]
    assert answer.warnings[0].message == (
        f"right for {DAY} was never made, and would wait in turn for this one (left after right after left): this one"
        " was only seen to read it, and does not wait"
    )
    assert ask(database, "right").runnable


def over_datasets(ledger: Ledger) -> tuple[TaskRef, TaskRef]:
    """left and right, each of which was seen to read what the other one writes, under another name of it."""
    left, right = seen(ledger, "left"), seen(ledger, "right")
    table, other = ledger.dataset("table"), ledger.dataset("other")
    path = ledger.dataset("path", canonical=table)
    ledger.edge(left, path, "produces", seen=True)
    ledger.edge(right, table, seen=True)
    ledger.edge(right, other, "produces", seen=True)
    ledger.edge(left, other, seen=True)
    return left, right


def test_a_loop_may_lead_over_datasets_and_over_other_names_of_them(database: Database, ledger: Ledger) -> None:
    over_datasets(ledger)
    assert [each.code for each in ask(database, "left").warnings] == ["observed_cycle"]
    assert ask(database, "right").runnable


def test_who_has_begun_is_waited_for_though_nothing_is_known_yet_of_what_he_writes(
    database: Database, ledger: Ledger
) -> None:
    _, right = over_datasets(ledger)
    ledger.state(right, "running")
    assert reasons(ask(database, "left")) == [("upstream_missing", "other", DAY, "missing")]


def test_who_has_begun_is_waited_for(database: Database, ledger: Ledger) -> None:
    _, right = ring(ledger, "left", "right")
    ledger.state(right, "running")
    assert reasons(ask(database, "left")) == [("upstream_running", "right", DAY, "running")]


def test_a_failure_within_the_loop_does_not_close_it_for_the_other(database: Database, ledger: Ledger) -> None:
    """It may run again, as what it reads waits for it; the other one waits for its success."""
    left, _ = ring(ledger, "left", "right")
    ledger.state(left, "failed")
    answer = ask(database, "left")
    assert (answer.status, answer.runnable, answer.warnings[0].code) == ("failed", True, "observed_cycle")
    assert reasons(ask(database, "right")) == [("upstream_failed", "left", DAY, "failed")]


def test_what_is_declared_is_waited_for_all_the_same(database: Database, ledger: Ledger) -> None:
    left, right = ledger.declared("left"), seen(ledger, "right")
    ledger.edge(left, right)
    ledger.edge(right, left, seen=True)
    assert reasons(ask(database, "left")) == [("upstream_missing", "right", DAY, "missing")]
    assert ask(database, "right").runnable


def test_a_way_round_that_leads_to_another_day_is_no_loop(database: Database, ledger: Ledger) -> None:
    report, orders = ledger.declared("report"), ledger.dataset("orders", partitioning=DAILY)
    reader = seen(ledger, "reader")
    ledger.edge(report, reader, mapping={"kind": "window", "from": -1, "to": -1})
    ledger.edge(report, orders, "produces")
    ledger.edge(reader, orders, seen=True)
    assert reasons(ask(database, "reader")) == [("upstream_missing", "orders", DAY, "missing")]
    ledger.state(reader, "succeeded", _BEFORE)
    assert ask(database, "report").runnable


def test_one_partition_that_is_there_on_the_way_round_opens_the_loop(database: Database, ledger: Ledger) -> None:
    _, second, _ = ring(ledger, "first", "second", "third")
    assert ask(database, "first").runnable
    ledger.state(second, "succeeded")
    assert reasons(ask(database, "first")) == [("upstream_missing", "third", DAY, "missing")]
    assert ask(database, "third").runnable


def test_who_only_reads_from_a_loop_waits(database: Database, ledger: Ledger) -> None:
    left, _ = ring(ledger, "left", "right")
    ledger.edge(seen(ledger, "report"), left, seen=True)
    assert reasons(ask(database, "report")) == [("upstream_missing", "left", DAY, "missing")]


def test_a_loop_beside_others_is_told_apart_and_takes_the_shortest_way(database: Database, ledger: Ledger) -> None:
    first, second, third = ring(ledger, "first", "second", "third")
    ledger.edge(first, second, seen=True)
    ledger.edge(first, ledger.dataset("raw"), seen=True)
    answer = ask(database, "first")
    assert reasons(answer) == [("upstream_missing", "raw", DAY, "missing")]
    ways = {each.upstream.name: each.message for each in answer.warnings if each.upstream}
    assert "(first after second after first)" in ways["second"]
    assert "(first after third after second after first)" in ways["third"]
    assert isinstance(third, TaskRef)


def test_a_loop_longer_than_is_looked_for_is_waited_for(database: Database, ledger: Ledger) -> None:
    names = [f"task_{number:02}" for number in range(turn.MOST_STEPS + 1)]
    tasks = ring(ledger, *names[:-1])
    assert all(ask(database, name).runnable for name in names[:-1])
    last = seen(ledger, names[-1])
    ledger.connection.execute("delete from edge where task_id = %s", [tasks[0].id])
    ledger.edge(last, tasks[-1], seen=True)
    ledger.edge(tasks[0], last, seen=True)
    assert ask(database, names[0]).status == "waiting"


def test_a_task_that_reads_what_it_writes_is_no_loop(database: Database, ledger: Ledger) -> None:
    table: DatasetRef = ledger.dataset("table")
    update = seen(ledger, "update")
    ledger.edge(update, table, seen=True)
    ledger.edge(update, table, "produces", seen=True)
    answer = ask(database, "update")
    assert (answer.runnable, answer.warnings) == (True, ())
