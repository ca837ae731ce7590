"""Wake-ups: announced when the last upstream is there, whoever finishes at once, until they are claimed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, timedelta
from threading import Barrier
from typing import Any

import pytest

from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.dispatch.announce import announce
from dataforge.dispatch.declared import MOST_RECENT
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.record import apply
from dataforge.model.claim import Claiming, ClaimRefused
from dataforge.model.errors import InvalidInput
from dataforge.model.event import Event, Facts, TaskFact
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunKind
from dataforge.storage import environment as environments
from dataforge.storage.database import Database
from tests.dispatch.night import DAY, LAKE, NOW, at, claimed, declared, ended, ordered, recorded, said, task

ORDERS = {"namespace": LAKE, "name": "orders", "partition": DAY}
READS_ORDERS: list[dict[str, Any]] = [{"dataset": {"namespace": LAKE, "name": "orders"}}]


def _announced(database: Database, minutes: float = 60, **more: Any) -> list[str]:
    """What is listed when everything that changed has been worked on."""
    while announce(database, "dev", at(minutes), **more):
        pass
    return [f"{item.task.name} {item.partition}" for item in waiting(database, "dev", 1_000, at(minutes)).items]


def test_a_partition_is_announced_when_its_last_upstream_is_there(database: Database) -> None:
    declared(database, task("a"), task("b"), task("load", "a", "b"), task("report", "load"))
    recorded(database, said("a", "succeeded", 0))
    assert _announced(database) == []
    recorded(database, said("b", "succeeded", 1))
    assert _announced(database) == [f"load {DAY}"]


def test_a_task_without_any_upstream_is_not_announced_and_can_be_claimed(database: Database) -> None:
    declared(database, task("load"))
    assert _announced(database) == []
    granted = claimed(database, "load")
    ended(database, granted, "failed", 61)
    assert _announced(database, 62) == [f"load {DAY}"]


def test_it_stays_announced_until_it_is_claimed(database: Database) -> None:
    declared(database, task("a"), task("load", "a"))
    recorded(database, said("a", "succeeded", 0))
    assert _announced(database) == _announced(database) == [f"load {DAY}"]
    granted = claimed(database, "load")
    assert _announced(database) == []
    ended(database, granted, "failed", 61)
    assert _announced(database, 62) == [f"load {DAY}"]
    ended(database, claimed(database, "load", 62), "completed", 63)
    assert _announced(database, 64) == []


def test_a_lease_that_ran_out_wakes_the_partition_again(database: Database) -> None:
    declared(database, task("a"))
    claimed(database, "a", 0, seconds=60)
    assert _announced(database, 0.5) == []
    assert leases.end_what_ran_out(database, "dev", at(2)) == 1
    assert _announced(database, 2) == [f"a {DAY}"]


def test_what_may_not_run_any_more_is_no_longer_announced(database: Database) -> None:
    declared(database, task("load"), task("report", consumes=READS_ORDERS))
    recorded(database, said("load", "succeeded", 0, outputs=[ORDERS]))
    assert _announced(database) == [f"report {DAY}"]
    about = {"dataset": {"namespace": LAKE, "name": "orders"}, "partition": DAY, "reason": "half of it is missing"}
    recorded(database, {**ordered("quarantine", 1), **about})
    assert _announced(database) == []
    recorded(database, {**ordered("release", 2), **about})
    assert _announced(database) == [f"report {DAY}"]


def test_windows_of_other_grains_wake_what_they_are_needed_for(database: Database) -> None:
    week = {"mapping": {"kind": "window", "from": -2, "to": 0}, "task": {"namespace": "ns", "name": "load"}}
    declared(database, task("load"), task("trend", consumes=[week]))
    for day in ("2026-11-03", "2026-11-05", "2026-11-04"):
        recorded(database, said("load", "succeeded", 0, partition=day, run=day))
    assert _announced(database) == ["trend 2026-11-05"]


def test_what_ran_as_a_whole_wakes_every_partition_that_waits_for_it(database: Database) -> None:
    declared(database, task("load", "a", partitioning={"kind": "daily", "start": "2026-11-04"}))
    whole = said("a", "succeeded", 0, run="r1")
    del whole["partition"]
    recorded(database, whole)
    assert _announced(database) == ["load 2026-11-04", f"load {DAY}"]


def test_an_update_wakes_whom_it_triggers_though_he_waits_for_another_partition_as_well(database: Database) -> None:
    orders = {"dataset": {"namespace": LAKE, "name": "orders"}}
    waits = [{**orders, "mapping": {"kind": "fixed", "key": "all"}, "required": False}]
    plain = {"namespace": "ns", "name": "report", "consumes": waits, "trigger": orders}
    declared(database, plain)
    assert _announced(database) == []
    recorded(database, said("load", "succeeded", 0, outputs=[ORDERS]))
    assert _announced(database) == ["report None"]


def test_an_alias_wakes_who_reads_the_dataset(database: Database) -> None:
    declared(
        database,
        task("report", consumes=READS_ORDERS),
        datasets=[{"namespace": LAKE, "name": "orders", "aliases": [{"namespace": "glue://1", "name": "lake.orders"}]}],
    )
    recorded(
        database, said("load", "succeeded", 0, outputs=[ORDERS | {"namespace": "glue://1", "name": "lake.orders"}])
    )
    assert _announced(database) == [f"report {DAY}"]


def test_what_is_held_is_announced_when_the_hold_ends(database: Database) -> None:
    declared(
        database,
        task("a"),
        task("load", "a", domain="sales", gates=["review"], requires=[{"fact": "books-closed"}]),
    )
    recorded(database, ordered("pause", 0, domain="sales"), said("a", "succeeded", 1))
    assert _announced(database) == []
    lifts = [
        ordered("resume", 2, domain="sales"),
        ordered("approve", 3, "load", partition=DAY, gate="review"),
        ordered("set", 4, fact="books-closed", value=True),
    ]
    for lift in lifts:
        assert _announced(database) == []
        recorded(database, lift)
    assert _announced(database) == [f"load {DAY}"]
    recorded(database, ordered("pause", 5))
    assert _announced(database) == []


def test_a_time_of_its_own_wakes_it_when_it_has_come(database: Database) -> None:
    declared(database, task("a"), task("load", "a", run_after="PT8H"))  # the window ended five hours before NOW
    recorded(database, said("a", "succeeded", 0))
    assert _announced(database, 1) == []
    assert _announced(database, 179) == []
    assert _announced(database, 180) == [f"load {DAY}"]


def test_a_rerun_is_announced(database: Database) -> None:
    declared(database, task("a"))
    ended(database, claimed(database, "a", 0), "completed", 1)
    assert _announced(database) == []
    recorded(database, ordered("rerun", 2, "a", partition=DAY, reason="late file"))
    assert _announced(database) == [f"a {DAY}"]


def test_an_order_about_what_nobody_knows_disturbs_nothing(database: Database) -> None:
    recorded(database, ordered("rerun", 0, "nobody", partition=DAY, reason="r"), ordered("pause", 0, "nobody"))
    assert _announced(database) == []


def test_what_was_only_observed_is_announced_where_it_is_trusted(database: Database) -> None:
    recorded(database, said("seen", "failed", 0, inputs=[ORDERS]), said("load", "succeeded", 1, outputs=[ORDERS]))
    assert _announced(database) == []
    recorded(database, said("load", "succeeded", 2, run="again", outputs=[ORDERS]))
    assert f"seen {DAY}" in _announced(database, trusted=frozenset({"ns"}))


def _listed(database: Database, minutes: int, *upstreams: str) -> None:
    """A platform says which tasks come before one."""
    said_of = TaskFact(TaskRef("ns", "report"), RunKind.TASK, registers={"upstreams": list(upstreams)})
    event = Event(minutes.to_bytes(16), at(minutes), "run", "", b"{}", Facts(tasks=(said_of,)))
    with database.transaction() as connection:
        locked = environments.lock(connection, "dev")
        apply(connection, locked.id, [event], locked.last_part)


def test_who_no_longer_waits_for_what_never_came_is_announced(database: Database) -> None:
    ours = frozenset({"ns"})
    _listed(database, 0, "a", "b")
    recorded(database, said("report", "failed", 1), said("a", "succeeded", 2))
    assert _announced(database, trusted=ours) == []
    _listed(database, 3, "a")
    assert _announced(database, trusted=ours) == [f"report {DAY}"]


def test_updates_wake_the_task_that_they_trigger_and_each_claim_is_a_run_of_its_own(database: Database) -> None:
    both = {"all": [{"dataset": {"namespace": LAKE, "name": name}} for name in ("orders", "payments")]}
    declared(database, {"namespace": "ns", "name": "merge", "trigger": both})
    payments = {"namespace": LAKE, "name": "payments", "partition": DAY}
    for round_ in (0, 10):
        recorded(database, said("load", "succeeded", round_, run=f"l{round_}", outputs=[ORDERS]))
        assert _announced(database) == []
        recorded(database, said("pay", "succeeded", round_ + 1, run=f"p{round_}", outputs=[payments]))
        assert _announced(database) == ["merge None"]
        wanted = Claiming(name="merge", worker="w", lease_seconds=60)
        granted = dispatch.claim(database, "dev", wanted, at(round_ + 2))
        assert granted.attempt == 1
        ended(database, granted, "completed", round_ + 2.5)
        assert _announced(database) == []


def test_a_check_that_comes_later_wakes_who_asks_for_it(database: Database) -> None:
    checked = {"field": "check.complete.success", "op": "=", "value": True}
    declared(database, task("report", consumes=[{**READS_ORDERS[0], "condition": {"where": checked}}]))
    recorded(database, said("load", "succeeded", 0, outputs=[ORDERS]))
    assert _announced(database) == []
    check = {**ORDERS, "checks": [{"name": "complete", "success": True}]}
    recorded(database, said("test", "succeeded", 1, inputs=[check]))
    assert _announced(database) == [f"report {DAY}"]


def test_the_greater_priority_comes_first_then_who_waits_longest(database: Database) -> None:
    declared(database, task("a"), *(task(name, "a", priority=rank) for name, rank in (("x", 0), ("y", 9), ("z", 0))))
    recorded(database, said("a", "succeeded", 0))
    assert next(iter(_announced(database))) == f"y {DAY}"


def test_what_a_full_pool_has_no_room_for_is_not_listed(database: Database) -> None:
    pooled = [task(name, "a", pools={"p": 2}, priority=rank) for name, rank in (("x", 1), ("y", 2))]
    declared(database, task("a"), *pooled, task("z", "a", pools={"p": 1}), pools=[{"name": "p", "slots": 3}])
    recorded(database, said("a", "succeeded", 0))
    assert _announced(database) == [f"y {DAY}", f"z {DAY}"]
    granted = claimed(database, "y")
    assert _announced(database) == [f"z {DAY}"]
    ended(database, granted, "completed", 61)
    assert _announced(database) == [f"x {DAY}", f"z {DAY}"]


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_limit_out_of_bounds_is_refused(database: Database, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        waiting(database, "dev", limit, NOW)


class Rounds:
    """Each round is another day: its 64 upstreams are finished by 16 connections at once while two announcers work, and
    then four workers claim what is listed."""

    upstreams, finishers, announcers, workers = 64, 16, 2, 4

    def __init__(self, database: Database) -> None:
        self.database = database
        self.names = [f"u{number}" for number in range(self.upstreams)]
        since = {"partitioning": {"kind": "daily", "start": "2020-01-01"}}
        declared(database, *({**task(name), **since} for name in self.names), {**task("load", *self.names), **since})

    def play(self, day: str) -> list[str]:
        """What was claimed in one round."""
        start = Barrier(self.finishers + self.announcers)
        with ThreadPoolExecutor(self.finishers + self.announcers) as threads:
            jobs = [threads.submit(self._finish, place, day, start) for place in range(self.finishers)]
            jobs += [threads.submit(self._announce, start) for _ in range(self.announcers)]
            for job in jobs:
                job.result()
        while announce(self.database, "dev", at(60)):
            pass
        with ThreadPoolExecutor(self.workers) as threads:
            return [name for names in threads.map(self._claim, range(self.workers)) for name in names]

    def _finish(self, place: int, day: str, start: Barrier) -> None:
        start.wait()
        for name in self.names[place :: self.finishers]:
            body = json.dumps(said(name, "succeeded", 0, partition=day, run=day)).encode()
            assert record_native(self.database, "dev", [body], NOTHING).applied == 1

    def _announce(self, start: Barrier) -> None:
        start.wait()
        for _ in range(20):
            announce(self.database, "dev", at(60))

    def _claim(self, number: int) -> list[str]:
        claimed = []
        for item in waiting(self.database, "dev", 10, at(60)).items:
            name, key = item.task.name, item.partition or ""
            wanted = Claiming(name=name, partition=key, worker=f"w{number}", lease_seconds=60)
            with suppress(ClaimRefused):
                dispatch.claim(self.database, "dev", wanted, at(60))
                claimed.append(f"{name} {key}")
        return claimed


def _play(database_url: str, rounds: int) -> None:
    database = Database(database_url, max_size=24, wait_seconds=120)
    try:
        played = Rounds(database)
        for day in (date(2020, 1, 1) + timedelta(days=n) for n in range(rounds)):
            assert played.play(day.isoformat()) == [f"load {day}"]
    finally:
        database.close()


def test_upstreams_that_finish_at_once_wake_the_downstream_and_it_is_claimed_once(database_url: str) -> None:
    _play(database_url, 8)


@pytest.mark.long
def test_thousands_of_rounds_miss_no_wake_up(database_url: str) -> None:
    _play(database_url, 2_000)


def test_what_is_declared_after_its_upstreams_were_ready_is_announced(database: Database) -> None:
    declared(database, task("a"))
    for day in ("2026-11-03", "2026-11-04", DAY):
        recorded(database, said("a", "succeeded", 0, partition=day, run=day, outputs=[ORDERS | {"partition": day}]))
    recorded(database, said("load", "succeeded", 1, partition="2026-11-03"))
    assert _announced(database) == []
    declared(database, task("a"), task("load", "a", gates=["review"]), task("report", consumes=READS_ORDERS))
    days = ["2026-11-03", "2026-11-04", DAY]
    assert _announced(database) == [f"report {day}" for day in days]
    declared(database, task("a"), task("load", "a"), task("report", consumes=READS_ORDERS))
    assert sorted(_announced(database)) == ["load 2026-11-04", f"load {DAY}", *(f"report {day}" for day in days)]
    declared(database, task("a"), task("load", "a"), task("report", "b", consumes=READS_ORDERS), task("b"))
    declared(database, task("a"), task("load", "a"))
    assert sorted(_announced(database)) == ["load 2026-11-04", f"load {DAY}"]


def test_of_a_long_history_only_the_last_partitions_are_followed(database: Database) -> None:
    first = date(2026, 9, 1)
    days = [str(first + timedelta(days=each)) for each in range(MOST_RECENT + 10)]
    recorded(database, *(said("a", "succeeded", 0, partition=day, run=day) for day in days))
    assert _announced(database) == []
    declared(database, task("a"), task("load", "a"))
    assert sorted(_announced(database)) == [f"load {day}" for day in days[-MOST_RECENT:]]


def test_a_dataset_that_gets_the_name_its_reader_waits_for_wakes_it(database: Database) -> None:
    known = {"namespace": "glue://1", "name": "lake.orders"}
    declared(database, task("report", consumes=[{"dataset": known}]))
    recorded(database, said("load", "succeeded", 0, outputs=[ORDERS]))
    assert _announced(database) == []
    alias = {"namespace": LAKE, "name": "orders"}
    declared(database, task("report", consumes=[{"dataset": known}]), datasets=[known | {"aliases": [alias]}])
    assert _announced(database) == [f"report {DAY}"]


def test_a_task_that_gets_a_trigger_is_announced_for_what_is_queued(database: Database) -> None:
    recorded(database, said("load", "succeeded", 0, outputs=[ORDERS]))
    trigger = {"any": [{"dataset": {"namespace": LAKE, "name": "orders"}}]}
    declared(database, {"namespace": "ns", "name": "weekly", "trigger": trigger})
    assert _announced(database) == ["weekly None"]


def test_what_is_not_cut_by_time_or_needs_one_named_partition_is_announced_too(database: Database) -> None:
    keys = [f"c{number:02}" for number in range(MOST_RECENT + 10)]
    static = {"kind": "static", "keys": keys}
    recorded(database, *(said("a", "succeeded", 0, partition=key, run=key) for key in keys))
    clients = {"namespace": "ns", "name": "a", "partitioning": static}
    declared(database, clients)
    assert _announced(database) == []
    fixed = {"task": {"namespace": "ns", "name": "a"}, "mapping": {"kind": "fixed", "key": "c00"}}
    each = {"namespace": "ns", "name": "each", "partitioning": static, "consumes": [{"task": fixed["task"]}]}
    once = {"namespace": "ns", "name": "once", "consumes": [fixed]}
    recent = task("recent", consumes=[fixed]) | {"partitioning": {"kind": "daily", "start": "2026-11-01"}}
    declared(database, clients, each, once, recent)
    days = ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04", DAY]
    expected = [*(f"each {key}" for key in keys), "once None", *(f"recent {day}" for day in days)]
    assert sorted(_announced(database)) == expected
