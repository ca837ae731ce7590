"""Running again what is done: recorded with its reason, all of it or none, and in the order of its dependence."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.dispatch import rerun as dispatch
from dataforge.ingest.replay import verify
from dataforge.ledger.readiness import readiness
from dataforge.model.errors import Conflict, InvalidInput, NotFound
from dataforge.model.question import Named
from dataforge.model.rerun import Downstream, Rerunning
from dataforge.storage.database import Database
from tests.dispatch.night import DAY, LAKE, asked, at, claimed, codes, declared, ended, ordered, recorded, task

ORDERS = {"namespace": LAKE, "name": "orders"}


def _rerun(
    database: Database, name: str, downstream: Downstream = "none", minutes: float = 60, **more: Any
) -> list[str]:
    wanted = Rerunning(name=name, partition=DAY, reason="a late file", downstream=downstream, by="anna@example.com")
    return [item.task.name for item in dispatch.rerun(database, "dev", wanted, at(minutes), **more).items]


@pytest.fixture
def night(database: Database) -> Database:
    """load writes orders, clean reads them, report comes after clean; all of it has run, and spare never did."""
    reads: list[dict[str, Any]] = [{"dataset": ORDERS}]
    declared(
        database,
        task("load", produces=[ORDERS]),
        task("clean", consumes=reads),
        task("report", "clean"),
        task("spare", "load"),
    )
    for minutes, name in enumerate(("load", "clean", "report")):
        outputs = [{**ORDERS, "partition": DAY}] if name == "load" else []
        ended(database, claimed(database, name, minutes * 2), "completed", minutes * 2 + 1, outputs=outputs)
    return database


@pytest.mark.parametrize(
    ("downstream", "expected"),
    [("none", ["load"]), ("direct", ["load", "clean"]), ("all", ["load", "clean", "report"])],
)
def test_what_was_built_downstream_is_run_again_as_far_as_it_is_asked_for(
    night: Database, downstream: Downstream, expected: list[str]
) -> None:
    assert _rerun(night, "load", downstream, dry_run=True) == expected
    assert codes(asked(night, "load")) == ["already_done"]
    assert _rerun(night, "load", downstream) == expected
    assert [
        name for name in ("load", "clean", "report") if codes(asked(night, name))[:1] != ["already_done"]
    ] == expected
    assert verify(night, "dev").difference is None


def test_each_waits_until_what_it_needs_has_been_made_again(night: Database) -> None:
    _rerun(night, "load", "all")
    assert [codes(asked(night, name, 61)) for name in ("load", "clean", "report")] == [
        [],
        ["upstream_stale"],
        ["upstream_stale"],
    ]
    granted = claimed(night, "load", 62)
    assert codes(asked(night, "clean", 63)) == ["upstream_running"] or codes(asked(night, "clean", 63)) == [
        "upstream_stale"
    ]
    ended(night, granted, "completed", 64, outputs=[{**ORDERS, "partition": DAY}])
    assert [codes(asked(night, name, 65)) for name in ("clean", "report")] == [[], ["upstream_stale"]]
    ended(night, claimed(night, "clean", 66), "completed", 67)
    assert codes(asked(night, "report", 68)) == []


def test_what_is_not_done_has_nothing_to_run_again(night: Database) -> None:
    with pytest.raises(Conflict, match="not done"):
        _rerun(night, "spare")
    with pytest.raises(NotFound):
        _rerun(night, "nobody")


def test_an_order_without_a_reason_changes_nothing(night: Database) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        dispatch.rerun(night, "dev", Rerunning(name="load", partition=DAY, reason=""), at(60))
    assert codes(asked(night, "load")) == ["already_done"]


def test_an_order_about_what_never_ran_says_nothing_of_it_whatever_else_is_asked(database: Database) -> None:
    blocks = {"task": {"namespace": "ns", "name": "load"}, "staleness": "block"}
    declared(database, task("load"), task("report", consumes=[blocks]))
    recorded(database, ordered("rerun", 0, "load", partition=DAY, reason="a late file"))
    together = readiness(database, "dev", [Named("load", None, DAY), Named("report", None, DAY)], at(60)).items
    assert codes(together[1]) == codes(asked(database, "report")) == ["upstream_missing"]


@pytest.fixture
def shared(database: Database) -> Database:
    """north and south both write orders, clean reads them; all of it has run."""
    declared(
        database,
        task("north", produces=[ORDERS]),
        task("south", produces=[ORDERS]),
        task("clean", consumes=[{"dataset": ORDERS}]),
    )
    for minutes, name in enumerate(("north", "south", "clean")):
        _again(database, name, minutes * 2)
    return database


def _again(database: Database, name: str, minutes: float) -> None:
    outputs = [] if name == "clean" else [{**ORDERS, "partition": DAY}]
    ended(database, claimed(database, name, minutes), "completed", minutes + 1, outputs=outputs)


@pytest.mark.parametrize("name", ["north", "south"])
def test_what_several_make_is_made_again_once_the_one_has_run_that_was_ordered_to(shared: Database, name: str) -> None:
    _rerun(shared, name, "all")
    assert codes(asked(shared, "clean", 61)) == ["upstream_stale"]
    _again(shared, name, 62)
    assert codes(asked(shared, "clean", 64)) == []


@pytest.mark.parametrize(("first", "second"), [("north", "south"), ("south", "north")])
def test_of_several_that_were_ordered_to_run_again_each_is_waited_for(
    shared: Database, first: str, second: str
) -> None:
    _rerun(shared, first, "all")
    _rerun(shared, second, "all", 61)
    _again(shared, first, 62)
    assert codes(asked(shared, "clean", 64)) == ["upstream_stale"]
    _again(shared, second, 65)
    assert codes(asked(shared, "clean", 67)) == []
