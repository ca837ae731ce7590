"""Which deadlines a plan says it would endanger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dataforge.model.backfill import Hours, Plan
from dataforge.storage.database import Database
from tests.dispatch.backfilled import CLEAN, DAYS, ORDERS, planned, run
from tests.dispatch.night import DAILY, NOW, declared, task

LAST = "2026-11-05"  # its window ends five hours before NOW
_AT_SIX = {"at": "06:00"}


def _chain(database: Database, due: dict[str, Any], **more: Any) -> None:
    """load writes orders, clean reads it and writes clean, report comes after clean and is due."""
    declared(
        database,
        task("load", produces=[ORDERS]),
        task("clean", consumes=[{"dataset": ORDERS}], produces=[CLEAN]),
        task("report", consumes=[{"dataset": CLEAN}], due=due),
        **more,
    )


def _missed(plan: Plan) -> list[tuple[str, str]]:
    assert plan.deadlines.endangered == len(plan.deadlines.first)
    assert all(each.due_at < each.expected_at for each in plan.deadlines.first)
    return [(each.node.name, each.partition) for each in plan.deadlines.first]


def test_what_a_plan_builds_too_late_is_named_with_when_it_is_due_and_when_it_comes(database: Database) -> None:
    _chain(database, {"after": "PT5H2M"})
    plan = planned(database, "load", days=(LAST, LAST), direction="downstream")
    [found] = plan.deadlines.first
    assert (found.node.kind, found.node.name, found.partition) == ("task", "report", LAST)
    assert found.due_at - NOW == timedelta(minutes=2)
    assert found.expected_at - NOW == timedelta(minutes=3)  # three runs, of which nobody knows how long they take
    assert plan.deadlines.all_seen


def test_what_comes_in_time_is_not_endangered_nor_what_was_due_before(database: Database) -> None:
    _chain(database, {"after": "PT5H3M"})
    days = (DAYS[0], LAST)
    assert _missed(planned(database, "load", days=days, direction="downstream")) == []
    _chain(database, {"after": "PT5H2M"})
    assert _missed(planned(database, "load", days=days, direction="downstream")) == [("report", LAST)]


def test_what_waits_for_what_is_built_is_endangered_though_it_is_not_in_the_plan(database: Database) -> None:
    _chain(database, {"after": "PT5H2M"})
    assert _missed(planned(database, "load", days=(LAST, LAST))) == [("report", LAST)]
    assert _missed(planned(database, "clean", days=(LAST, LAST))) == []


def test_what_is_there_is_not_endangered_by_what_is_built_anew(database: Database) -> None:
    _chain(database, {"after": "PT6H"})
    for minutes, name in enumerate(("load", "clean", "report")):
        run(database, name, LAST, minutes * 2)
    hours = Hours(begin="22:00", end="23:00")
    again = planned(database, "load", days=(LAST, LAST), overwrite="always", minutes=10, hours=hours)
    assert (again.planned, _missed(again)) == (1, [])
    below = planned(
        database, "load", days=(LAST, LAST), direction="downstream", overwrite="always", minutes=10, hours=hours
    )
    assert _missed(below) == [("report", LAST)]


def test_a_window_that_ends_while_the_backfill_runs_is_looked_at_too(database: Database) -> None:
    declared(
        database,
        task("load", produces=[ORDERS]),
        task("week", consumes=[{"dataset": ORDERS, "mapping": {"kind": "window", "from": -6, "to": 0}}], due=_AT_SIX),
    )
    slow = planned(database, "load", days=(LAST, LAST), budget=0.01)
    assert slow.estimate.ends_at == NOW + timedelta(hours=99)  # the tenth at eight
    assert _missed(slow) == [("week", f"2026-11-{day:02}") for day in (5, 6, 7, 8, 9)]


def test_a_dataset_may_be_due_by_itself(database: Database) -> None:
    due = [{**CLEAN, "partitioning": DAILY, "due": {"after": "PT5H1M30S"}, "owner": "team-lake@example.com"}]
    _chain(database, {"after": "P2D"}, datasets=due)
    [found] = planned(database, "load", days=(LAST, LAST)).deadlines.first
    assert (found.node.kind, found.node.name, found.partition) == ("dataset", CLEAN["name"], LAST)
    assert found.owner == "team-lake@example.com"


def test_more_than_can_be_looked_at_is_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataforge.ledger.backfill_search.MOST_ITEMS", 1)
    _chain(database, _AT_SIX)
    deadlines = planned(database, "load", days=(LAST, LAST)).deadlines
    assert (deadlines.all_seen, deadlines.endangered) == (False, 0)
