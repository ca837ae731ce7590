"""Freshness beside a plain twin of it: random runs, re-runs and failures of a chain, told in any order."""

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
from dataforge.ledger.freshness import freshness
from dataforge.model import definition
from dataforge.model.freshness import FreshnessQuestion
from dataforge.storage.database import Database

BEGIN = datetime(2026, 11, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAYS = ["2026-11-01", "2026-11-02"]
CHAIN = 3  # task i reads d(i-1) and writes d(i); the second reads the day before as well
WINDOWED = 1
_environments = count()


class Execution(NamedTuple):
    """A run of one task for one day; times in seconds."""

    task: int
    day: int
    begun: int
    took: int
    state: str
    version: str | None


@st.composite
def histories(draw: st.DrawFn) -> list[Execution]:
    each = st.tuples(
        st.integers(0, CHAIN - 1),
        st.integers(0, len(DAYS) - 1),
        st.integers(1, 25),
        st.sampled_from(["succeeded", "succeeded", "succeeded", "failed", "running"]),
        st.sampled_from([None, None, "a", "b"]),
    )
    drawn = draw(st.lists(each, min_size=8, max_size=30))
    return [
        Execution(task, day, 10 * place, took, state, version)
        for place, (task, day, took, state, version) in enumerate(drawn)
    ]


def _upstream_days(task: int, day: int) -> list[int]:
    if task == 0:
        return []
    return [each for each in ((day - 1, day) if task == WINDOWED else (day,)) if each >= 0]


def _last_success(history: Sequence[Execution], task: int, day: int) -> Execution | None:
    done = [each for each in history if (each.task, each.day, each.state) == (task, day, "succeeded")]
    return max(done, key=lambda each: each.begun, default=None)


def _read_version(history: Sequence[Execution], run: Execution, day: int) -> str | None:
    """What a run noted of its input: the version of the last success that had ended when it began."""
    there = [
        each
        for each in history
        if (each.task, each.day, each.state) == (run.task - 1, day, "succeeded") and each.begun + each.took <= run.begun
    ]
    last = max(there, key=lambda each: each.begun, default=None)
    return last.version if last else None


def _expected(history: Sequence[Execution], task: int, day: int) -> tuple[str, set[tuple[str, str]]]:
    """The rule, as one would write it without a database."""
    own = _last_success(history, task, day)
    reasons: set[tuple[str, str]] = set()
    for each in _upstream_days(task, day):
        upstream = _last_success(history, task - 1, each)
        if upstream is None:
            reasons.add(("upstream_missing", DAYS[each]))
            continue
        if own is None:
            continue
        read = _read_version(history, own, each)
        known = read is not None and upstream.version is not None
        newer = read != upstream.version if known else upstream.begun + upstream.took > own.begun
        if newer:
            reasons.add(("upstream_stale", DAYS[each]))
    return ("not_built" if own is None else "stale" if reasons else "fresh", reasons)


def _events(history: Sequence[Execution], run: Execution) -> list[dict[str, Any]]:
    said = {"task": {"namespace": "ns", "name": f"t{run.task}"}, "partition": DAYS[run.day], "run": f"r{run.begun}"}
    inputs = [
        {**_data(run.task - 1, day), **({"version": version} if version else {})}
        for day in _upstream_days(run.task, run.day)
        for version in [_read_version(history, run, day)]
    ]
    output = {**_data(run.task, run.day), **({"version": run.version} if run.version else {})}
    start = {**said, "time": _at(run.begun), "state": "running", "inputs": inputs}
    if run.state == "running":
        return [start]
    done = {"outputs": [output]} if run.state == "succeeded" else {}
    return [start, {**said, "time": _at(run.begun + run.took), "state": run.state, **done}]


def _data(task: int, day: int) -> dict[str, Any]:
    return {"namespace": "lake", "name": f"d{task}", "partition": DAYS[day]}


def _at(seconds: int) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def _new_environment(database: Database) -> str:
    name = f"twin-{next(_environments)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    tasks = [_task(number) for number in range(CHAIN)]
    declare(database, name, definition.parse({"tasks": tasks}, "test"))
    return name


def _task(number: int) -> dict[str, Any]:
    mapping = {"mapping": {"kind": "window", "from": -1, "to": 0}} if number == WINDOWED else {}
    consumed = {"dataset": {"namespace": "lake", "name": f"d{number - 1}"}, **mapping}
    return {
        "namespace": "ns",
        "name": f"t{number}",
        "partitioning": {"kind": "daily", "start": DAYS[0]},
        "consumes": [consumed] if number else [],
        "produces": [{"namespace": "lake", "name": f"d{number}"}],
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), seed=st.integers(0, 2**32))
def test_it_answers_as_its_plain_twin_whatever_the_order(
    module_database: Database, history: list[Execution], seed: int
) -> None:
    events = [event for run in history for event in _events(history, run)]
    Random(seed).shuffle(events)
    environment = _new_environment(module_database)
    result = record_native(module_database, environment, [json.dumps(event).encode() for event in events], NOTHING)
    assert result.rejected == []
    places = [(task, day) for task in range(CHAIN) for day in range(len(DAYS))]
    questions = [FreshnessQuestion(name=f"d{task}", partition=DAYS[day]) for task, day in places]
    items = freshness(module_database, environment, questions, NOW).items
    answered = [(item.status.value, {(r.code.value, r.partition or "") for r in item.reasons}) for item in items]
    assert answered == [_expected(history, task, day) for task, day in places]
