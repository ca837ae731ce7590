"""Events that come out of order: beside a plain rule, whatever they do; and no part of what the ledger knows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import replay
from dataforge.ledger.arrival import arrivals
from dataforge.ledger.verify import digest
from dataforge.model.arrival import ArrivalQuestion
from dataforge.model.out_of_order import DAYS_KEPT, OutOfOrder
from dataforge.storage.database import Database

BEGIN = datetime(2026, 11, 2, 5, tzinfo=UTC)
ORDERS = {"namespace": "s3://lake", "name": "orders"}
DAYS = ["2026-11-01", "2026-11-02"]
FRESH = count()  # of environments: examples share a database


class Said(NamedTuple):
    """An event of a run that begins at minute `begun` and ends at minute `ended`."""

    run: str
    partition: str
    begun: int
    ended: int
    minute: int

    @property
    def event(self) -> dict[str, Any]:
        ends = self.minute == self.ended
        return {
            "time": (BEGIN + timedelta(minutes=self.minute)).isoformat(),
            "task": {"namespace": "ns", "name": "load"},
            "run": self.run,
            "state": "succeeded" if ends else "running",
            "outputs": [{**ORDERS, "partition": self.partition}],
        }


@st.composite
def histories(draw: st.DrawFn) -> list[Said]:
    """Runs that begin one after another, and may overlap; none ends at the minute at which another does."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        partition, lasts = draw(st.sampled_from(DAYS)), draw(st.integers(1, 4))
        begun, ended = 10 * number, 10 * number + 10 * lasts - 5 + number
        minutes = (begun, begun + 2, ended)
        found += [Said(f"run{number}", partition, begun, ended, minute) for minute in minutes]
    return found


def late(told: list[list[Said]]) -> int:
    """By the rule as docs/checks.md has it: of what was known when an event was recorded, something of its run is
    later, or the partition stood by a run that had begun later, and by something that occurred later."""
    known: list[Said] = []
    found = 0
    for batch in told:
        for each in batch:
            own = [before for before in known if before.run == each.run]
            there = [one for one in [*known, *batch] if one.partition == each.partition]
            together = {one.run for one in batch}
            found += any(one.minute > each.minute for one in own) or _overtaken(each, there, together)
        known += batch
    return found


def _overtaken(each: Said, there: list[Said], together: set[str]) -> bool:
    if each.minute != each.ended:
        return False
    first = {run: min(one.minute for one in there if one.run == run) for run in {one.run for one in there}}
    stands = max(first, key=lambda run: (first[run], [-ord(letter) for letter in run]))
    if stands in together:
        return False
    ends = [one.minute for one in there if one.run == stands and one.minute == one.ended]
    return each.minute < (ends[0] if ends else first[stands])


def fresh(database: Database) -> str:
    name = f"order{next(FRESH)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    return name


def record(database: Database, name: str, told: list[Said]) -> None:
    result = record_any(database, name, [json.dumps(each.event).encode() for each in told], NOTHING)
    assert result.rejected == [], result.rejected


def answer(database: Database, name: str = "dev") -> tuple[OutOfOrder, ...]:
    asked = [ArrivalQuestion(name="orders")]
    return arrivals(database, name, asked, datetime.now(UTC)).items[0].out_of_order


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories(), st.randoms(use_true_random=False))
def test_what_comes_late_is_counted_and_changes_nothing_else(
    module_database: Database, told: list[Said], by: Random
) -> None:
    by.shuffle(told)
    batches: list[list[Said]] = [[]]
    for each in told:
        batches[-1].append(each)
        if by.random() < 0.7:
            batches.append([])
    orders = [batches, [sorted(told, key=lambda each: each.minute)]]
    digests = set()
    for given_order in orders:
        name = fresh(module_database)
        for batch in given_order:
            record(module_database, name, batch)
        assert sum(each.events for each in answer(module_database, name)) == late(given_order)
        digests.add(digest(module_database, name))
    assert len(digests) == 1


def test_the_answer_names_the_last_event_and_what_it_was_behind(database: Database) -> None:
    older = [Said("older", DAYS[0], 0, 5, minute) for minute in (0, 5)]
    newer = [Said("newer", DAYS[0], 10, 15, minute) for minute in (10, 15)]
    record(database, "dev", newer)
    assert answer(database) == ()
    record(database, "dev", older)
    [found] = answer(database)
    assert (found.events, found.task.name, found.run, found.partition) == (1, "load", "older", DAYS[0])
    assert (found.occurred_at, found.behind) == (BEGIN + timedelta(minutes=5), BEGIN + timedelta(minutes=15))
    assert found.day == found.recorded_at.astimezone(UTC).date()
    record(database, "dev", older)
    assert answer(database) == (found,)


def test_what_is_rebuilt_counts_nothing_again(database: Database) -> None:
    told = [Said("run", DAYS[0], 0, 5, minute) for minute in (5, 0)]
    for each in told:
        record(database, "dev", [each])
    before = answer(database)
    assert [each.events for each in before] == [1]
    assert replay(database, "dev").found.agrees
    assert answer(database) == before


def test_days_that_nobody_asks_about_end_with_the_next_that_is_told(database: Database) -> None:
    for minute in (5, 0):
        record(database, "dev", [Said("run", DAYS[0], 0, 5, minute)])
    with database.transaction() as connection:
        connection.execute("update out_of_order set day = day - %s", [DAYS_KEPT + 1])
    assert answer(database) == ()
    record(database, "dev", [Said("run", DAYS[0], 0, 5, 1)])
    with database.transaction() as connection:
        assert connection.execute("select count(*) from out_of_order").fetchone() == (1,)
