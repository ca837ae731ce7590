"""Plans of backfills: what is rebuilt, in which order, what is left as it is, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.dispatch import backfill as dispatch
from dataforge.model.backfill import Backfilling, Cap, Hours, Target
from dataforge.model.errors import Conflict, InvalidInput, NotFound
from dataforge.storage.database import Database
from tests.dispatch.backfilled import DAYS, ORDERS, begun, chain, planned, run, to_build, wanted
from tests.dispatch.night import LAKE, at, declared, ordered, recorded, task


def test_the_targets_alone_are_built_where_nothing_else_is_asked_for(database: Database) -> None:
    chain(database)
    assert to_build(planned(database, "load")) == [(1, "load", day) for day in DAYS]


def test_what_depends_on_the_targets_comes_in_later_waves(database: Database) -> None:
    chain(database)
    plan = planned(database, "load", direction="downstream")
    assert to_build(plan) == [
        (wave, name, day) for wave, name in ((1, "load"), (2, "clean"), (3, "report")) for day in DAYS
    ]
    assert plan.waves == (3, 3, 3)
    assert [(part.task.name, part.planned, part.first, part.last) for part in plan.tasks] == [
        (name, 3, DAYS[0], DAYS[-1]) for name in ("load", "clean", "report")
    ]


def test_what_the_targets_need_is_built_first_as_far_as_it_is_not_there(database: Database) -> None:
    chain(database)
    run(database, "load", DAYS[0], 0)
    assert to_build(planned(database, "report", direction="upstream", minutes=5)) == [
        (1, "clean", DAYS[0]),
        (1, "load", DAYS[1]),
        (1, "load", DAYS[2]),
        (2, "report", DAYS[0]),
        (2, "clean", DAYS[1]),
        (2, "clean", DAYS[2]),
        (3, "report", DAYS[1]),
        (3, "report", DAYS[2]),
    ]


def test_a_dataset_means_the_partitions_of_those_who_write_it(database: Database) -> None:
    chain(database)
    target = Target(name="orders", namespace="s3://lake", partitions=(DAYS[1],))
    plan = dispatch.preview(database, "dev", Backfilling(targets=(target,)), at(0))
    assert to_build(plan) == [(1, "load", DAYS[1])]


def test_what_is_good_is_left_with_its_reason_unless_it_is_to_be_overwritten(database: Database) -> None:
    chain(database)
    for name in ("load", "clean", "report"):
        run(database, name, DAYS[0], 0 if name == "load" else 2 if name == "clean" else 4)
    never = planned(database, "load", direction="downstream", days=(DAYS[0],), minutes=10)
    assert (never.planned, never.skipped) == (0, 3)
    assert {item.reason for item in never.items} == {"it is good"}
    always = planned(database, "load", direction="downstream", days=(DAYS[0],), overwrite="always", minutes=10)
    assert [name for _, name, _ in to_build(always)] == ["load", "clean", "report"]


def test_what_is_stale_is_built_where_that_is_asked_for_and_so_is_all_that_was_built_from_it(
    database: Database,
) -> None:
    chain(database)
    for minutes, name in ((0, "load"), (2, "clean"), (4, "report")):
        run(database, name, DAYS[0], minutes)
    recorded(database, ordered("rerun", 6, "load", partition=DAYS[0], reason="again"))
    run(database, "load", DAYS[0], 7)
    plan = planned(database, "load", direction="downstream", days=(DAYS[0],), overwrite="stale", minutes=10)
    assert [name for _, name, _ in to_build(plan)] == ["clean", "report"]
    assert [(item.task.name, item.reason) for item in plan.items if item.state == "skipped"] == [("load", "it is good")]
    unasked = planned(database, "load", direction="downstream", days=(DAYS[0],), minutes=10)
    assert unasked.planned == 0


def test_what_waits_for_something_that_is_not_in_the_plan_says_for_what(database: Database) -> None:
    chain(database)
    plan = planned(database, "clean", days=(DAYS[0],))
    assert plan.waiting == 1
    assert [item.reason for item in plan.items] == [f"it is missing; it waits for orders {DAYS[0]}, which is missing"]


def test_a_day_that_needs_the_one_before_comes_after_it(database: Database) -> None:
    before = {"kind": "window", "from": -1, "to": -1}
    declared(database, task("total", consumes=[{"task": {"namespace": "ns", "name": "total"}, "mapping": before}]))
    assert to_build(planned(database, "total")) == [(wave, "total", day) for wave, day in enumerate(DAYS, start=1)]


def test_a_plan_downstream_of_what_needs_its_own_yesterday_ends_with_the_last_window(database: Database) -> None:
    before = {"kind": "window", "from": -1, "to": -1}
    declared(database, task("total", consumes=[{"task": {"namespace": "ns", "name": "total"}, "mapping": before}]))
    plan = planned(database, "total", direction="downstream")
    assert [day for _, _, day in to_build(plan)] == [
        "2026-11-01",
        "2026-11-02",
        "2026-11-03",
        "2026-11-04",
        "2026-11-05",
    ]
    assert [item.reason for item in plan.items if item.state == "skipped"] == ["its window has not ended"]


def test_a_plan_without_an_end_is_refused_by_the_task_that_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataforge.ledger.backfill_search.MOST_ITEMS", 100)
    before = {"kind": "window", "from": -1, "to": -1}
    endless = {**task("total", consumes=[{"task": {"namespace": "ns", "name": "total"}, "mapping": before}])}
    declared(database, {**endless, "partitioning": {"kind": "daily"}})
    with pytest.raises(InvalidInput, match=r"more than 100 partitions .* total 2026-"):
        planned(database, "total", direction="upstream")


def test_a_task_that_updates_trigger_is_none_of_the_plan(database: Database) -> None:
    trigger = {"dataset": ORDERS}
    triggered = {"namespace": "ns", "name": "mail", "trigger": trigger}
    declared(database, task("load", produces=[ORDERS]), triggered)
    assert {name for _, name, _ in to_build(planned(database, "load", direction="downstream"))} == {"load"}


def test_the_estimate_follows_from_what_runs_took(database: Database) -> None:
    chain(database, cost=4)
    run(database, "load", "2026-11-05", 0)
    plan = planned(database, "load", minutes=5)
    assert plan.estimate.cost == 12
    assert plan.estimate.work_seconds == pytest.approx(3 * 30)
    assert plan.estimate.limited_by == "order"
    capped = planned(database, "load", minutes=5, caps=(Cap("task", 1),))
    assert (round(capped.estimate.seconds), capped.estimate.limited_by) == (90, "caps")
    paid = planned(database, "load", minutes=5, budget=4)
    assert (round(paid.estimate.seconds), paid.estimate.limited_by) == (2 * 3600, "budget")


_BAD: list[tuple[dict[str, Any], str]] = [
    ({"targets": ()}, "targets"),
    ({"targets": (Target(name="load"),)}, r"targets\[0\].partitions"),
    ({"targets": (Target(name="load", partitions=("2026-13-01",)),)}, r"targets\[0\].partitions\[0\]"),
    ({"targets": (Target(name="load", first="2026-11-02", last="2026-11-01"),)}, r"targets\[0\].to"),
    ({"targets": (Target(name="load", last="2026-11-01"),)}, r"targets\[0\].from"),
    ({"targets": (Target(name="load", first=DAYS[0], partitions=DAYS),)}, r"targets\[0\].partitions"),
    ({"targets": (Target(name="load", first="2026-11-30"),)}, r"targets"),
    ({"targets": (Target(name="bought", partitions=DAYS),)}, r"targets\[0\].name"),
    ({"caps": (Cap("all", 3, "load"),)}, r"caps\[0\].name"),
    ({"id": "17"}, "id"),
    ({"reason": "nul \0"}, "reason"),
    ({"by": ""}, "by"),
]


@pytest.mark.parametrize(("given", "field"), _BAD)
def test_what_cannot_be_planned_is_refused_by_its_field(database: Database, given: dict[str, Any], field: str) -> None:
    chain(database)
    declared(database, task("other", consumes=[{"dataset": {"namespace": "s3://lake", "name": "bought"}}]), source="b")
    asked = {"targets": (Target(name="load", first=DAYS[0], last=DAYS[1]),), **given}
    with pytest.raises(InvalidInput, match=field):
        dispatch.preview(database, "dev", Backfilling(**asked), at(0))


def test_what_was_missed_is_one_word(database: Database) -> None:
    declared(database, {**task("load"), "partitioning": {"kind": "daily", "start": "2026-11-02"}})
    run(database, "load", DAYS[1], 0)
    plan = dispatch.preview(database, "dev", Backfilling(targets=(Target(name="load", missed=True),)), at(5))
    assert [day for _, _, day in to_build(plan)] == ["2026-11-03", "2026-11-04", "2026-11-05"]
    assert plan.skipped == 1
    declared(database, {**task("load"), "partitioning": {"kind": "daily"}})
    with pytest.raises(InvalidInput, match=r"targets\[0\].missed"):
        dispatch.preview(database, "dev", Backfilling(targets=(Target(name="load", missed=True),)), at(5))


def test_who_begins_says_why_and_something_has_to_be_built(database: Database) -> None:
    chain(database)
    with pytest.raises(InvalidInput, match="reason"):
        begun(database, "load", reason=" ")
    for day in DAYS:
        run(database, "load", day, 0)
    with pytest.raises(Conflict, match="nothing to build"):
        begun(database, "load", minutes=5)
    with pytest.raises(NotFound):
        begun(database, "lode")


def test_one_that_is_begun_again_under_its_id_is_begun_once(database: Database) -> None:
    chain(database)
    name = "018f4b52-6d5e-7c3f-8a4b-0123456789ab"
    assert begun(database, "load", id=name) == begun(database, "load", id=name, minutes=2)
    with pytest.raises(Conflict, match="another backfill's"):
        begun(database, "clean", id=name)


def test_hours_are_checked(database: Database) -> None:
    chain(database)
    for hours, field in (
        (Hours(begin="25:00", end="06:00"), "hours.from"),
        (Hours(begin="06:00", end="06:00"), "hours.to"),
        (Hours(begin="22:00", end="06:00", time_zone="Europe/Bonn"), "hours.time_zone"),
    ):
        with pytest.raises(InvalidInput, match=field):
            dispatch.preview(database, "dev", wanted("load", hours=hours), at(0))


def test_tests_of_dbt_are_no_part_of_a_plan_unless_they_are_targets(database: Database) -> None:
    tested, wrong = {"namespace": LAKE, "name": "tested"}, {"namespace": LAKE, "name": "wrong"}
    declared(
        database,
        task("model.a", platform="dbt", produces=[tested]),
        task("test.a", platform="dbt", consumes=[{"dataset": tested}]),
        task("model.b", platform="dbt", consumes=[{"dataset": tested}], produces=[wrong]),
        task("test.b", platform="airflow", consumes=[{"dataset": wrong}]),
    )
    found = planned(database, "model.a", direction="downstream", days=DAYS[:1])
    assert [name for _, name, _ in to_build(found)] == ["model.a", "model.b", "test.b"]
    assert [name for _, name, _ in to_build(planned(database, "test.a", days=DAYS[:1]))] == ["test.a"]
