"""What is stale of many partitions, beside what is told of each by itself: of drawn worlds, and of an application."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.stale_search import StaleSearch
from dataforge.ledger.staleness import FAR, staleness
from dataforge.model import definition
from dataforge.model.freshness import FreshnessStatus
from dataforge.storage import environment as environments
from dataforge.storage.database import Connection, Database
from dataforge.storage.readiness import Place
from tests.ledger.freshness_events import DAY, NOW, at, data, declared, extract, raw, record, run
from tests.ledger.test_freshness_of_spark import enrich

DAYS = ["2026-11-01", "2026-11-02", "2026-11-03"]
MOST = 5  # tasks, of which each writes a dataset of its number

_Event = dict[str, Any]

MAPPINGS: Sequence[Mapping[str, Any]] = (
    {"kind": "same"},
    {"kind": "same"},
    {"kind": "window", "from": -1, "to": 0},
    {"kind": "last"},
    {"kind": "last", "not_older_than": "P2D"},
    {"kind": "all"},
    {"kind": "fixed", "key": DAYS[1]},
)
_mostly = st.sampled_from([True, True, True, False])


@st.composite
def _edges(draw: st.DrawFn, number: int, *, is_cut: bool) -> list[_Event]:
    found: list[_Event] = []
    for above in sorted(
        draw(
            st.sets(st.integers(0, number if is_cut else number - 1), max_size=3)
            if number or is_cut
            else st.just(set[int]())
        )
    ):
        of_task = draw(st.booleans())
        name = {"task": _task_name(above)} if of_task else {"dataset": _dataset_name(above)}
        own = {"kind": "window", "from": -1, "to": -1 if of_task else 0}
        mapping = draw(st.sampled_from(MAPPINGS)) if above < number else own
        required = draw(_mostly)
        found.append(name | {"mapping": mapping, "required": required, "staleness": draw(_STALENESS)})
        if of_task and above < number and draw(st.booleans()):
            found.append({"dataset": _dataset_name(above), "mapping": mapping})
    return found


_STALENESS = st.sampled_from(["warn", "warn", "block", "ignore"])


@st.composite
def _manifests(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(2, MOST))
    daily = st.sampled_from([{"partitioning": {"kind": "daily", "start": day}} for day in DAYS[:2]] * 3 + [{}])
    cuts = [draw(daily) for _ in range(size)]
    tasks = [
        _task_name(each) | cut | {"consumes": draw(_edges(each, is_cut=bool(cut))), "produces": [_dataset_name(each)]}
        for each, cut in enumerate(cuts)
    ]
    policy = st.sampled_from(["run", "run", "reported", "content"])
    datasets = [_dataset_name(each) | {"version": draw(policy)} | draw(daily) for each in range(size)]
    return {"source": "test", "tasks": tasks, "datasets": datasets}


@st.composite
def _histories(draw: st.DrawFn, tasks: Sequence[_Event]) -> list[_Event]:
    """Nights in which nearly all run in order, and after them runs that come anew; most of them simple."""
    uncut = {number for number, task in enumerate(tasks) if "partitioning" not in task}
    spots = [(number, day) for day in DAYS for number in range(len(tasks))]
    spots = [(number, "" if number in uncut and draw(st.booleans()) else day) for number, day in spots]
    nights = [spot for spot in spots if draw(st.integers(1, 12)) > 1]
    runs = nights + draw(st.lists(st.sampled_from([*spots, (0, "")]), min_size=1, max_size=7))
    return [event for at, (number, day) in enumerate(runs) for event in draw(_events(10 * at, tasks[number], day))]


@st.composite
def _events(draw: st.DrawFn, begun: int, task: _Event, day: str) -> list[_Event]:
    state = draw(st.sampled_from(["succeeded"] * 10 + ["failed", "running", "skipped"]))
    said: _Event = {"task": {"namespace": "ns", "name": task["name"]}}
    said |= {"run": draw(st.sampled_from([f"r{begun}"] * 5 + [day or "r"]))}
    interval = {"data_interval": {"start": f"{DAYS[0]}T00:00:00Z", "end": f"{DAYS[2]}T00:00:00Z"}}
    said |= draw(st.sampled_from([{"partition": day}] * 12 + [interval])) if day else {}
    said |= draw(st.sampled_from([_SIMPLY] * 14 + [{"attempt": 2}, {"map_index": 0}, {"map_index": 1}]))
    words: list[str | None] = ["a", "a", "b"] if task["name"] in _VERSIONED else [None]
    version = st.sampled_from(words)
    read = [each["dataset"] for each in task["consumes"] if "dataset" in each and draw(st.integers(1, 4)) == 1]
    noted = [each | _part(day) | _version(draw(st.sampled_from([None, "a", "b"]))) for each in read]
    ended = at(begun + draw(st.sampled_from([2, 5, 25])))
    started = {**said, "time": at(begun).isoformat(), "state": "running", "inputs": noted}
    if state == "running":
        return [started]
    writes = state == "succeeded" and draw(st.integers(1, 6)) > 1
    made = {"outputs": [each | _part(day) | _version(draw(version)) for each in task["produces"]]} if writes else {}
    done = {**said, "time": ended.isoformat(), "state": state, **made}
    return [started, done] if draw(st.integers(1, 5)) > 1 else [done]


_SIMPLY: _Event = {}
_VERSIONED = frozenset({"t1", "t3"})  # which say what version of their data they write


def _task_name(number: int) -> dict[str, Any]:
    return {"namespace": "ns", "name": f"t{number}"}


def _dataset_name(number: int) -> dict[str, Any]:
    return {"namespace": "lake", "name": f"d{number}"}


def _part(day: str) -> _Event:
    return {"partition": day} if day else {}


def _version(word: str | None) -> _Event:
    return {"version": word} if word else {}


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[dict[str, Any], list[_Event]]:
    manifest = draw(_manifests())
    return manifest, draw(_histories(manifest["tasks"]))


def _told_of_each(connection: Connection, environment: int, places: Sequence[Place]) -> set[Place]:
    found = staleness(connection, environment, places, NOW, FAR)
    stale = {place for place in places if found.status(place) is FreshnessStatus.STALE}
    return {place for place in stale if found.compared[place].built is not None}


def _searched(connection: Connection, environment: int, places: Sequence[Place]) -> set[Place]:
    of: dict[int, list[str]] = {}
    for _, task, key in places:
        of.setdefault(task, []).append(key)
    found = StaleSearch(connection, environment, NOW).stale(of)
    return {("task", task, key) for task, keys in found.items() for key in keys}


def _agree(database: Database, name: str) -> tuple[set[Place], int]:
    """What is stale, of how many that were made: told in both ways."""
    with database.transaction() as connection:
        here = environments.find(connection, name).id
        rows = connection.execute(_TASKS, [here]).fetchall()
        places: list[Place] = [("task", task, key) for task, key in rows]
        searched = _searched(connection, here, places)
        assert searched == _told_of_each(connection, here, places)
        return searched, len(places)


_TASKS = "select node_id, partition from partition_state where environment = %s and node_kind = 'task'"


@settings(max_examples=150, deadline=None)
@given(world=_worlds())
def test_what_is_stale_of_many_is_what_is_told_of_each(
    module_database: Database, world: tuple[dict[str, Any], list[_Event]]
) -> None:
    manifest, history = world
    name = f"stale_{uuid4().hex}"
    with module_database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    declare(module_database, name, definition.parse(manifest))
    bodies = [json.dumps(event).encode() for event in history]
    assert record_native(module_database, name, bodies, NOTHING).rejected == []
    _agree(module_database, name)


def test_what_a_later_run_did_not_write_is_as_stale_as_it_was(database: Database) -> None:
    sold = [{"dataset": {"namespace": "s3://lake", "name": "sold"}}]
    declared(
        database,
        {"name": "extract", "produces": [{"namespace": "s3://lake", "name": "raw"}]},
        {"name": "sell", "consumes": [raw()], "produces": [{"namespace": "s3://lake", "name": "sold"}]},
        {"name": "report", "consumes": sold},
    )
    record(database, extract(0, 2), run("sell", 3, 4, outputs=[data("sold")]), run("report", 5, 6), extract(7, 8))
    assert len(_agree(database, "dev")[0]) == 2
    record(database, run("sell", 9, 10))
    (stale,) = _agree(database, "dev")[0]
    with database.transaction() as connection:
        assert connection.execute("select name from task where id = %s", [stale[1]]).fetchone() == ("report",)


def test_a_search_that_does_not_reach_the_end_says_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    yesterday = {"kind": "window", "from": -1, "to": -1}
    declared(
        database, {"name": "total", "consumes": [{"task": {"namespace": "ns", "name": "total"}, "mapping": yesterday}]}
    )
    for begun, day in enumerate(("2026-11-01", "2026-11-02", "2026-11-03")):
        record(database, run("total", 10 * begun, 10 * begun + 5, key=day))
    record(database, run("total", 40, 45, key="2026-11-01"))
    with database.transaction() as connection:
        here = environments.find(connection, "dev").id
        (task,) = {task for task, _ in connection.execute(_TASKS, [here])}
        search = StaleSearch(connection, here, NOW)
        assert (search.stale({task: ["2026-11-03"]}), search.is_whole) == ({task: ["2026-11-03"]}, True)
        monkeypatch.setattr("dataforge.ledger.stale_search.MOST_LEVELS", 1)
        search = StaleSearch(connection, here, NOW)
        assert (search.stale({task: ["2026-11-03"]}), search.is_whole) == ({task: []}, False)


@pytest.mark.parametrize("of_application", [True, False])
def test_what_an_application_reads_counts_for_who_ran_it(database: Database, of_application: bool) -> None:
    report = {"name": "report", "consumes": [{"dataset": {"namespace": "s3://lake", "name": "orders"}}]}
    declared(database, {"name": "enrich", "namespace": "airflow", "consumes": [raw()]}, report)
    inputs = ({"namespace": "s3://lake", "name": f"raw/date={DAY}"},) if of_application else ()
    record(database, extract(0, 2), enrich(3, inputs=inputs), extract(30, 31))
    stale, made = _agree(database, "dev")
    assert 0 < len(stale) < made
