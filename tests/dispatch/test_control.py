"""Orders: each is a fact, the latest stands whatever came first, and verdicts say who ordered what."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from dataforge.dispatch.announce import announce
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.ledger.verify import digest
from dataforge.model.filter import PartitionFilter
from dataforge.storage.database import Database
from tests.dispatch.night import DAY, LAKE, asked, at, claimed, codes, declared, ended, ordered, recorded, said, task

ORDERS = {"namespace": LAKE, "name": "orders", "partition": DAY}


def _status(database: Database, name: str) -> list[str]:
    return [each.state.value for each in catalog.partitions(database, "dev", PartitionFilter(name=name)).items]


@pytest.mark.parametrize("about", [{"name": "load"}, {"name": "load", "partition": DAY}, {"domain": "sales"}, {}])
@pytest.mark.parametrize(("verb", "code"), [("pause", "paused"), ("cancel", "canceled")])
def test_what_is_held_may_not_run_until_it_is_resumed(
    database: Database, about: dict[str, Any], verb: str, code: str
) -> None:
    declared(database, task("load", domain="sales"))
    recorded(database, ordered(verb, 0, reason="the source is broken", **about))
    held = asked(database, "load")
    assert (codes(held), held.status, held.reasons[0].owner) == ([code], "blocked", "anna@example.com")
    assert "the source is broken" in held.reasons[0].message
    recorded(database, ordered("resume", 1, **about))
    assert asked(database, "load").runnable


def test_a_hold_of_one_partition_or_domain_holds_no_other(database: Database) -> None:
    declared(database, task("load", domain="sales"))
    recorded(database, ordered("pause", 0, "load", partition="2026-11-04"), ordered("pause", 0, domain="finance"))
    assert asked(database, "load").runnable


def test_a_gate_waits_for_an_approval_of_that_partition(database: Database) -> None:
    declared(database, task("release", gates=["clinical-review"]))
    assert (codes(asked(database, "release")), asked(database, "release").status) == (["gate_pending"], "blocked")
    recorded(database, ordered("approve", 0, "release", partition="2026-11-04", gate="clinical-review"))
    assert codes(asked(database, "release")) == ["gate_pending"]
    recorded(database, ordered("refuse", 1, "release", partition=DAY, gate="clinical-review", reason="two outliers"))
    assert "was refused by anna@example.com: two outliers" in asked(database, "release").reasons[0].message
    recorded(database, ordered("approve", 2, "release", partition=DAY, gate="clinical-review"))
    assert asked(database, "release").runnable


def test_a_named_fact_lets_in_when_it_has_the_value_that_is_required(database: Database) -> None:
    each_day = {"fact": "fx-rates", "equals": "final", "each_partition": True}
    declared(database, task("report", requires=[{"fact": "books-closed"}, each_day]))
    assert codes(asked(database, "report")) == ["condition_unmet", "condition_unmet"]
    recorded(database, ordered("set", 0, fact="books-closed", value=True))
    recorded(database, ordered("set", 0, fact="fx-rates", value="final"))  # of no partition
    recorded(database, ordered("set", 0, fact="fx-rates", partition=DAY, value="draft"))
    (reason,) = asked(database, "report").reasons
    assert reason.message == 'fx-rates is "draft", and has to be "final"'
    recorded(database, ordered("set", 1, fact="fx-rates", partition=DAY, value="final"))
    assert asked(database, "report").runnable
    recorded(database, ordered("set", 2, fact="books-closed", value=1))
    assert [reason.message for reason in asked(database, "report").reasons] == ["books-closed is 1, and has to be true"]


def test_nothing_runs_before_the_time_that_was_ordered(database: Database) -> None:
    declared(database, task("load"))
    recorded(database, ordered("not_before", 0, "load", partition=DAY, until=at(90).isoformat()))
    early = asked(database, "load", 60)
    assert (codes(early), early.status, early.reasons[0].expected_at) == (["not_before"], "waiting", at(90))
    assert asked(database, "load", 90).runnable


def test_a_rerun_makes_a_done_partition_runnable_until_a_run_has_begun(database: Database) -> None:
    declared(database, task("load"))
    ended(database, claimed(database, "load", 0), "completed", 5)
    assert codes(asked(database, "load")) == ["already_done"]
    recorded(database, ordered("rerun", 10, "load", partition=DAY, reason="a late file"))
    again = asked(database, "load")
    assert (again.runnable, again.status, [each.code.value for each in again.warnings]) == (
        True,
        "runnable",
        ["rerun_ordered"],
    )
    granted = claimed(database, "load", 15)
    assert granted.attempt == 2
    ended(database, granted, "completed", 20)
    assert codes(asked(database, "load")) == ["already_done"]


def test_an_order_to_run_again_given_while_it_runs_is_outstanding_when_that_run_ends(database: Database) -> None:
    declared(database, task("load"))
    granted = claimed(database, "load", 0)
    recorded(database, ordered("rerun", 3, "load", partition=DAY, reason="a late file"))
    assert codes(asked(database, "load", 4)) == ["already_running"]
    ended(database, granted, "completed", 5)
    assert asked(database, "load").runnable


def test_reruns_of_a_chain_come_in_its_order(database: Database) -> None:
    declared(database, task("extract"), task("load", "extract"), task("other", "extract"))
    ended(database, claimed(database, "extract", 0), "completed", 1)
    ended(database, claimed(database, "load", 2), "completed", 3)
    for name in ("extract", "load"):
        recorded(database, ordered("rerun", 10, name, partition=DAY, reason="a late file"))
    assert asked(database, "extract").runnable
    waiting = asked(database, "load")
    assert (codes(waiting), waiting.status) == (["upstream_stale"], "waiting")
    other = asked(database, "other")
    assert (other.runnable, [each.code.value for each in other.warnings]) == (True, ["upstream_stale"])
    ended(database, claimed(database, "extract", 15), "completed", 16)
    assert asked(database, "load").runnable


def test_what_is_quarantined_serves_nobody_until_it_is_released(database: Database) -> None:
    declared(database, task("load"), task("report", consumes=[{"dataset": {"namespace": LAKE, "name": "orders"}}]))
    ended(database, claimed(database, "load", 0), "completed", 5, outputs=[ORDERS])
    assert asked(database, "report").runnable
    about: dict[str, Any] = {
        "dataset": {"namespace": LAKE, "name": "orders"},
        "partition": DAY,
        "reason": "half of it is missing",
    }
    recorded(database, ordered("quarantine", 10, **about))
    assert (codes(asked(database, "report")), _status(database, "orders")) == (
        ["upstream_quarantined"],
        ["quarantined"],
    )
    recorded(database, ordered("release", 11, **about))
    assert (asked(database, "report").runnable, _status(database, "orders")) == (True, ["ready"])
    assert verify(database, "dev").difference is None


def test_what_was_made_anew_needs_no_release_and_an_older_run_does(database: Database) -> None:
    about: dict[str, Any] = {
        "dataset": {"namespace": LAKE, "name": "orders"},
        "partition": DAY,
        "reason": "half of it is missing",
    }
    recorded(database, said("load", "succeeded", 5, run="a", outputs=[ORDERS]), ordered("quarantine", 10, **about))
    recorded(database, said("load", "running", 11, run="b"), said("load", "succeeded", 12, run="b", outputs=[ORDERS]))
    assert _status(database, "orders") == ["ready"]
    recorded(database, ordered("quarantine", 13, **about))
    assert _status(database, "orders") == ["quarantined"]


def test_orders_and_runs_give_one_state_in_any_order(database: Database) -> None:
    about: dict[str, Any] = {"dataset": {"namespace": LAKE, "name": "orders"}, "partition": DAY, "reason": "r"}
    events = [
        said("load", "running", 0, run="a"),
        said("load", "succeeded", 5, run="a", outputs=[ORDERS]),
        ordered("quarantine", 6, **about),
        ordered("release", 7, **about),
        ordered("quarantine", 8, **about),
        said("load", "running", 9, run="b"),
        said("load", "succeeded", 12, run="b", outputs=[ORDERS]),
        ordered("pause", 1, "load"),
        ordered("resume", 2, "load"),
        ordered("pause", 2, "load", reason="the same moment"),
        ordered("rerun", 13, "load", partition=DAY, reason="late"),
        ordered("set", 3, fact="books-closed", value=None),
    ]
    recorded(database, *events)
    expected = digest(database, "dev")
    with database.transaction() as connection:
        for number in range(12):
            connection.execute("insert into environment (name) values (%s)", [f"shuffle-{number}"])
    for number in range(12):
        random = Random(number)
        shuffled = random.sample(events, len(events)) + random.sample(events, 4)
        while shuffled:
            size = random.randint(1, 5)
            bodies = [json.dumps(event).encode() for event in shuffled[:size]]
            assert record_native(database, f"shuffle-{number}", bodies, NOTHING).rejected == []
            shuffled = shuffled[size:]
        assert digest(database, f"shuffle-{number}") == expected


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"control": "stop"}, "control"),
        ({"by": ""}, "by"),
        ({"domain": "sales"}, "$"),
        ({"gate": "g"}, "gate"),
        ({"value": 1}, "value"),
        ({"until": "2026-11-01T00:00:00Z"}, "until"),
        ({"control": "cancel"}, "reason"),
        ({"control": "approve"}, "gate"),
        ({"control": "not_before"}, "until"),
        ({"control": "not_before", "until": "tomorrow"}, "until"),
        ({"control": "set"}, "$"),
        ({"control": "quarantine", "reason": " "}, "reason"),
        ({"control": "rerun"}, "reason"),
        ({"time": "9999-01-01T00:00:00Z"}, "time"),
        ({"task": None, "partition": DAY}, "partition"),
        ({"partition": ""}, "partition"),
        ({"who": "me"}, "who"),
    ],
)
def test_an_order_that_means_nothing_is_refused_by_its_field(
    database: Database, event: dict[str, Any], field: str
) -> None:
    body = json.dumps(ordered("pause", 0, "load") | event).encode()
    (rejected,) = record_native(database, "dev", [body], NOTHING).rejected
    assert field in [error.field for error in rejected.errors]


def test_what_a_check_refused_is_announced_when_it_is_released_or_made_anew(database: Database) -> None:
    orders = {"namespace": LAKE, "name": "orders"}
    declared(database, task("load"), task("report", consumes=[{"dataset": orders}]))
    failed = {**ORDERS, "checks": [{"name": "unique_id", "success": False}]}
    recorded(database, said("load", "running", 0, run="a"), said("load", "succeeded", 5, run="a", outputs=[ORDERS]))
    assert announced(database, 6) == ["report"]
    recorded(database, said("check", "failed", 7, inputs=[failed]))
    assert announced(database, 8) == []
    recorded(database, ordered("release", 9, dataset=orders, partition=DAY, reason="looked at"))
    assert announced(database, 10) == ["report"]
    recorded(database, said("check", "failed", 11, run="again", inputs=[failed]))
    assert announced(database, 12) == []
    recorded(database, said("load", "running", 13, run="b"), said("load", "succeeded", 14, run="b", outputs=[ORDERS]))
    assert announced(database, 15) == ["report"]


def announced(database: Database, minutes: float) -> list[str]:
    while announce(database, "dev", at(minutes)):
        pass
    return [each.task.name for each in waiting(database, "dev", 100, at(minutes)).items if each.task.name == "report"]
