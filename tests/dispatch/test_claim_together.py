"""Claims of what one worker runs as one: all or none, decided as if each came after those before it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.model.claim import (
    Again,
    AllEnded,
    ClaimingTogether,
    ClaimRefused,
    EndOf,
    Member,
    Together,
)
from dataforge.model.errors import Conflict, InvalidInput, NotFound
from dataforge.model.filter import RunFilter
from dataforge.storage.database import Database
from tests.dispatch.night import DAY, asked, at, claimed, codes, declared, ended, recorded, said, task

TWO_SLOTS = [{"name": "spark", "slots": 2}]


def together(
    database: Database, *names: str, minutes: float = 0, seconds: int = 600, worker: str = "w", **more: Any
) -> Together:
    members = tuple(Member(name=name, partition=DAY) for name in names)
    asked_for: dict[str, Any] = {"partitions": members, "worker": worker, "lease_seconds": seconds}
    wanted = ClaimingTogether(**asked_for | more)
    return dispatch.claim_together(database, "dev", wanted, at(minutes))


def as_one(database: Database, run: str, attempt: int, *names: str, minutes: float = 0) -> Together:
    members = tuple(Member(name=name, partition=DAY, run=run, attempt=attempt) for name in names)
    return together(database, minutes=minutes, partitions=members)


def all_ended(database: Database, granted: Together, minutes: float, *endings: str) -> AllEnded:
    said = [EndOf(claim=each.claim, ending=ending) for each, ending in zip(granted.granted, endings, strict=True)]  # type: ignore[arg-type]
    return leases.end_all(database, "dev", said, at(minutes))


def attempts(database: Database, name: str) -> list[tuple[str, int, str, str | None]]:
    found = catalog.runs(database, "dev", RunFilter(name=name, attempts=True)).items
    return sorted((run.run, run.attempt, run.state.value, run.error) for run in found)


def states(database: Database, *names: str, minutes: float = 60) -> list[str]:
    return [asked(database, name, minutes).status.value for name in names]


def test_what_one_of_them_makes_another_may_wait_for(database: Database) -> None:
    declared(database, task("extract"), task("load", "extract"), task("report", "load"))
    granted = together(database, "report", "extract", "load")
    assert states(database, "extract", "load", "report", minutes=1) == ["running"] * 3
    assert all_ended(database, granted, 5, "completed", "completed", "completed").lost == ()
    assert states(database, "extract", "load", "report") == ["succeeded"] * 3
    assert verify(database, "dev").difference is None


def test_where_one_may_not_run_none_is_granted(database: Database) -> None:
    declared(database, task("other"), task("extract"), task("load", "extract", "other"), task("report", "load"))
    with pytest.raises(ClaimRefused) as refused:
        together(database, "extract", "load", "report")
    assert (refused.value.verdict.task.name, codes(refused.value.verdict)) == ("load", ["upstream_missing"])
    assert str(refused.value).startswith(f"load for {DAY} may not run now: other for {DAY} ")
    assert [attempts(database, name) for name in ("extract", "load", "report")] == [[], [], []]
    assert asked(database, "extract").runnable


def test_every_one_that_may_not_run_is_told(database: Database) -> None:
    declared(database, task("extract"), task("load"), task("report"))
    claimed(database, "extract", 0)
    claimed(database, "report", 0)
    with pytest.raises(ClaimRefused) as refused:
        together(database, "report", "load", "extract", minutes=1)
    assert [each.task.name for each in (refused.value.verdict, *refused.value.others)] == ["report", "extract"]
    assert str(refused.value).endswith("; with it 1 more of the 3 that were claimed together")


def test_they_take_of_a_pool_what_the_largest_takes_until_the_last_has_ended(database: Database) -> None:
    one, two = {"pools": {"spark": 1}}, {"pools": {"spark": 2}}
    declared(database, task("a", **one), task("b", **two), task("c", **one), task("d", **one), pools=TWO_SLOTS)
    granted = together(database, "a", "b", "c")
    assert codes(asked(database, "d", 1)) == ["pool_full"]
    for minutes, each in enumerate(granted.granted[:2], start=1):
        ended(database, each, "completed", minutes)
        assert codes(asked(database, "d", minutes)) == ["pool_full"]
    ended(database, granted.granted[2], "failed", 4)
    assert asked(database, "d", 5).runnable


def test_what_is_done_is_run_again_where_somebody_says_so_and_only_with_all_others(database: Database) -> None:
    declared(database, task("other"), task("extract"), task("load", "extract"), task("last", "other"))
    all_ended(database, together(database, "extract", "load"), 1, "completed", "completed")
    with pytest.raises(ClaimRefused, match="it has succeeded"):
        together(database, "extract", "load", minutes=2)
    again = Again("anna@example.com", "a late file")
    with pytest.raises(ClaimRefused):
        together(database, "extract", "load", "last", minutes=3, again=again)
    assert [codes(asked(database, name, 4)) for name in ("extract", "load")] == [
        ["already_done"]
    ] * 2  # nothing ordered
    granted = together(database, "extract", "load", minutes=5, again=again)
    assert [each.attempt for each in granted.granted] == [2, 2]
    assert all_ended(database, granted, 6, "completed", "completed").lost == ()
    assert states(database, "extract", "load") == ["succeeded", "succeeded"]


def test_how_each_ends_is_its_own(database: Database) -> None:
    names = ["completed", "failed", "released", "skipped", "canceled", "upstream_failed"]
    told = ["succeeded", "failed", "failed", "skipped", "canceled", "upstream_failed"]
    declared(database, *(task(name) for name in names))
    all_ended(database, together(database, *names), 1, *names)
    assert [attempts(database, name)[0][2] for name in names] == told
    assert codes(asked(database, "canceled")) == ["canceled"]


def test_a_run_that_its_platform_names_goes_on_as_that_run(database: Database) -> None:
    declared(database, task("extract"))
    source = {"dagster_run_id": "4f1c", "url": "http://dagster/runs/4f1c"}
    member = Member(name="extract", partition=DAY, run="4f1c:x", attempt=3)
    granted = together(database, partitions=(member,), source=source)
    assert attempts(database, "extract") == [("4f1c:x", 3, "running", None)]
    # What the platform tells of it by another way is told of the same attempt.
    recorded(database, said("extract", "succeeded", 4, run="4f1c:x", attempt=3))
    ended(database, granted.granted[0], "completed", 5)
    [run] = catalog.runs(database, "dev", RunFilter(name="extract", attempts=True)).items
    assert (run.run, run.attempt, run.state.value) == ("4f1c:x", 3, "succeeded")
    assert {**run.source, **source} == run.source


def test_the_next_attempt_of_a_run_ends_what_an_earlier_one_still_holds(database: Database) -> None:
    declared(database, task("extract"))
    first = as_one(database, "run-1", 1, "extract")
    with pytest.raises(ClaimRefused):  # another run is another worker's
        as_one(database, "run-2", 2, "extract", minutes=1)
    second = as_one(database, "run-1", 2, "extract", minutes=2)
    assert all_ended(database, first, 3, "completed").lost[0].claim == first.granted[0].claim
    assert all_ended(database, second, 4, "completed").lost == ()
    over = "its worker said nothing of its end, and the next attempt of the run has begun"
    assert attempts(database, "extract") == [("run-1", 1, "failed", over), ("run-1", 2, "succeeded", None)]


def test_an_attempt_that_is_known_already_is_not_claimed(database: Database) -> None:
    declared(database, task("extract"))
    recorded(database, said("extract", "failed", 0, run="run-1", attempt=2))
    with pytest.raises(Conflict, match="attempt 2 of the run run-1 of extract is known already"):
        as_one(database, "run-1", 2, "extract", minutes=1)
    assert as_one(database, "run-1", 3, "extract", minutes=1).granted[0].attempt == 3


def test_what_was_reported_to_have_succeeded_has_not_failed_when_its_lease_runs_out(database: Database) -> None:
    declared(database, task("extract"), task("load"))
    as_one(database, "run-1", 1, "extract", "load")
    recorded(database, said("extract", "succeeded", 1, run="run-1", attempt=1))
    assert leases.end_what_ran_out(database, "dev", at(20)) == 2
    assert states(database, "extract", "load") == ["succeeded", "failed"]
    assert verify(database, "dev").difference is None


def test_whoever_asks_again_under_the_same_ids_is_granted_once(database: Database) -> None:
    declared(database, task("extract"), task("load", "extract"))
    members = tuple(Member(name=name, partition=DAY, claim=str(uuid4())) for name in ("extract", "load"))
    first = together(database, partitions=members)
    assert together(database, minutes=1, partitions=members) == first
    with pytest.raises(Conflict, match="claim under another id"):
        together(database, minutes=1, partitions=members, worker="other")
    with pytest.raises(Conflict, match="claim under another id"):  # one of them is new
        together(database, minutes=1, partitions=(members[0], Member(name="load", partition=DAY, claim=str(uuid4()))))


def test_leases_are_extended_together_and_those_lost_are_told(database: Database) -> None:
    declared(database, task("extract"), task("load"))
    granted = together(database, "extract", "load", seconds=60)
    ended(database, granted.granted[0], "completed", 0.5)
    beaten = leases.beat_all(database, "dev", [each.claim for each in granted.granted], 600, at(0.5))
    assert [(each.claim, each.expires_at) for each in beaten.held] == [(granted.granted[1].claim, at(10.5))]
    assert [each.claim for each in beaten.lost] == [granted.granted[0].claim]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"partitions": ()}, "partitions has 0: expected 1 to 10,000 of them"),
        ({"seconds": 0}, "lease_seconds is 0"),
        ({"worker": ""}, "worker: expected who claims"),
        ({"partitions": (Member(name="extract", partition=DAY, claim="no"),)}, r"partitions\[0\].claim"),
        ({"partitions": (Member(name="extract", partition=DAY),) * 2}, "each partition of a task once"),
        (
            {"partitions": tuple(Member(name=n, partition=DAY, claim=str(uuid4())) for n in "x") * 2},
            "a claim of its own",
        ),
        (
            {"partitions": (Member(name="extract", claim=str(uuid4())), Member(name="load"))},
            "partitions: expected a claim of its own for each, or for none",
        ),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_the_field(database: Database, more: dict[str, Any], field: str) -> None:
    declared(database, task("extract"))
    with pytest.raises(InvalidInput, match=field):
        together(database, "extract", **more)


def test_a_task_that_nobody_knows_is_not_found(database: Database) -> None:
    declared(database, task("extract"))
    with pytest.raises(NotFound):
        together(database, "extract", "lode")
