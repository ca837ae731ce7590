"""Group commit: calls that come while a transaction runs share the next one, and each is told only of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NoReturn, TypeVar

import psycopg
import pytest

from dataforge.ingest import native, openlineage
from dataforge.ingest.batch import BatchResult, record_native
from dataforge.ingest.group import GroupCommit
from dataforge.ingest.redaction import NOTHING, Redaction, Rule
from dataforge.ledger import catalog
from dataforge.ledger.verify import digest
from dataforge.model.errors import DatabaseUnavailable, NotFound, Overloaded
from dataforge.model.filter import RejectFilter
from dataforge.storage.database import Database
from dataforge.storage.environment import LOCK

_Found = TypeVar("_Found")
BROKEN = b"{"


def event(number: int, **changes: Any) -> bytes:
    task = {"namespace": "ns", "name": f"task{number % 7}"}
    whole = {"time": "2026-11-01T06:00:00Z", "task": task, "run": f"r{number}", "state": "succeeded"}
    return json.dumps({**whole, **changes}).encode()


def lineage(number: int) -> bytes:
    job, run = {"namespace": "ns", "name": "lineage"}, {"runId": f"r{number}"}
    return json.dumps({"eventType": "START", "eventTime": "2026-11-01T06:00:00Z", "job": job, "run": run}).encode()


def played(database: Database, scene: Callable[[GroupCommit], Awaitable[_Found]], **options: Any) -> _Found:
    async def play() -> _Found:
        group_commit = GroupCommit(database, **{"redaction": NOTHING, **options})
        try:
            return await scene(group_commit)
        finally:
            await group_commit.close()

    return asyncio.run(play())


@contextmanager
def busy(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """While the block lasts, somebody else writes to `dev`."""
    with psycopg.connect(database.url, autocommit=True) as other, other.transaction():
        other.execute(LOCK, ["dev"])
        yield other


async def behind(group_commit: GroupCommit, database: Database, *calls: list[bytes]) -> list[Any]:
    """What calls are told that came while a transaction was running, in their order."""
    with busy(database):
        first = asyncio.ensure_future(group_commit.record("dev", [event(-1)], native.parse))
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(group_commit.record("dev", call, native.parse)) for call in calls]
        await asyncio.sleep(0)
    assert (await first).applied == 1
    return await asyncio.gather(*others, return_exceptions=True)


def transactions(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("select count(distinct xmin::text) from event").fetchone()
    assert row is not None
    return int(row[0])


def test_calls_that_come_while_a_transaction_runs_share_the_next_one(database: Database) -> None:
    calls = [[event(number)] for number in range(40)]
    results = played(database, lambda group_commit: behind(group_commit, database, *calls))
    assert results == [BatchResult(1, 1, 0, [])] * 40
    assert transactions(database) == 2


def test_each_call_is_told_of_its_own_events_alone(database: Database) -> None:
    calls = [[event(1), BROKEN, event(1)], [event(2)], [event(3, state="done"), event(3), event(-1)]]
    first, second, third = played(database, lambda group_commit: behind(group_commit, database, *calls))
    assert (first.received, first.applied, first.duplicates) == (3, 1, 1)
    assert [(each.index, each.errors[0].field) for each in first.rejected] == [(1, "$")]
    assert second == BatchResult(1, 1, 0, [])
    assert (third.received, third.applied, third.duplicates) == (3, 1, 1)
    assert [(each.index, each.errors[0].field) for each in third.rejected] == [(0, "state")]


def test_of_equal_events_in_one_group_one_is_applied(database: Database) -> None:
    results = played(database, lambda group_commit: behind(group_commit, database, [event(5)], [event(5)], [event(5)]))
    assert [(each.applied, each.duplicates) for each in results] == [(1, 0), (0, 1), (0, 1)]


def test_native_and_openlineage_events_share_a_group(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> list[BatchResult]:
        with busy(database):
            first = asyncio.ensure_future(group_commit.record("dev", [event(0)], native.parse))
            await asyncio.sleep(0)
            both = [
                asyncio.ensure_future(group_commit.record("dev", [lineage(1)], openlineage.parse)),
                asyncio.ensure_future(group_commit.record("dev", [event(1)], native.parse)),
            ]
            await asyncio.sleep(0)
        return await asyncio.gather(first, *both)

    assert played(database, scene) == [BatchResult(1, 1, 0, [])] * 3
    assert transactions(database) == 2


def test_a_poison_event_harms_nobody_else_in_its_group(database: Database) -> None:
    forbid(database, "attempt", "new.run = 'r13'")
    calls = [[event(number), event(100 + number)] for number in range(30)]
    results = played(database, lambda group_commit: behind(group_commit, database, *calls))
    poisoned = results.pop(13)
    assert (poisoned.applied, [each.index for each in poisoned.rejected]) == (1, [0])
    assert results == [BatchResult(2, 2, 0, [])] * 29
    assert [item.body for item in catalog.rejects(database, "dev", RejectFilter()).items] == [event(13).decode()]


def forbid(database: Database, table: str, what: str) -> None:
    """Makes the database refuse some rows, as no check of ours foresees it."""
    with database.transaction() as connection:
        connection.execute(
            f"create function refuse() returns trigger language plpgsql as $$ begin if {what} then raise 'refused';"
            f" end if; return new; end $$; create trigger refuse before insert on {table} for each row execute function"
            " refuse()".encode()
        )


def test_a_failure_that_no_event_can_be_refused_for_is_told_to_its_own_call(database: Database) -> None:
    forbid(database, "reject", "new.size = 1")
    calls = [[event(1)], [event(2), BROKEN], [event(3)]]
    first, failed, third = played(database, lambda group_commit: behind(group_commit, database, *calls))
    assert first == third == BatchResult(1, 1, 0, [])
    assert isinstance(failed, psycopg.errors.RaiseException)
    assert record_native(database, "dev", [event(2)], NOTHING).applied == 1  # nothing of it had been


def end_who_waits(connection: psycopg.Connection[Any]) -> None:
    """Ends the connection that waits for the environment, as soon as there is one."""
    waiting = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted"
    while not connection.execute(waiting).fetchall():
        pass


def test_in_an_outage_nothing_is_recorded_of_a_group_and_the_next_one_is_taken(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> list[Any]:
        with busy(database) as other:
            calls = [
                asyncio.ensure_future(group_commit.record("dev", [event(number)], native.parse)) for number in range(9)
            ]
            await asyncio.to_thread(end_who_waits, other)
            answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 9
        again = [group_commit.record("dev", [event(number)], native.parse) for number in range(9)]
        return await asyncio.gather(*again)

    assert played(database, scene) == [BatchResult(1, 1, 0, [])] * 9


class Panic(BaseException):
    """As a library in another language raises it: no Exception."""


def panic(_body: object, _redaction: Redaction) -> NoReturn:
    raise Panic


def test_a_thread_that_ends_badly_answers_who_waits_and_leaves_the_environment_to_the_next(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> BatchResult:
        with pytest.raises(RuntimeError, match="Panic"):
            await asyncio.wait_for(group_commit.record("dev", [event(0)], panic), 10)
        return await asyncio.wait_for(group_commit.record("dev", [event(0)], native.parse), 10)

    assert played(database, scene, most_held=len(event(0))) == BatchResult(1, 1, 0, [])


def test_environments_do_not_wait_for_each_other(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> tuple[BatchResult, BatchResult]:
        with busy(database):
            waits = asyncio.ensure_future(group_commit.record("dev", [event(1)], native.parse))
            prod = await group_commit.record("prod", [event(1)], native.parse)
            assert not waits.done()
        return await waits, prod

    assert played(database, scene) == (BatchResult(1, 1, 0, []), BatchResult(1, 1, 0, []))
    assert digest(database, "dev") == digest(database, "prod")


def test_an_unknown_environment_is_nobody_elses_error(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> list[Any]:
        calls = [group_commit.record(name, [event(1)], native.parse) for name in ("dev", "nowhere", "prod")]
        return await asyncio.gather(*calls, return_exceptions=True)

    dev, nowhere, prod = played(database, scene)
    assert dev.applied == prod.applied == 1
    assert isinstance(nowhere, NotFound)


def test_a_full_queue_refuses_what_comes_and_loses_nothing_that_is_in_it(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> list[Any]:
        with busy(database):
            taken = [asyncio.ensure_future(group_commit.record("dev", [event(n)], native.parse)) for n in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="send them again"):
                await group_commit.record("dev", [event(3)], native.parse)
        results = await asyncio.gather(*taken)
        return [*results, await group_commit.record("dev", [event(3)], native.parse)]

    assert played(database, scene, most_held=4 * len(event(0)) - 1) == [BatchResult(1, 1, 0, [])] * 4


def test_a_call_larger_than_all_that_may_be_held_is_taken_when_nothing_else_is(database: Database) -> None:
    calls = [event(number) for number in range(3)]
    taken = played(database, lambda group_commit: group_commit.record("dev", calls, native.parse), most_held=1)
    assert taken.applied == 3


def test_a_group_holds_a_thousand_events_and_no_call_is_cut(database: Database) -> None:
    calls = [[event(number * 600 + each) for each in range(600)] for number in range(3)]
    results = played(database, lambda group_commit: behind(group_commit, database, *calls, [event(9_999)]))
    assert [each.applied for each in results] == [600, 600, 600, 1]
    assert transactions(database) == 4


def test_whoever_gives_up_waiting_stops_nothing(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> BatchResult:
        with busy(database):
            calls = [asyncio.ensure_future(group_commit.record("dev", [event(n)], native.parse)) for n in range(3)]
            await asyncio.sleep(0)
            calls[0].cancel()
            calls[1].cancel()
            await asyncio.sleep(0)
        return await calls[2]

    assert played(database, scene).applied == 1
    assert record_native(database, "dev", [event(n) for n in range(3)], NOTHING).duplicates == 3


def test_closing_writes_everything_that_was_taken(database: Database) -> None:
    async def scene(group_commit: GroupCommit) -> list[asyncio.Task[BatchResult]]:
        with busy(database):
            taken = [asyncio.ensure_future(group_commit.record("dev", [event(n)], native.parse)) for n in range(20)]
            await asyncio.sleep(0)
        await group_commit.close()
        return taken

    async def play() -> list[int]:
        taken = await scene(GroupCommit(database, NOTHING))
        return [(await each).applied for each in taken]

    assert asyncio.run(play()) == [1] * 20


def test_however_events_are_spread_over_calls_the_state_is_the_same(database: Database) -> None:
    random = Random(11)
    events = [
        event(n, state=random.choice(["running", "succeeded", "failed"]), partition=f"2026-11-0{random.randint(1, 4)}")
        for n in range(120)
    ]
    told = random.choices(events, k=200) + events
    random.shuffle(told)
    calls = [told[begin : begin + size] for begin, size in ((n * 4, 4) for n in range(len(told) // 4))]
    results = played(database, lambda group_commit: behind(group_commit, database, *calls))
    assert sum(each.applied for each in results) == 120
    assert sum(each.duplicates for each in results) == 200
    assert record_native(database, "staging", [event(-1), *events], NOTHING).applied == 121
    assert digest(database, "dev") == digest(database, "staging")


def test_a_group_is_redacted_like_anything_else(database: Database) -> None:
    rules = Redaction((Rule("error", "mask"),))

    async def scene(group_commit: GroupCommit) -> list[Any]:
        secret = [event(1, error="secret"), event(2, error="secret", state="done")]
        return await behind(group_commit, database, secret, [event(3)])

    first, second = played(database, scene, redaction=rules)
    assert (first.applied, len(first.rejected), second.applied) == (1, 1, 1)
    [kept] = catalog.rejects(database, "dev", RejectFilter()).items
    assert "secret" not in kept.body
    with database.transaction() as connection:
        assert connection.execute("select 1 from run where error like '%secret%'").fetchall() == []
