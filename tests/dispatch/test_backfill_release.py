"""Backfills at work: what is released and when, how it ends, and what people do with one that is under way."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from dataforge.dispatch import backfill as dispatch
from dataforge.dispatch import release, rerun
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.replay import verify
from dataforge.ledger.backfill_list import backfills, detail, items
from dataforge.ledger.readiness import verdict
from dataforge.model.backfill import (
    BackfillDetail,
    BackfillFilter,
    Backfilling,
    Cap,
    Hours,
    ItemFilter,
    Target,
    Verb,
)
from dataforge.model.errors import Conflict, InvalidInput, NotFound
from dataforge.model.question import Named
from dataforge.storage.database import Database
from tests.dispatch.backfilled import (
    DAYS,
    begun,
    chain,
    counts,
    offered,
    run,
    states,
    tended,
    worked_off,
)
from tests.dispatch.night import at, codes, declared, ordered, recorded, task
from tests.ledger.freshness_events import record
from tests.ledger.test_freshness_of_spark import enrich


def _change(database: Database, backfill: UUID, verb: Verb, minutes: float, reason: str = "") -> BackfillDetail:
    return dispatch.change(database, "dev", backfill, verb, at(minutes), by="anna@example.com", reason=reason)


def _made(database: Database, *names: str, minutes: float = -60) -> None:
    """All of it was there before."""
    for place, name in enumerate(names):
        for day in DAYS:
            run(database, name, day, minutes + 2 * place)


def test_a_backfill_is_worked_off_wave_by_wave(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load", direction="downstream")
    tended(database, 1)
    assert offered(database, 1) == [("load", day) for day in DAYS]
    run(database, "load", DAYS[1], 1.1)
    tended(database, 2)
    assert sorted(offered(database, 2)) == [("clean", DAYS[1]), ("load", DAYS[0]), ("load", DAYS[2])]
    worked_off(database, backfill, 3)
    assert counts(database, backfill) == {"succeeded": 9}
    found = detail(database, "dev", backfill, at(60))
    assert (found.state, [change.what for change in found.log]) == ("done", ["ended", "began"])
    assert verify(database, "dev").difference is None


def test_what_was_there_is_run_again_in_order(database: Database) -> None:
    chain(database)
    _made(database, "load", "clean", "report")
    backfill = begun(database, "load", direction="downstream", overwrite="always")
    tended(database, 1)
    assert offered(database, 1) == [("load", day) for day in DAYS]
    assert codes(verdict(database, "dev", Named("clean", None, DAYS[0]), at(1))) == ["already_done"]
    worked_off(database, backfill, 2)
    assert counts(database, backfill) == {"succeeded": 9}
    tended(database, 90)
    assert offered(database, 90) == []


def test_what_stands_behind_a_failure_waits_until_it_is_retried(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load", direction="downstream")
    tended(database, 1)
    run(database, "load", DAYS[0], 1.1, fails=True)
    worked_off(database, backfill, 2)
    assert counts(database, backfill) == {"succeeded": 6, "failed": 1, "blocked": 2}
    found = detail(database, "dev", backfill, at(70))
    assert found.state == "failed"
    assert [(each.partition, each.total, each.succeeded, each.failed) for each in found.intervals] == [
        (DAYS[0], 3, 0, 3),
        (DAYS[1], 3, 3, 0),
        (DAYS[2], 3, 3, 0),
    ]
    assert [item.reason for item in items(database, "dev", backfill, ItemFilter(state="failed")).items] == [
        "no space left"
    ]
    assert _change(database, backfill, "retry", 71, "space was made").state == "running"
    worked_off(database, backfill, 72)
    assert counts(database, backfill) == {"succeeded": 9}


def test_what_failed_and_was_mended_elsewhere_lets_the_rest_go_on(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load", direction="downstream")
    tended(database, 1)
    run(database, "load", DAYS[0], 1.1, fails=True)
    worked_off(database, backfill, 2)
    run(database, "load", DAYS[0], 80)
    worked_off(database, backfill, 81)
    assert counts(database, backfill) == {"succeeded": 9}
    assert detail(database, "dev", backfill, at(150)).state == "done"


def test_what_others_have_built_meanwhile_is_not_built_again(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load", caps=(Cap("all", 1),))
    run(database, "load", DAYS[1], 0.5)
    worked_off(database, backfill, 2)
    assert counts(database, backfill) == {"succeeded": 3}
    assert [item.released_at is None for item in items(database, "dev", backfill).items] == [False, True, False]


@pytest.mark.parametrize(
    ("caps", "at_once"),
    [
        ((Cap("all", 2),), 2),
        ((Cap("task", 1),), 1),
        ((Cap("task", 1, "load"),), 1),
        ((Cap("task", 1, "other"),), 3),
        ((Cap("dataset", 2, "orders"),), 2),
        ((Cap("pool", 1, "warehouse"),), 1),
        ((Cap("domain", 2, "sales"),), 2),
        ((Cap("domain", 2, "finance"),), 3),
        ((Cap("all", 3), Cap("task", 2)), 2),
    ],
)
def test_no_more_is_under_way_than_the_caps_allow(database: Database, caps: tuple[Cap, ...], at_once: int) -> None:
    declared(
        database,
        task("load", produces=[{"namespace": "s3://lake", "name": "orders"}], pools={"warehouse": 1}, domain="sales"),
        pools=[{"name": "warehouse", "slots": 9}],
    )
    backfill = begun(database, "load", caps=caps)
    tended(database, 1)
    assert len(offered(database, 1)) == at_once
    run(database, "load", offered(database, 1)[0][1], 1.1)
    tended(database, 2)
    assert len(offered(database, 2)) == min(at_once, 2)
    worked_off(database, backfill, 3)
    assert counts(database, backfill) == {"succeeded": 3}


def test_no_more_is_spent_in_an_hour_than_the_budget(database: Database) -> None:
    chain(database, cost=4)
    backfill = begun(database, "load", budget=9)
    tended(database, 1)
    assert len(offered(database, 1)) == 2
    for _, day in offered(database, 1):
        run(database, "load", day, 2)
    assert (tended(database, 59), offered(database, 59)) == (2, [])
    tended(database, 62)
    assert len(offered(database, 62)) == 1
    assert counts(database, backfill) == {"succeeded": 2, "released": 1}


def test_nothing_is_released_outside_the_hours(database: Database) -> None:
    chain(database)  # it is 5:00 at UTC, and 6:00 in Berlin
    begun(database, "load", hours=Hours(begin="22:00", end="06:00", time_zone="Europe/Berlin"))
    tended(database, 1)
    assert offered(database, 1) == []
    tended(database, 16 * 60)
    assert len(offered(database, 16 * 60)) == 3


def test_what_waits_for_something_outside_says_so_and_goes_on_when_that_is_there(database: Database) -> None:
    chain(database)
    backfill = begun(database, "clean", days=(DAYS[0],))
    tended(database, 1)
    assert offered(database, 1) == []
    assert "orders" in items(database, "dev", backfill).items[0].reason
    run(database, "load", DAYS[0], 2)
    worked_off(database, backfill, 3)
    assert counts(database, backfill) == {"succeeded": 1}


def test_what_is_live_comes_before_what_a_backfill_has_released(database: Database) -> None:
    declared(database, task("load", priority=9), task("other"))
    recorded(database, ordered("rerun", -1, "other", partition="2026-11-05", reason="x"))
    begun(database, "load")
    tended(database, 1)
    everything = [(item.task.name, item.backfill is None) for item in waiting(database, "dev", 10, at(1)).items]
    assert everything == [("other", True), *[("load", False)] * 3]
    assert [item.task.name for item in waiting(database, "dev", 10, at(1), "live").items] == ["other"]


def test_a_partition_is_not_released_by_two_backfills_at_once(database: Database) -> None:
    chain(database)
    first, second = begun(database, "load"), begun(database, "load", minutes=0.5)
    tended(database, 1)
    assert [counts(database, each) for each in (first, second)] == [{"released": 3}, {"planned": 3}]
    worked_off(database, first, 2)
    worked_off(database, second, 40)
    assert [counts(database, each) for each in (first, second)] == [{"succeeded": 3}] * 2
    assert all(item.released_at is None for item in items(database, "dev", second).items)


def test_one_that_is_paused_releases_nothing_and_sees_what_ends(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load", direction="downstream")
    tended(database, 1)
    assert _change(database, backfill, "pause", 2, "month end").state == "paused"
    run(database, "load", DAYS[0], 3)
    tended(database, 4)
    assert counts(database, backfill) == {"succeeded": 1, "released": 2, "planned": 6}
    assert _change(database, backfill, "pause", 5).log[0].reason == "month end"
    _change(database, backfill, "resume", 6)
    worked_off(database, backfill, 7)
    assert counts(database, backfill) == {"succeeded": 9}


def test_one_that_is_canceled_takes_back_what_was_ordered_and_has_not_begun(database: Database) -> None:
    chain(database)
    _made(database, "load", "clean", "report")
    backfill = begun(database, "load", direction="downstream", overwrite="always")
    tended(database, 1)
    run(database, "load", DAYS[0], 1.1)
    assert _change(database, backfill, "cancel", 2, "wrong month").state == "canceled"
    tended(database, 3)
    assert offered(database, 3) == []
    assert codes(verdict(database, "dev", Named("load", None, DAYS[1]), at(3))) == ["already_done"]
    assert counts(database, backfill) == {"succeeded": 1, "canceled": 8}
    with pytest.raises(Conflict, match="canceled"):
        _change(database, backfill, "resume", 4)
    assert verify(database, "dev").difference is None


def test_what_cannot_be_done_with_a_backfill_is_refused(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load")
    with pytest.raises(Conflict, match="nothing"):
        _change(database, backfill, "retry", 1)
    _change(database, backfill, "pause", 1)
    with pytest.raises(Conflict, match="is paused"):
        _change(database, backfill, "retry", 1)
    with pytest.raises(NotFound):
        _change(database, uuid4(), "pause", 1)
    with pytest.raises(InvalidInput, match="by"):
        dispatch.change(database, "dev", backfill, "pause", at(1), by="")
    assert states(database, backfill) == dict.fromkeys([("load", day) for day in DAYS], "planned")
    assert [change.what for change in detail(database, "dev", backfill, at(2)).log] == ["paused", "began"]


def test_the_list_has_the_latest_first_and_is_cut_into_pages(database: Database) -> None:
    chain(database)
    begun_at = [begun(database, "load", minutes=minutes) for minutes in range(5)]
    first = backfills(database, "dev", BackfillFilter(limit=3))
    second = backfills(database, "dev", BackfillFilter(limit=3, cursor=first.next_cursor))
    assert [UUID(item.id) for page in (first, second) for item in page.items] == begun_at[::-1]
    assert second.next_cursor is None
    assert backfills(database, "dev", BackfillFilter(state="done")).items == []
    assert backfills(database, "prod").items == []
    page = items(database, "dev", begun_at[0], ItemFilter(limit=2))
    rest = items(database, "dev", begun_at[0], ItemFilter(limit=2, cursor=page.next_cursor))
    assert [item.partition for each in (page, rest) for item in each.items] == list(DAYS)


def test_what_another_run_runs_is_built_with_it_and_never_by_itself(database: Database) -> None:
    daily = {"kind": "daily", "start": "2026-11-01"}
    named = [{"namespace": "airflow", "name": "enrich"}, {"namespace": "spark", "name": "app"}]
    declared(database, *({**each, "partitioning": daily, "consumes": []} for each in named))
    record(database, enrich(-60))
    target = Target(namespace="s3://lake", name="orders", partitions=("2026-11-05",))
    wanted = Backfilling(targets=(target,), overwrite="always", reason="x")
    plan = dispatch.begin(database, "dev", wanted, at(0))
    assert [(item.wave, item.task.name) for item in plan.items] == [(1, "enrich"), (2, "app")]
    tended(database, 1)
    assert offered(database, 1) == [("enrich", "2026-11-05")]
    record(database, enrich(2))
    backfill = UUID(plan.id or "")
    worked_off(database, backfill, 10)
    assert [
        (item.task.name, item.state, item.released_at is None) for item in items(database, "dev", backfill).items
    ] == [
        ("enrich", "succeeded", False),
        ("app", "succeeded", True),
    ]


def test_what_is_counted_is_what_there_is(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load", direction="downstream")
    for minutes in (1, 2, 3):
        tended(database, minutes)
        for name, day in offered(database, minutes)[:2]:
            run(database, name, day, minutes + 0.1, fails=minutes == 2)
        listed = Counter(states(database, backfill).values())
        assert counts(database, backfill) == listed
    _change(database, backfill, "retry", 4)
    assert counts(database, backfill) == Counter(states(database, backfill).values())


def test_the_longest_words_that_may_be_said_are_repeated_by_every_order(database: Database) -> None:
    chain(database)
    _made(database, "load")
    begun(database, "load", overwrite="always", reason="r" * 500, by="b" * 500)
    tended(database, 1)
    assert len(offered(database, 1)) == 3
    with pytest.raises(InvalidInput, match="reason"):
        begun(database, "load", overwrite="always", reason="r" * 501)


def test_one_that_cannot_go_on_is_paused_and_keeps_no_other_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(database)
    _made(database, "load", "clean")
    bad, good = begun(database, "load", overwrite="always"), begun(database, "clean", minutes=0.5, overwrite="always")
    orders = rerun.order

    def refusing(*given: Any, **more: Any) -> None:
        if given[3].reason.startswith(f"backfill {bad}"):
            raise InvalidInput("a rule of redaction takes the order's reason away")
        orders(*given, **more)

    monkeypatch.setattr(release, "order", refusing)
    tended(database, 1)
    assert counts(database, good) == {"released": 3}
    found = detail(database, "dev", bad, at(2))
    assert (found.state, found.log[0].reason) == ("paused", "a rule of redaction takes the order's reason away")
    assert found.counts == {"planned": 3}


def test_a_proposal_releases_nothing_before_somebody_resumes_it(database: Database) -> None:
    chain(database)
    backfill = begun(database, "load", proposed=True)
    tended(database, 1)
    found = detail(database, "dev", backfill, at(1))
    assert (found.state, found.counts) == ("paused", {"planned": 3})
    assert [(each.what, each.reason) for each in found.log] == [
        ("paused", "it is a proposal"),
        ("began", "a late file"),
    ]
    _change(database, backfill, "resume", 2)
    tended(database, 3)
    assert counts(database, backfill) == {"released": 3}
