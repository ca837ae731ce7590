"""A state machine that tells the ledger and its twin the same, and holds the one to the other after each step.

After each step the twin's verdict on every partition is the ledger's, and so is what is believed of each; a claim is
granted exactly where the twin finds it runnable; nothing that became runnable is missing among the wake-ups; and in the
end the same facts in another order give the same digest.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from random import Random
from uuid import UUID

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.dispatch.announce import announce
from dataforge.dispatch.waiting import waiting
from dataforge.ingest import native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import record as recording
from dataforge.ledger.verify import digest
from dataforge.model.claim import Claiming, ClaimRefused, Fenced, Outcome, Said
from dataforge.model.errors import DatabaseUnavailable
from dataforge.storage import environment as environments
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Database
from tests.twin import plans
from tests.twin.agreement import of_staleness, of_states, of_updates, of_verdicts, told_otherwise
from tests.twin.facts import event_of
from tests.twin.question import Lease
from tests.twin.sharing import rarely
from tests.twin.telling import Owing, Telling, data_of
from tests.twin.verdict import answer

ENDINGS: dict[Said, str] = {"completed": "succeeded", "failed": "failed", "released": "failed"}


class Machine(Telling):
    """The ledger and its twin are told the same, and each answer of the one is held to the other's."""

    # Claims

    @precondition(lambda self: self.facts.declared)
    @rule(data=st.data(), seconds=st.sampled_from([60, 3_600, 86_400]), eager=rarely(4))
    def claim(self, data: st.DataObject, seconds: int, eager: bool) -> None:
        now, everything = self.moment(), self.partitions()
        runnable = [each for each in everything if answer(self.facts.view, *each, now).runnable]
        if not everything:
            return
        task, key = data.draw(st.sampled_from(everything if eager or not runnable else sorted(runnable)))
        found = answer(self.facts.view, task, key, now)
        wanted = Claiming(name=task, partition=key, worker="w", lease_seconds=seconds)
        try:
            granted = dispatch.claim(self.database, self.name, wanted, now)
        except ClaimRefused:
            assert not (found.runnable and found.basis == "declared")
            return
        assert found.runnable
        assert found.basis == "declared"
        with Owing(self):
            self.facts.expire(now)
            run = granted.claim if "trigger" in self.facts.view.tasks[task] else key or "default"
            attempt = self.facts.next_attempt(task, run)
            assert granted.attempt == attempt
            pools = self.facts.view.tasks[task].get("pools", {})
            lease = Lease(granted.claim, task, key, run, attempt, now, now + timedelta(seconds=seconds), pools)
            self.facts.leases[lease.claim] = lease
            self.facts.record([event_of(lease, "running", now)])
        self.owed.discard((task, key))

    @precondition(lambda self: self.facts.leases)
    @rule(data=st.data(), seconds=st.sampled_from([60, 7_200]))
    def heartbeat(self, data: st.DataObject, seconds: int) -> None:
        lease = data.draw(st.sampled_from(list(self.facts.leases.values())))
        now = self.moment()
        try:
            leases.beat(self.database, self.name, UUID(lease.claim), seconds, now)
        except Fenced:
            assert lease.until <= now
            return
        assert lease.until > now
        self.facts.leases[lease.claim] = lease._replace(until=now + timedelta(seconds=seconds))
        self.facts.changed()

    @precondition(lambda self: self.facts.leases)
    @rule(data=st.data(), ending=st.sampled_from(list(ENDINGS)), writes=st.booleans())
    def end(self, data: st.DataObject, ending: Said, writes: bool) -> None:
        lease = data.draw(st.sampled_from(list(self.facts.leases.values())))
        now = self.moment()
        places = list(self.facts.view.written(lease.task, lease.key, now)) if writes and ending == "completed" else []
        outputs = [data_of(place, data.draw(st.sampled_from([None, "v1"])), rows=7) for place in places]
        with Owing(self):
            try:
                leases.end(self.database, self.name, UUID(lease.claim), ending, Outcome(outputs=outputs), now)
            except Fenced:
                assert lease.until <= now
                return
            assert lease.until > now
            del self.facts.leases[lease.claim]
            more = {"outputs": outputs} if outputs else {}
            self.facts.record([event_of(lease, ENDINGS[ending], now, **more)])
        self.ended.append(lease.claim)

    @precondition(lambda self: self.facts.leases)
    @rule(data=st.data())
    def end_too_late(self, data: st.DataObject) -> None:
        """A worker whose lease ran out records nothing, even where nobody else has come."""
        lease = data.draw(st.sampled_from(list(self.facts.leases.values())))
        self.now = max(self.now, lease.until)
        with pytest.raises(Fenced):
            leases.end(self.database, self.name, UUID(lease.claim), "completed", Outcome(), self.moment())

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def end_what_has_ended(self, data: st.DataObject) -> None:
        """A worker that is no longer the holder records nothing."""
        with pytest.raises(Fenced):
            leases.beat(self.database, self.name, UUID(data.draw(st.sampled_from(self.ended))), 60, self.moment())

    @precondition(lambda self: self.facts.leases)
    @rule()
    def write_down_what_ran_out(self) -> None:
        self._write_down_what_ran_out()

    def _write_down_what_ran_out(self) -> None:
        now = self.moment()
        over = [each.claim for each in self.facts.leases.values() if each.until <= now]
        with Owing(self):
            assert leases.end_what_ran_out(self.database, self.name, now) == len(over)
            self.facts.expire(now)
        self.ended += over

    # Crashes

    @property
    def may_crash(self) -> bool:
        return len(self.facts.events) + len(self.facts.orders) >= self.crashed + 8

    @precondition(lambda self: self.may_crash)
    @rule(data=st.data())
    def crash_while_recording(self, data: st.DataObject) -> None:
        """The connection is lost in the middle of a transaction: nothing of it has happened, and it is told again."""
        drawn = data.draw(st.lists(plans.events(self.facts.view.tasks, self.cuts), min_size=1, max_size=2))
        batch = [self._stamped(event, 5) for event in drawn]
        with suppress(DatabaseUnavailable, psycopg.Error), self.database.transaction() as connection:
            here = environments.lock(connection, self.name)
            recording.record(connection, here, [native.parse(each, NOTHING) for each in batch])
            self._cut(connection)
        self.agree()
        self._record(batch)

    @precondition(lambda self: self.may_crash)
    @rule()
    def crash_while_announcing(self) -> None:
        with suppress(DatabaseUnavailable, psycopg.Error), self.database.transaction() as connection:
            here = environments.find(connection, self.name)
            assert wakeups.try_lock(connection, here.id)
            wakeups.take(connection, here.id, 100)
            self._cut(connection)

    def _cut(self, connection: psycopg.Connection) -> None:
        self.crashed = len(self.facts.events) + len(self.facts.orders)
        with psycopg.connect(self.database.url, autocommit=True) as other:
            other.execute("select pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        connection.execute("select 1")

    # What holds after each step, and what is asked now and then

    @precondition(lambda self: self.facts.events)
    @rule()
    def tell_what_is_stale(self) -> None:
        """Of every partition that was made the inputs that have changed, or are stale themselves."""
        of_staleness(self.database, self.name, self.facts.view, self.moment())

    @precondition(lambda self: self.triggered)
    @rule()
    def tell_what_was_updated(self) -> None:
        """What waits for the next run of whatever updates trigger, and what each run of it consumed."""
        of_updates(self.database, self.name, self.facts.view)

    @precondition(lambda self: self.owed)
    @rule()
    def no_wake_up_is_missed(self) -> None:
        self._write_down_what_ran_out()
        now = self.moment()
        while announce(self.database, self.name, now):
            pass
        items = waiting(self.database, self.name, 1_000, now).items
        listed = {(item.task.name, item.partition or "") for item in items}
        answers = {each: answer(self.facts.view, *each, now) for each in self.owed}
        self.owed = {each for each, found in answers.items() if found.own and found.basis == "declared"}
        crowded = self.facts.view.pools  # what has no room beside others is listed when it has
        missed = {
            each
            for each in self.owed
            if answers[each].runnable and each not in listed and not (crowded and self._pooled(each[0]))
        }
        assert not missed, f"not announced: {missed}, listed: {listed}"

    def _pooled(self, task: str) -> bool:
        return bool(self.facts.view.tasks[task].get("pools"))

    @invariant()
    def agree(self) -> None:
        now = self.moment()
        of_verdicts(self.database, self.name, self.facts.view, self.partitions(), now)
        of_states(self.database, self.name, self.facts.view, now)

    def teardown(self) -> None:
        if self.owed:
            self.no_wake_up_is_missed()
        if not self.told and not self.facts.events:
            return
        self.tell_what_is_stale()
        of_updates(self.database, self.name, self.facts.view)
        assert verify(self.database, self.name).found.agrees
        assert digest(self.database, self.name) == told_otherwise(
            self.database, self.name, self.told, Random(len(self.facts.events))
        )


def on(database: Database) -> type[Machine]:
    """The machine on this database."""
    return type("On", (Machine,), {"database": database})
