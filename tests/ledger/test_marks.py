"""Marks and clears: what a person says of a run outranks its platform until a later try begins, in any order."""

from __future__ import annotations

import json
from itertools import count
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.dispatch.announce import announce
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.ledger.freshness import freshness
from dataforge.ledger.verify import digest
from dataforge.model.catalog import RunItem
from dataforge.model.filter import RunFilter
from dataforge.model.freshness import FreshnessQuestion
from dataforge.storage.database import Database
from tests.dispatch.night import DAY, LAKE, asked, at, claimed, codes, declared, ended, ordered, recorded, said, task

ORDERS = {"namespace": LAKE, "name": "orders", "partition": DAY}
READS: dict[str, Any] = {"consumes": [{"dataset": {"namespace": LAKE, "name": "orders"}}]}
FRESH = count()  # of environments: examples share a database


def marked(minutes: float, state: str, name: str = "load", **more: Any) -> dict[str, Any]:
    verb = {"control": "clear"} if state == "cleared" else {"control": "mark", "state": state}
    return ordered("mark", minutes, name, partition=DAY, reason="looked at", **more) | verb


def run_of(database: Database, name: str = "load", environment: str = "dev") -> RunItem:
    (item,) = catalog.runs(database, environment, RunFilter(name=name)).items
    return item


def test_a_mark_outranks_what_the_platform_said_and_says_of_that_try(database: Database) -> None:
    declared(database, task("load"), task("report", "load"))
    recorded(database, said("load", "running", 0), said("load", "failed", 5, error="boom"))
    recorded(database, marked(10, "succeeded"), said("load", "failed", 12))
    run = run_of(database)
    assert (run.state, run.evidence, run.ended_at, run.error) == ("succeeded", "operator", at(10), None)
    assert run.marked is not None
    assert (run.marked.by, run.marked.at, run.marked.reason) == ("anna@example.com", at(10), "looked at")
    assert asked(database, "report").runnable
    own = asked(database, "load")
    assert (codes(own), [warning.message for warning in own.warnings]) == (
        ["already_done"],
        ["its run was marked succeeded by anna@example.com: looked at"],
    )
    assert verify(database, "dev").difference is None


def test_a_later_try_counts_by_itself(database: Database) -> None:
    declared(database, task("load"))
    recorded(database, said("load", "failed", 5), marked(10, "succeeded"))
    recorded(database, said("load", "running", 20, attempt=2))
    assert (run_of(database).state, run_of(database).marked) == ("running", None)
    recorded(database, said("load", "failed", 25, attempt=2))
    assert (run_of(database).state, run_of(database).evidence) == ("failed", "reported")


def test_what_waits_for_a_run_that_was_marked_failed_says_who_said_so(database: Database) -> None:
    declared(database, task("load"), task("report", "load"))
    recorded(database, said("load", "running", 0), said("load", "succeeded", 5), marked(10, "failed"))
    [reason] = asked(database, "report").reasons
    assert (reason.code, reason.message) == (
        "upstream_failed",
        f"load for {DAY} failed, as marked by anna@example.com: looked at",
    )
    assert asked(database, "load").runnable


def test_a_cleared_run_may_run_again_and_nothing_is_stale_before_it_has(database: Database) -> None:
    declared(database, task("load"), task("report", **READS), task("other", **READS))
    recorded(database, said("load", "running", 0), said("load", "succeeded", 5, outputs=[ORDERS]))
    recorded(database, said("report", "running", 6), said("report", "succeeded", 7), marked(10, "cleared"))
    own = asked(database, "load")
    assert (own.runnable, [warning.code for warning in own.warnings]) == (True, ["marked"])
    assert own.warnings[0].message == "its run was cleared by anna@example.com: looked at, and is to be run again"
    [reason] = asked(database, "other").reasons
    assert (reason.code, reason.message) == (
        "upstream_running",
        f"orders for {DAY} was cleared by anna@example.com: looked at, and is to be run again",
    )
    question = FreshnessQuestion(name="report", kind="task", partition=DAY)
    assert freshness(database, "dev", [question], at(60)).items[0].status == "fresh"
    while announce(database, "dev", at(11)):
        pass
    assert [each.task.name for each in waiting(database, "dev", 10, at(11)).items] == ["load"]
    granted = claimed(database, "load", 20)
    assert codes(asked(database, "load", 21)) == ["already_running"]
    ended(database, granted, "completed", 25, outputs=[ORDERS])
    assert codes(asked(database, "load")) == ["already_done"]
    assert freshness(database, "dev", [question], at(60)).items[0].status == "stale"
    assert verify(database, "dev").difference is None


def test_to_confirm_what_the_platform_said_changes_no_time(database: Database) -> None:
    declared(database, task("load"))
    recorded(database, said("load", "running", 0), said("load", "succeeded", 5), marked(10, "succeeded"))
    assert (run_of(database).ended_at, run_of(database).evidence) == (at(5), "operator")


