"""Freshness beside a plain twin of it: versions by policy and what is stale in turn, of random graphs and runs."""

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
TASKS = 4  # task i writes d(i), and reads some of those before
_environments = count()


class Edge(NamedTuple):
    """That a task reads d(upstream), of the day before as well where it is a window."""

    upstream: int
    staleness: str
    window: bool


class World(NamedTuple):
    """The edges of each task, and the policy of each dataset."""

    edges: list[list[Edge]]
    policies: list[str]


class Execution(NamedTuple):
    """A run of one task for one day; times in seconds."""

    task: int
    day: int
    begun: int
    took: int
    state: str
    version: str | None
    notes: bool  # the versions of what it reads


@st.composite
def worlds(draw: st.DrawFn) -> World:
    staleness = st.sampled_from(["warn", "warn", "block", "ignore"])
    edges = [
        [
            Edge(upstream, draw(staleness), draw(st.booleans()))
            for upstream in range(task)
            if upstream == task - 1 or draw(st.booleans())
        ]
        for task in range(TASKS)
    ]
    return World(edges, [draw(st.sampled_from(["run", "reported", "content"])) for _ in range(TASKS)])


@st.composite
def histories(draw: st.DrawFn) -> list[Execution]:
    each = st.tuples(
        st.integers(0, TASKS - 1),
        st.integers(0, len(DAYS) - 1),
        st.integers(1, 25),
        st.sampled_from(["succeeded", "succeeded", "succeeded", "succeeded", "failed", "running"]),
        st.sampled_from([None, "a", "a", "b"]),
        st.booleans(),
    )
    drawn = draw(st.lists(each, min_size=8, max_size=30))
    return [Execution(task, day, 10 * place, *rest) for place, (task, day, *rest) in enumerate(drawn)]


def _reads(edge: Edge, day: int) -> list[int]:
    return [each for each in ((day - 1, day) if edge.window else (day,)) if each >= 0]


def _successes(history: Sequence[Execution], task: int, day: int) -> list[Execution]:
    """In the order in which they were started: the later takes precedence."""
    return [each for each in history if (each.task, each.day, each.state) == (task, day, "succeeded")]


def _there(successes: Sequence[Execution], at: int) -> Execution | None:
    """What is there at a moment: of what has ended by then the last that was started."""
    return next((each for each in reversed(successes) if each.begun + each.took <= at), None)


def _noted(history: Sequence[Execution], run: Execution, upstream: int, day: int) -> str | None:
    then = _there(_successes(history, upstream, day), run.begun)
    return then.version if then and run.notes else None


def _changed(world: World, history: Sequence[Execution], own: Execution, upstream: int, day: int) -> bool:
    """Whether what is there now is another version than the one that `own` was built from."""
    made, policy = _successes(history, upstream, day), world.policies[upstream]
    now, then = made[-1], _there(made, own.begun)
    if then is now:
        return False
    if policy == "run" or now.version is None or then is None:
        return True
    if _noted(history, own, upstream, day) is not None or policy == "content":
        return then.version != now.version
    moments = sorted(each.begun + each.took for each in made)
    words = [_there(made, moment) for moment in moments if moment > own.begun]
    return any(each is None or each.version != then.version for each in words)


def _inputs(world: World, task: int, day: int) -> list[tuple[int, int]]:
    edges = [edge for edge in world.edges[task] if edge.staleness != "ignore"]
    return [(edge.upstream, each) for edge in edges for each in _reads(edge, day)]


def _stale(world: World, history: Sequence[Execution], task: int, day: int) -> bool:
    """The rule, as one would write it without a database: something it was built from changed, or is itself stale."""
    return bool(_causes(world, history, task, day))


