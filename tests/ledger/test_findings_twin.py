"""Findings beside a plain twin of the rules: random runs of a chain, told in any order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.findings import findings
from dataforge.model import definition
from dataforge.model.filter import FindingFilter
from dataforge.model.finding import Finding, FindingCode
from dataforge.storage.database import Database

BEGIN = datetime(2026, 11, 2, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAYS = ["2026-11-01", "2026-11-02"]
CHAIN = 3  # task i reads d(i-1) and writes d(i); the second reads the day before as well
WINDOWED = 1
_environments = count()
_quickly = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Execution(NamedTuple):
    """A run of one task for one day; times in tens of seconds."""

    task: int
    day: int
    begun: int
    took: int
    state: str

    @property
    def ended(self) -> int:
        return self.begun + self.took

    @property
    def name(self) -> str:
        return f"r{self.task}.{self.day}.{self.begun}"


@st.composite
def histories(draw: st.DrawFn) -> list[Execution]:
    each = st.builds(
        Execution,
        st.integers(0, CHAIN - 1),
        st.integers(0, len(DAYS) - 1),
        st.integers(0, 60),
        st.integers(2, 12),
        st.sampled_from(["succeeded", "succeeded", "succeeded", "failed"]),
    )
    return draw(st.lists(each, min_size=4, max_size=24, unique_by=lambda run: (run.task, run.day, run.begun)))


@st.composite
def orderly(draw: st.DrawFn) -> list[Execution]:
    """Each day's tasks one after the other, as a scheduler that waits would have it."""
    runs, at = [], 0
    for day in range(len(DAYS)):
        for task in range(CHAIN):
            at += draw(st.integers(1, 5))
            took = draw(st.integers(2, 9))
            runs.append(Execution(task, day, at, took, "succeeded"))
            at += took
    return runs


def _needs(run: Execution) -> list[tuple[int, int]]:
    if run.task == 0:
        return []
    days = (run.day - 1, run.day) if run.task == WINDOWED else (run.day,)
    return [(run.task - 1, day) for day in days if day >= 0]


def _expected(history: Sequence[Execution]) -> set[tuple[str, str]]:
    """The rules, as one would write them without a database."""
    found = set()
    for run in history:
        for task, day in _needs(run):
            others = [each for each in history if (each.task, each.day) == (task, day)]
            ends = sorted(each.ended for each in others if each.state == "succeeded")
            earlier_day_was_there = any(
                each.task == task and each.day < day and each.state == "succeeded" and each.ended <= run.begun
                for each in history
            )
            if (ends and ends[0] > run.begun) or (not ends and (others or earlier_day_was_there)):
                found.add(("started_too_early", run.name))
            elif ends and any(run.begun < end < run.ended for end in ends):
                found.add(("input_changed", run.name))
    return found


def _found(items: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(item.code.value, item.run or "") for item in items if item.code is not FindingCode.SOURCE_SILENT}


def _ask(database: Database, history: Sequence[Execution], seed: int) -> list[Finding]:
    events = [event for run in history for event in _events(run)]
    Random(seed).shuffle(events)
    environment = _new_environment(database)
    bodies: list[Any] = [json.dumps(event).encode() for event in events]
    half = seed % (len(bodies) + 1)
    for part in (bodies[:half], bodies[half:], bodies[:half]):
        assert record_native(database, environment, part, NOTHING).rejected == []
    return findings(database, environment, FindingFilter(since=BEGIN - timedelta(days=9), limit=1_000), NOW).items


def _events(run: Execution) -> list[dict[str, Any]]:
    said = {"task": {"namespace": "ns", "name": f"t{run.task}"}, "partition": DAYS[run.day], "run": run.name}
    output = {"namespace": "lake", "name": f"d{run.task}", "partition": DAYS[run.day]}
    return [
        {**said, "time": _at(run.begun), "state": "running"},
        {**said, "time": _at(run.ended), "state": run.state, "outputs": [output]},
    ]


def _at(tens: int) -> str:
    return (BEGIN + timedelta(seconds=10 * tens)).isoformat()


def _new_environment(database: Database) -> str:
    name = f"findings-{next(_environments)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    tasks = []
    for number in range(CHAIN):
        mapping = {"mapping": {"kind": "window", "from": -1, "to": 0}} if number == WINDOWED else {}
        consumed = {"dataset": {"namespace": "lake", "name": f"d{number - 1}"}, **mapping}
        tasks.append(
            {
                "namespace": "ns",
                "name": f"t{number}",
                "partitioning": {"kind": "daily", "start": DAYS[0]},
                "consumes": [consumed] if number else [],
                "produces": [{"namespace": "lake", "name": f"d{number}"}],
            }
        )
    declare(database, name, definition.parse({"tasks": tasks}, "test"))
    return name


@_quickly
@given(history=histories(), seed=st.integers(0, 2**32))
def test_they_are_those_of_a_plain_twin_whatever_the_order(
    module_database: Database, history: list[Execution], seed: int
) -> None:
    assert _found(_ask(module_database, history, seed)) == _expected(history)


@_quickly
@given(history=orderly(), seed=st.integers(0, 2**32))
def test_a_run_that_began_after_all_its_inputs_were_ready_is_never_found(
    module_database: Database, history: list[Execution], seed: int
) -> None:
    assert _ask(module_database, history, seed) == []


@_quickly
@given(history=orderly(), seed=st.integers(0, 2**32), which=st.integers(0, 3), back=st.integers(1, 3))
def test_a_start_moved_before_an_end_of_an_input_makes_exactly_one_finding(
    module_database: Database, history: list[Execution], seed: int, which: int, back: int
) -> None:
    place = [place for place, run in enumerate(history) if run.task > 0][which]
    run, before = history[place], history[place - 1]
    moved = max(before.ended - back, 0)
    history[place] = run._replace(begun=moved, took=run.ended - moved)
    [item] = _ask(module_database, history, seed)
    assert (item.code, item.run) == (FindingCode.STARTED_TOO_EARLY, history[place].name)
    assert [(each.node.name, each.partition) for each in item.inputs] == [(f"d{before.task}", DAYS[before.day])]