def test_what_nobody_has_told_of_may_be_marked(database: Database) -> None:
    declared(database, task("load"), task("report", "load"))
    recorded(database, marked(10, "skipped"))
    assert (run_of(database).state, run_of(database).partitions) == ("skipped", [DAY])
    recorded(database, marked(11, "succeeded"))
    assert asked(database, "report").runnable


def test_a_mark_of_a_mapped_run_is_of_all_its_instances(database: Database) -> None:
    declared(database, task("load"), task("report", "load"))
    of = {"instances": 2, "run": "m"}
    recorded(database, said("load", "succeeded", 1, map_index=0, **of), said("load", "failed", 2, map_index=1, **of))
    recorded(database, marked(10, "succeeded", run="m"))
    assert asked(database, "report").runnable
    recorded(database, marked(11, "failed", run="m[0]"))
    assert codes(asked(database, "report")) == ["upstream_failed"]


def test_a_mark_of_an_older_run_moves_nothing_of_a_newer_one(database: Database) -> None:
    declared(database, task("load"), task("report", "load"))
    recorded(database, said("load", "running", 0, run="a", attempt=7), said("load", "failed", 5, run="a", attempt=7))
    recorded(database, said("load", "running", 6, run="b"), said("load", "succeeded", 8, run="b"))
    assert asked(database, "report").runnable  # a new execution outranks an old one whatever their try numbers
    recorded(database, marked(10, "failed", run="a"))
    assert asked(database, "report").runnable


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"state": None}, "state"),
        ({"state": "running"}, "state"),
        ({"control": "clear"}, "state"),
        ({"reason": ""}, "reason"),
        ({"by": ""}, "by"),
        ({"control": "pause", "state": None, "run": "x"}, "run"),
        ({"run": ""}, "run"),
        ({"task": None}, "$"),
    ],
)
def test_a_mark_that_means_nothing_is_refused_by_its_field(
    database: Database, event: dict[str, Any], field: str
) -> None:
    body = json.dumps(marked(0, "succeeded") | event).encode()
    (rejected,) = record_native(database, "dev", [body], NOTHING).rejected
    assert field in [error.field for error in rejected.errors]


class Fact(NamedTuple):
    """A try (number, its begin and, where it has one, its end), or a mark."""

    number: int
    minute: int
    took: int | None
    state: str


tries = st.builds(
    Fact,
    st.integers(1, 3),
    st.integers(0, 20).map(lambda each: 2 * each),
    st.one_of(st.none(), st.integers(1, 9)),
    st.sampled_from(["succeeded", "failed"]),
)
marks = st.builds(
    Fact,
    st.just(0),
    st.integers(0, 24).map(lambda each: 2 * each + 1),
    st.none(),
    st.sampled_from(["succeeded", "failed", "skipped", "cleared"]),
)


def plainly(told: list[Fact]) -> tuple[str, str]:
    """The rule in plain words: the last mark, unless a try has begun since; else the last try."""
    attempts = [fact for fact in told if fact.number]
    said_so = [fact for fact in told if not fact.number]
    last_mark = max(said_so, key=lambda fact: fact.minute, default=None)
    if last_mark is not None and all(each.minute < last_mark.minute for each in attempts):
        return ("queued" if last_mark.state == "cleared" else last_mark.state, "operator")
    last = max(attempts, key=lambda fact: fact.number)
    return ("running" if last.took is None else last.state, "reported")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told=st.tuples(
        st.lists(tries, max_size=3, unique_by=lambda fact: fact.number),
        st.lists(marks, max_size=3, unique_by=lambda fact: fact.minute),
    ).map(lambda both: both[0] + both[1]),
    seed=st.integers(0, 99),
)
def test_the_set_of_facts_decides_and_not_their_order(module_database: Database, told: list[Fact], seed: int) -> None:
    if not told:
        return
    events = []
    for fact in told:
        if fact.number:
            events.append(said("load", "running", fact.minute, attempt=fact.number, outputs=[ORDERS]))
            if fact.took is not None:
                end = fact.minute + fact.took
                events.append(said("load", fact.state, end, attempt=fact.number, outputs=[ORDERS]))
        else:
            events.append(marked(fact.minute, fact.state))
    names = [f"mark-{next(FRESH)}" for _ in range(2)]
    with module_database.transaction() as connection:
        for name in names:
            connection.execute("insert into environment (name) values (%s)", [name])
    shuffled = Random(seed).sample(events, len(events))
    assert record_native(module_database, names[0], [json.dumps(e).encode() for e in events], NOTHING).rejected == []
    for event in shuffled:
        assert record_native(module_database, names[1], [json.dumps(event).encode()], NOTHING).rejected == []
    run = run_of(module_database, environment=names[0])
    assert (run.state, run.evidence) == plainly(told)
    assert digest(module_database, names[0]) == digest(module_database, names[1])