def _causes(world: World, history: Sequence[Execution], task: int, day: int) -> set[tuple[str, str, str, str]]:
    made = _successes(history, task, day)
    found: set[tuple[str, str, str, str]] = set()
    if not made:
        return found
    for upstream, each in _inputs(world, task, day):
        if not _successes(history, upstream, each):
            continue
        if _changed(world, history, made[-1], upstream, each):
            found.add(("upstream_stale", f"d{upstream}", DAYS[each], "ready"))
        if _stale(world, history, upstream, each):
            found.add(("upstream_stale", f"d{upstream}", DAYS[each], "stale"))
    return found


def _expected(world: World, history: Sequence[Execution], task: int, day: int) -> tuple[str, set[tuple[str, ...]]]:
    reasons: set[tuple[str, ...]] = {*_causes(world, history, task, day)}
    missing = {
        ("upstream_missing", f"d{upstream}", DAYS[each])
        for upstream, each in _inputs(world, task, day)
        if not _successes(history, upstream, each)
    }
    built = bool(_successes(history, task, day))
    return ("not_built" if not built else "stale" if reasons or missing else "fresh", reasons | missing)


def _events(world: World, history: Sequence[Execution], run: Execution) -> list[dict[str, Any]]:
    said = {"task": {"namespace": "ns", "name": f"t{run.task}"}, "partition": DAYS[run.day], "run": f"r{run.begun}"}
    inputs = [
        _data(edge.upstream, day, _noted(history, run, edge.upstream, day))
        for edge in world.edges[run.task]
        for day in _reads(edge, run.day)
    ]
    start = {**said, "time": _at(run.begun), "state": "running", "inputs": inputs}
    if run.state == "running":
        return [start]
    done = {"outputs": [_data(run.task, run.day, run.version)]} if run.state == "succeeded" else {}
    return [start, {**said, "time": _at(run.begun + run.took), "state": run.state, **done}]


def _data(task: int, day: int, version: str | None) -> dict[str, Any]:
    named = {"namespace": "lake", "name": f"d{task}", "partition": DAYS[day]}
    return {**named, **({"version": version} if version else {})}


def _at(seconds: int) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def _new_environment(database: Database, world: World) -> str:
    name = f"twin-{next(_environments)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    tasks = [_task(number, world.edges[number]) for number in range(TASKS)]
    datasets = [{"namespace": "lake", "name": f"d{n}", "version": each} for n, each in enumerate(world.policies)]
    declare(database, name, definition.parse({"tasks": tasks, "datasets": datasets}, "test"))
    return name


def _task(number: int, edges: Sequence[Edge]) -> dict[str, Any]:
    return {
        "namespace": "ns",
        "name": f"t{number}",
        "partitioning": {"kind": "daily", "start": DAYS[0]},
        "consumes": [
            {
                "dataset": {"namespace": "lake", "name": f"d{edge.upstream}"},
                "staleness": edge.staleness,
                "mapping": {"kind": "window", "from": -1, "to": 0} if edge.window else {"kind": "same"},
            }
            for edge in edges
        ],
        "produces": [{"namespace": "lake", "name": f"d{number}"}],
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), history=histories(), seed=st.integers(0, 2**32))
def test_it_answers_as_its_plain_twin_whatever_the_order(
    module_database: Database, world: World, history: list[Execution], seed: int
) -> None:
    random, events = Random(seed), [event for run in history for event in _events(world, history, run)]
    events += random.sample(events, len(events) // 4)
    random.shuffle(events)
    environment = _new_environment(module_database, world)
    result = record_native(module_database, environment, [json.dumps(event).encode() for event in events], NOTHING)
    assert result.rejected == []
    places = [(task, day) for task in range(TASKS) for day in range(len(DAYS))]
    questions = [FreshnessQuestion(name=f"d{task}", partition=DAYS[day]) for task, day in places]
    items = freshness(module_database, environment, questions, NOW).items
    answered = [(item.status.value, {_shown(reason) for reason in item.reasons}) for item in items]
    assert answered == [_expected(world, history, task, day) for task, day in places]


def _shown(reason: Any) -> tuple[str, ...]:
    named = (reason.code.value, reason.upstream.name, reason.partition)
    return (*named, reason.state) if reason.code == "upstream_stale" else named
