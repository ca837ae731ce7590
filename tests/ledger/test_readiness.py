"""Readiness on real rows: what is read, and what stands for what."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from dataforge.ledger.readiness import readiness, verdict
from dataforge.model.errors import NotFound
from dataforge.model.question import Answers, Named
from dataforge.model.verdict import Unanswered
from dataforge.storage.database import Database
from tests.ledger.readiness_rows import DAILY, DAY, ENVIRONMENT, NOW, Ledger, ask, reasons


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield Ledger(connection)


def test_declared_upstreams_are_each_named(database: Database, ledger: Ledger) -> None:
    load, extract, orders = ledger.declared("load"), ledger.declared("extract"), ledger.dataset("orders")
    ledger.edge(load, extract)
    ledger.edge(load, orders)
    ledger.state(extract, "failed", ended_at=NOW)
    answer = ask(database, "load")
    assert (answer.runnable, answer.status, answer.basis) == (False, "blocked", "declared")
    assert reasons(answer) == [
        ("upstream_failed", "extract", DAY, "failed"),
        ("upstream_missing", "orders", DAY, "missing"),
    ]
    assert [(r.owner, r.since) for r in answer.reasons] == [
        ("team-extract", NOW),
        (None, datetime(2026, 11, 2, tzinfo=UTC)),
    ]


def test_what_is_declared_is_the_whole_of_what_a_task_consumes(database: Database, ledger: Ledger) -> None:
    load, extract, seen = ledger.declared("load"), ledger.declared("extract"), ledger.dataset("seen")
    ledger.edge(load, extract)
    ledger.edge(load, seen, seen=True)
    ledger.state(extract, "succeeded")
    assert ask(database, "load").runnable


def test_a_verdict_that_rests_on_observation_says_so(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders")
    assert ask(database, "load").basis == "declared"
    ledger.edge(load, orders, seen=True)
    assert ask(database, "load").basis == "observed"
    ledger.task("cut", partitioning=DAILY, observed={"upstreams": []})
    assert ask(database, "cut").basis == "observed"


def test_a_task_whose_edges_nobody_knows_has_no_verdict(database: Database, ledger: Ledger) -> None:
    ledger.task("load", observed={})
    assert reasons(ask(database, "load")) == [("dependencies_unknown", None, None, None)]
    ledger.task("root", observed={"upstreams": []})
    assert ask(database, "root").runnable


def test_a_rule_that_no_event_shows_has_to_be_declared(database: Database, ledger: Ledger) -> None:
    extract = ledger.task("extract", observed={"upstreams": []}, partitioning=DAILY)
    alert = ledger.task("alert", observed={"upstreams": ["extract"]}, partitioning=DAILY)
    ledger.edge(alert, extract, seen=True)
    ledger.state(extract, "failed")
    answer = ask(database, "alert")
    assert reasons(answer) == [("dependencies_unknown", None, None, None)]
    assert [(w.upstream.name if w.upstream else None, w.state) for w in answer.warnings] == [("extract", "failed")]
    ledger.connection.execute(
        "update task set declared_by = 'test', version = 'v', definition = %s where name = 'alert'",
        [Jsonb({"name": "alert", "trigger_rule": "one_failed"})],
    )
    answer = ask(database, "alert")
    assert (answer.runnable, answer.basis) == (True, "observed")


@pytest.mark.parametrize("platform", ["dbt", "spark", ""])
def test_platforms_without_rules_want_success(database: Database, ledger: Ledger, platform: str) -> None:
    model, source = ledger.task("model", observed={}, platform=platform), ledger.task("source", observed={})
    ledger.edge(model, source, seen=True)
    ledger.state(source, "skipped", "")
    assert reasons(ask(database, "model", "")) == [("upstream_skipped", "source", None, "skipped")]


def test_what_follows_a_branch_is_undecided(database: Database, ledger: Ledger) -> None:
    rule = {"trigger_rule": "all_success"}
    choose = ledger.task("choose", observed={"operator": "BranchPythonOperator"}, partitioning=DAILY)
    ledger.edge(ledger.task("left", observed={"upstreams": ["choose"], **rule}, partitioning=DAILY), choose, seen=True)
    ledger.state(choose, "succeeded")
    assert reasons(ask(database, "left")) == [("branch_undecided", "choose", DAY, "ready")]


def test_a_key_that_does_not_fit_says_what_one_looks_like(database: Database, ledger: Ledger) -> None:
    ledger.declared("load")
    answer = ask(database, "load", "2026-11-01-09:00")
    assert (answer.status, answer.reasons[0].code) == ("unknown", "no_such_partition")
    assert "such as 2026-11-01" in answer.reasons[0].message
    assert reasons(ask(database, "load", "")) == [("partition_unknown", None, None, None)]


def test_what_only_ran_without_a_partition_has_none(database: Database, ledger: Ledger) -> None:
    load = ledger.task("load", observed={"upstreams": []})
    assert ask(database, "load").runnable
    ledger.state(load, "succeeded", "")
    assert reasons(ask(database, "load")) == [("no_such_partition", None, None, None)]
    assert reasons(ask(database, "load", "")) == [("already_done", None, None, "ready")]


def test_an_undeclared_upstream_is_looked_up_at_the_key_and_then_as_a_whole(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders")
    ledger.edge(load, orders)
    ledger.state(orders, "succeeded", "")
    assert ask(database, "load").runnable
    ledger.state(orders, "failed", DAY)
    assert reasons(ask(database, "load")) == [("upstream_failed", "orders", DAY, "failed")]


def test_a_declared_upstream_is_looked_up_at_its_key_alone(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders", partitioning=DAILY)
    ledger.edge(load, orders)
    ledger.state(orders, "succeeded", "")
    assert reasons(ask(database, "load")) == [("upstream_missing", "orders", DAY, "missing")]


def test_a_window_names_every_partition_that_is_missing(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders", partitioning=DAILY)
    ledger.edge(load, orders, mapping={"kind": "window", "from": -2, "to": 0})
    ledger.state(orders, "succeeded", "2026-10-31")
    missing = [partition for _, _, partition, _ in reasons(ask(database, "load"))]
    assert missing == ["2026-10-30", "2026-11-01"]


def test_an_edge_without_a_partition_to_ask_for_is_named(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load", {"kind": "none"}), ledger.dataset("orders", partitioning=DAILY)
    ledger.edge(load, orders)
    assert reasons(ask(database, "load", "")) == [("partition_unknown", "orders", None, None)]


def test_an_alias_stands_for_its_dataset(database: Database, ledger: Ledger) -> None:
    load, table = ledger.declared("load"), ledger.dataset("lake.orders")
    path = ledger.dataset("orders/clean", canonical=table)
    ledger.edge(load, path)
    ledger.edge(load, table)
    assert reasons(ask(database, "load")) == [("upstream_missing", "lake.orders", DAY, "missing")]
    ledger.state(table, "succeeded")
    assert ask(database, "load").runnable


def test_a_task_does_not_wait_for_what_it_updates_in_place(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders", partitioning=DAILY)
    ledger.edge(load, orders, "produces")
    ledger.edge(load, orders)
    assert ask(database, "load").runnable


def test_a_task_waits_for_its_own_yesterday(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders", partitioning=DAILY)
    ledger.edge(load, orders, "produces")
    ledger.edge(load, orders, mapping={"kind": "window", "from": -1, "to": -1})
    assert reasons(ask(database, "load")) == [("upstream_missing", "orders", "2026-10-31", "missing")]


def test_an_upstream_that_nobody_declares_or_writes_blocks(database: Database, ledger: Ledger) -> None:
    load, ghost, orders = ledger.declared("load"), ledger.task("ghost"), ledger.dataset("orders")
    ledger.edge(load, ghost)
    assert ask(database, "load").status == "blocked"
    ledger.edge(report := ledger.declared("report"), orders)
    assert "no task is known that writes it" in ask(database, "report").reasons[0].message
    ledger.edge(ledger.declared("writer"), orders, "produces")
    answer = verdict(database, "dev", Named(report.name, "ns", DAY), NOW)
    assert (answer.status, answer.reasons[0].owner) == ("waiting", "team-writer")


def test_a_failure_further_up_is_told_from_what_will_come(database: Database, ledger: Ledger) -> None:
    chain = [ledger.declared(name) for name in ("extract", "clean", "load")]
    table, report = ledger.dataset("orders"), ledger.declared("report")
    ledger.edge(chain[1], chain[0])
    ledger.edge(chain[2], chain[1])
    ledger.edge(chain[2], table, "produces")
    ledger.edge(report, table)
    assert ask(database, "report").status == "waiting"
    ledger.state(chain[0], "failed")
    answer = ask(database, "report")
    assert answer.status == "blocked"
    assert "will not by itself: extract for 2026-11-01 failed" in answer.reasons[0].message
    ledger.state(chain[2], "failed")
    assert "will not by itself: load failed" in ask(database, "report").reasons[0].message


def test_of_a_verdict_that_waits_for_very_many_the_first_are_looked_behind(
    database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = ledger.declared("last")
    for name in ("a", "b", "c"):
        failed, between = ledger.declared(f"before_{name}"), ledger.declared(name)
        ledger.edge(between, failed)
        ledger.edge(last, between)
        ledger.state(failed, "failed")
    assert sum("will not by itself" in reason.message for reason in ask(database, "last").reasons) == 3
    monkeypatch.setattr("dataforge.ledger.question.AHEAD_OF_EACH", 2)
    assert sum("will not by itself" in reason.message for reason in ask(database, "last").reasons) == 2


def test_one_partition_of_each_upstream_is_looked_behind_before_a_second_one_of_any(
    database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = ledger.declared("last")
    for name, first in (("a", -3), ("b", 0)):
        failed, between = ledger.declared(f"before_{name}"), ledger.declared(name)
        ledger.edge(between, failed)
        ledger.edge(last, between, mapping={"kind": "window", "from": first, "to": 0})
        for day in range(-3, 1):
            ledger.state(failed, "failed", f"{date.fromisoformat(DAY) + timedelta(days=day)}")
    monkeypatch.setattr("dataforge.ledger.question.AHEAD_OF_EACH", 2)
    told = [reason for reason in ask(database, "last").reasons if "will not by itself" in reason.message]
    assert sorted(reason.upstream.name for reason in told if reason.upstream) == ["a", "b"]


def test_of_very_many_that_are_missing_the_first_are_told_when_to_expect_them(
    database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = ledger.declared("last")
    for name in ("a", "b", "c"):
        above = ledger.declared(name)
        ledger.edge(last, above)
        end = datetime(2026, 10, 28, 2, tzinfo=UTC)
        ledger.state(above, "succeeded", "2026-10-27", started_at=end - timedelta(hours=1), ended_at=end)
    assert [reason.expected_at is None for reason in ask(database, "last").reasons] == [False, False, False]
    monkeypatch.setattr("dataforge.ledger.question.EXPECTED_OF_EACH", 2)
    assert sum(reason.expected_at is None for reason in ask(database, "last").reasons) == 1


def test_weak_evidence_confirms_nothing(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders")
    ledger.edge(load, orders)
    ledger.state(orders, "succeeded", evidence="inferred")
    assert reasons(ask(database, "load")) == [("upstream_unconfirmed", "orders", DAY, "ready")]


def test_the_past_says_when_to_expect_what_is_missing_or_runs(database: Database, ledger: Ledger) -> None:
    load, extract = ledger.declared("load"), ledger.declared("extract")
    ledger.edge(load, extract)
    for day, minutes in ((25, 10), (26, 20), (27, 90)):
        end = datetime(2026, 10, day + 1, tzinfo=UTC) + timedelta(hours=2)
        start = end - timedelta(minutes=minutes)
        ledger.state(extract, "succeeded", f"2026-10-{day}", started_at=start, ended_at=end)
    assert ask(database, "load").reasons[0].expected_at == datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
    ledger.state(extract, "running", started_at=NOW)
    assert ask(database, "load").reasons[0].expected_at == NOW + timedelta(minutes=20)


def test_a_run_waits_for_its_time(database: Database, ledger: Ledger) -> None:
    ledger.declared("load", run_after="PT48H")
    answer = ask(database, "load")
    assert answer.reasons[0].code == "not_before"
    assert answer.reasons[0].expected_at == datetime(2026, 11, 4, tzinfo=UTC)


def test_how_far_each_source_was_seen_is_part_of_the_verdict(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders")
    ledger.edge(load, orders)
    for source in ("ns", "s3", "elsewhere"):
        ledger.connection.execute("insert into progress values (%s, %s, %s)", [ENVIRONMENT, source, NOW])
    assert ask(database, "load").observed_through == {"ns": NOW, "s3": NOW}


def test_an_unknown_task_is_not_found_and_an_unknown_environment_neither(database: Database, ledger: Ledger) -> None:
    ledger.declared("load")
    with pytest.raises(NotFound) as refused:
        ask(database, "oad")
    assert refused.value.candidates == ["ns/load"]
    with pytest.raises(NotFound, match="nowhere"):
        verdict(database, "nowhere", Named("load"), NOW)


def test_a_batch_answers_in_the_order_asked_and_on_one_moment(database: Database, ledger: Ledger) -> None:
    ledger.declared("load")
    for namespace in ("a", "b"):
        ledger.task("twice", namespace=namespace, observed={"upstreams": []})
    asked = [
        Named("load", "ns", DAY),
        Named("nobody"),
        Named("twice"),
        Named("twice", "b"),
        Named("load\0", None, DAY),
        Named("load", None, "2026-13-01"),
        Named("load", None, DAY),
    ]
    answers = readiness(database, "dev", asked, NOW)
    assert isinstance(answers, Answers)
    codes = [[reason.code.value for reason in item.reasons] for item in answers.items]
    assert codes == [[], ["no_such_task"], ["no_such_task"], [], ["no_such_task"], ["no_such_partition"], []]
    ambiguous = answers.items[2]
    assert isinstance(ambiguous, Unanswered)
    assert ambiguous.candidates == ("a/twice", "b/twice")
    assert {item.decided_at for item in answers.items} == {NOW}
    assert answers.items[0] == answers.items[6]


def test_alone_and_in_a_batch_the_verdict_is_the_same(database: Database, ledger: Ledger) -> None:
    load, extract = ledger.declared("load"), ledger.declared("extract")
    ledger.edge(load, extract)
    days = [f"2026-10-{day:02}" for day in range(1, 31)]
    for place, day in enumerate(days):
        if place % 3:
            ledger.state(extract, ("succeeded", "failed")[place % 2], day)
    batch = readiness(database, "dev", [Named("load", None, day) for day in days], NOW)
    assert list(batch.items) == [ask(database, "load", day) for day in days]


def test_the_newest_that_is_ready_serves_where_it_is_not_too_old(database: Database, ledger: Ledger) -> None:
    load, rates = ledger.declared("load"), ledger.dataset("rates", partitioning=DAILY)
    ledger.edge(load, rates, mapping={"kind": "last", "not_older_than": "P2D"})
    ledger.state(rates, "succeeded", "2026-10-29")
    waiting = ask(database, "load")
    assert reasons(waiting) == [("upstream_missing", "rates", DAY, "missing")]
    assert "none of the 3 partitions from 2026-10-30 to 2026-11-01 serves" in waiting.reasons[0].message
    ledger.state(rates, "succeeded", "2026-10-30")
    assert ask(database, "load").runnable
    ledger.state(rates, "failed", "2026-10-31")
    assert ask(database, "load").runnable


def test_of_windows_longer_than_what_may_be_old_none_is_told(database: Database, ledger: Ledger) -> None:
    load, rates = ledger.declared("load"), ledger.dataset("rates", partitioning={"kind": "monthly"})
    ledger.edge(load, rates, mapping={"kind": "last", "not_older_than": "PT1H"})
    answer = ask(database, "load")
    assert reasons(answer) == [("partition_unknown", "rates", None, None)]
    assert "no monthly partition of it ended from" in answer.reasons[0].message


def test_a_run_that_writes_other_partitions_than_its_own_tells_why_they_do_not_come(
    database: Database, ledger: Ledger
) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders", partitioning=DAILY)
    report = ledger.declared("report")
    ledger.edge(load, orders, "produces", mapping={"kind": "window", "from": -1, "to": -1})
    ledger.edge(report, orders)
    ledger.state(load, "failed", DAY)
    assert ask(database, "report").status == "waiting"
    ledger.state(load, "failed", "2026-11-02")
    assert "will not by itself: load failed" in ask(database, "report").reasons[0].message


def test_a_task_does_not_wait_for_the_days_that_it_rewrites(database: Database, ledger: Ledger) -> None:
    load, orders = ledger.declared("load"), ledger.dataset("orders", partitioning=DAILY)
    ledger.edge(load, orders, "produces", mapping={"kind": "window", "from": -2, "to": 0})
    ledger.edge(load, orders, mapping={"kind": "window", "from": -3, "to": 0})
    assert reasons(ask(database, "load")) == [("upstream_missing", "orders", "2026-10-29", "missing")]
