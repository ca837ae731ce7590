"""Claims on a real database: granted once, fenced when they run out, and every attempt an event like any other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.model.claim import Claiming, ClaimRefused, Fenced, Granted, Outcome, Said
from dataforge.model.errors import InvalidInput, NotFound
from dataforge.model.filter import RunFilter
from dataforge.storage import environment as environments
from dataforge.storage.database import Database
from tests.dispatch.night import DAY, LAKE, asked, at, claimed, codes, declared, ended, recorded, said, task
from tests.storage.counted import counted


def _runs(database: Database, name: str) -> list[tuple[int, str, str | None]]:
    found = catalog.runs(database, "dev", RunFilter(name=name, attempts=True)).items
    return sorted((run.attempt, run.state.value, run.error) for run in found)


def test_what_is_granted_runs_and_what_is_completed_is_done(database: Database) -> None:
    declared(database, task("extract"), task("load", "extract"))
    granted = claimed(database, "extract", 0)
    assert (granted.attempt, granted.expires_at) == (1, at(10))
    assert (asked(database, "extract", 5).status, codes(asked(database, "load", 5))) == (
        "running",
        ["upstream_running"],
    )
    ended(
        database, granted, "completed", 5, outputs=[{"namespace": LAKE, "name": "orders", "partition": DAY, "rows": 7}]
    )
    assert asked(database, "extract").status == "succeeded"
    assert asked(database, "load").runnable
    assert verify(database, "dev").difference is None


def test_a_claim_of_a_task_that_has_run_takes_few_statements(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared(database, task("load"))
    claimed(database, "load", 0)
    sent = counted(monkeypatch)
    wanted = Claiming(name="load", namespace="ns", partition="2026-10-31", worker="w", lease_seconds=600)
    dispatch.claim(database, "dev", wanted, at(1))
    assert len(sent) <= 23


def test_what_may_not_run_is_refused_with_the_verdict(database: Database) -> None:
    declared(database, task("extract"), task("load", "extract"))
    with pytest.raises(ClaimRefused) as refused:
        claimed(database, "load", 0)
    assert codes(refused.value.verdict) == ["upstream_missing"]
    claimed(database, "extract", 0)
    with pytest.raises(ClaimRefused) as taken:
        claimed(database, "extract", 1)
    assert codes(taken.value.verdict) == ["already_running"]


def test_a_refused_claim_writes_nothing_down(database: Database) -> None:
    declared(database, task("extract"), task("load", "extract"))
    claimed(database, "extract", 0, seconds=60)
    with pytest.raises(ClaimRefused):
        claimed(database, "load", 5)
    assert _runs(database, "extract") == [(1, "running", None)]


def test_of_two_hundred_who_claim_at_once_one_is_granted(database_url: str) -> None:
    database = Database(database_url, max_size=16, wait_seconds=120)
    try:
        declared(database, task("extract"))

        def try_it(number: int) -> Granted | None:
            try:
                return claimed(database, "extract", 0, worker=f"w{number}")
            except ClaimRefused:
                return None

        with ThreadPoolExecutor(16) as workers:
            granted = [each for each in workers.map(try_it, range(200)) if each is not None]
        assert len(granted) == 1
        assert _runs(database, "extract") == [(1, "running", None)]
    finally:
        database.close()


def test_a_lease_that_ran_out_is_failed_then_and_the_next_attempt_is_granted(database: Database) -> None:
    declared(database, task("extract"))
    first = claimed(database, "extract", 0, seconds=60, worker="slow")
    second = claimed(database, "extract", 2)
    assert second.attempt == 2
    endings: tuple[Said, ...] = ("completed", "failed", "released")
    for ending in endings:
        with pytest.raises(Fenced):
            ended(database, first, ending, 3)
    with pytest.raises(Fenced):
        leases.beat(database, "dev", UUID(first.claim), 60, at(3))
    ended(database, second, "completed", 4)
    assert _runs(database, "extract") == [
        (1, "failed", "the lease of slow ran out at 2026-11-06 05:01:00 UTC"),
        (2, "succeeded", None),
    ]
    assert verify(database, "dev").difference is None


def test_a_worker_whose_lease_ran_out_completes_nothing_even_where_nobody_else_came(database: Database) -> None:
    declared(database, task("extract"))
    granted = claimed(database, "extract", 0, seconds=60)
    with pytest.raises(Fenced, match="ran out"):
        ended(database, granted, "completed", 1)
    assert asked(database, "extract", 2).runnable
    with database.transaction() as connection:
        assert leases.expire(connection, environments.lock(connection, "dev"), at(2)) == 1
    assert (asked(database, "extract", 2).status, asked(database, "extract", 2).runnable) == ("failed", True)


def test_heartbeats_keep_a_lease(database: Database) -> None:
    declared(database, task("extract"))
    granted = claimed(database, "extract", 0, seconds=60)
    assert leases.beat(database, "dev", UUID(granted.claim), 120, at(0.5)).expires_at == at(2.5)
    with pytest.raises(ClaimRefused):
        claimed(database, "extract", 2)
    assert ended(database, granted, "completed", 2.4).ended_at == at(2.4)


def test_an_end_said_twice_is_one_end_and_another_end_is_refused(database: Database) -> None:
    declared(database, task("extract"))
    granted = claimed(database, "extract", 0)
    assert ended(database, granted, "completed", 1) == ended(database, granted, "completed", 2)
    with pytest.raises(Fenced, match="completed"):
        ended(database, granted, "failed", 3)
    assert _runs(database, "extract") == [(1, "succeeded", None)]


def test_what_failed_or_was_given_back_is_claimed_as_the_next_attempt(database: Database) -> None:
    declared(database, task("extract"))
    ended(database, claimed(database, "extract", 0), "failed", 1, error="disk full")
    ended(database, claimed(database, "extract", 2), "released", 3)
    assert claimed(database, "extract", 4).attempt == 3
    assert _runs(database, "extract") == [
        (1, "failed", "disk full"),
        (2, "failed", "w gave it back unfinished"),
        (3, "running", None),
    ]


def test_attempts_go_on_from_those_that_were_reported(database: Database) -> None:
    declared(database, task("extract"))
    recorded(database, said("extract", "failed", 0, attempt=4))
    assert claimed(database, "extract", 1).attempt == 5


def test_a_refused_outcome_leaves_the_lease_as_it_is(database: Database) -> None:
    declared(database, task("extract"))
    granted = claimed(database, "extract", 0)
    with pytest.raises(InvalidInput, match=r"outputs\[0\].rows"):
        ended(database, granted, "completed", 1, outputs=[{"namespace": LAKE, "name": "orders", "rows": -1}])
    assert asked(database, "extract", 2).status == "running"
    ended(database, granted, "completed", 3)


@pytest.mark.parametrize("seconds", [0, -1, 86_401, 31_536_000])
def test_a_lease_out_of_bounds_is_refused(database: Database, seconds: int) -> None:
    declared(database, task("extract"))
    with pytest.raises(InvalidInput, match="lease_seconds"):
        claimed(database, "extract", seconds=seconds)


def test_what_nobody_knows_cannot_be_claimed(database: Database) -> None:
    with pytest.raises(NotFound):
        claimed(database, "extract")
    with pytest.raises(NotFound):
        leases.end(database, "dev", uuid4(), "completed", Outcome(), at(0))


def test_nobody_claims_on_what_was_only_observed_unless_it_is_trusted(database: Database) -> None:
    recorded(database, said("seen", "failed", 0, inputs=[{"namespace": LAKE, "name": "raw", "partition": DAY}]))
    recorded(database, said("raw", "succeeded", 1, outputs=[{"namespace": LAKE, "name": "raw", "partition": DAY}]))
    assert (asked(database, "seen").runnable, asked(database, "seen").basis) == (True, "observed")
    with pytest.raises(ClaimRefused, match="DATAFORGE_TRUSTED"):
        claimed(database, "seen")
    wanted = Claiming(name="seen", partition=DAY, worker="w", lease_seconds=60)
    assert dispatch.claim(database, "dev", wanted, at(60), trusted=frozenset({"ns"})).attempt == 2


def test_slots_of_a_pool_are_taken_by_leases_and_given_back(database: Database) -> None:
    heavy = [task(name, pools={"warehouse": 2}) for name in ("a", "b")]
    declared(database, *heavy, task("c", pools={"warehouse": 1}), pools=[{"name": "warehouse", "slots": 3}])
    first = claimed(database, "a", 0)
    assert codes(asked(database, "b", 1)) == ["pool_full"]
    assert asked(database, "b", 1).status == "waiting"
    claimed(database, "c", 1)
    with pytest.raises(ClaimRefused, match="0 of 3 slots free"):
        claimed(database, "b", 2)
    ended(database, first, "failed", 3)
    assert claimed(database, "b", 4).attempt == 1


def test_slots_of_a_lease_that_ran_out_are_free(database: Database) -> None:
    declared(database, *(task(name, pools={"p": 1}) for name in "ab"), pools=[{"name": "p", "slots": 1}])
    claimed(database, "a", 0, seconds=60)
    assert claimed(database, "b", 2).attempt == 1


def test_a_pool_that_nobody_declares_lets_nobody_in(database: Database) -> None:
    declared(database, task("a", pools={"p": 1}))
    assert (codes(asked(database, "a")), asked(database, "a").status) == (["pool_full"], "blocked")


def test_concurrent_claims_never_overdraw_a_pool(database_url: str) -> None:
    database = Database(database_url, max_size=8, wait_seconds=120)
    names = [f"t{number}" for number in range(12)]
    try:
        declared(database, *(task(name, pools={"p": 2}) for name in names), pools=[{"name": "p", "slots": 7}])

        def try_it(name: str) -> bool:
            try:
                return bool(claimed(database, name, 0))
            except ClaimRefused:
                return False

        with ThreadPoolExecutor(8) as workers:
            assert sum(workers.map(try_it, names)) == 3
    finally:
        database.close()
