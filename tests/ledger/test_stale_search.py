"""What is stale of many partitions, beside what is told of each by itself: of drawn worlds, and of an application."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
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
TASKS = 5  # of which each writes the dataset of its number

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


def _edges(random: Random, number: int, *, is_cut: bool) -> list[_Event]:
    found: list[_Event] = []
    for above in range(max(0, number - 3), number + 1 if is_cut else number):
        if random.random() < 0.3 or (above == number and random.random() < 0.7):
            continue
        of_task = random.random() < 0.4
        name = {"task": _task_name(above)} if of_task else {"dataset": _dataset_name(above)}
        own = {"kind": "window", "from": -1, "to": -1 if of_task else 0}
        mapping = random.choice(MAPPINGS) if above < number else own
        staleness = random.choice(["warn"] * 6 + ["block", "ignore"])
        found.append(name | {"mapping": mapping, "required": random.random() < 0.9, "staleness": staleness})
        if of_task and above < number and random.random() < 0.5:
            found.append({"dataset": _dataset_name(above), "mapping": mapping})
    return found


def _cut(random: Random) -> _Event:
    days = [{"partitioning": {"kind": "daily", "start": day}} for day in DAYS[:2]]
    return random.choice([*days * 3, {}])


def _manifest(random: Random) -> dict[str, Any]:
    cuts = [_cut(random) for _ in range(TASKS)]
    tasks = [
        _task_name(each) | cut | {"consumes": _edges(random, each, is_cut=bool(cut)), "produces": [_dataset_name(each)]}
        for each, cut in enumerate(cuts)
    ]
    policies = random.choices(["run", "reported", "content"], k=TASKS)
    datasets = [_dataset_name(each) | {"version": policies[each]} | _cut(random) for each in range(TASKS)]
    return {"source": "test", "tasks": tasks, "datasets": datasets}


def _history(random: Random, tasks: Sequence[_Event]) -> list[_Event]:
    """Nights in which nearly all run in order, and after them runs that come anew; most of them simple."""
    uncut = {number for number, task in enumerate(tasks) if "partitioning" not in task}
    spots = [(number, day) for day in DAYS for number in range(TASKS)]
    spots = [(number, "" if number in uncut and random.random() < 0.5 else day) for number, day in spots]
    nights = [spot for spot in spots if random.random() < 0.97]
    runs = nights + random.choices([*spots, (0, "")], k=random.randint(2, 8))
    return [event for place, (number, day) in enumerate(runs) for event in _run(random, 10 * place, tasks[number], day)]


def _run(random: Random, begun: int, task: _Event, day: str) -> list[_Event]:
    state = random.choice(["succeeded"] * 12 + ["failed", "running", "skipped"])
    said: _Event = {"task": {"namespace": "ns", "name": task["name"]}}
    said |= {"run": random.choice([f"r{begun}", f"r{begun}", day or "r"])}
    interval = {"data_interval": {"start": f"{DAYS[0]}T00:00:00Z", "end": f"{DAYS[2]}T00:00:00Z"}}
    said |= random.choice([{"partition": day}] * 12 + [interval]) if day else {}
    said |= random.choice([_SIMPLY] * 12 + [{"attempt": 2}, {"attempt": 2}, {"map_index": 0}, {"map_index": 1}])
    read = [each["dataset"] for each in task["consumes"] if "dataset" in each and random.random() < 0.15]
    noted = [each | _part(day) | _version(random.choice([None, "a", "b"])) for each in read]
    started = {**said, "time": at(begun).isoformat(), "state": "running", "inputs": noted}
    if state == "running":
        return [started]
    words: list[str | None] = ["a", "a", "b"] if task["name"] in _VERSIONED else [None]
    writes = state == "succeeded" and random.random() < 0.85
    made = [each | _part(day) | _version(random.choice(words)) for each in task["produces"]] if writes else []
    ended = at(begun + random.choice([2, 5, 25]))
    done = {**said, "time": ended.isoformat(), "state": state, "outputs": made}
    return [started, done] if random.random() < 0.8 else [done]


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


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_stale_of_many_is_what_is_told_of_each(module_database: Database, seed: int) -> None:
    random = Random(seed)
    manifest = _manifest(random)
    history = _history(random, manifest["tasks"])
    name = f"stale_{uuid4().hex}"
    with module_database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    declare(module_database, name, definition.parse(manifest))
    bodies = [json.dumps(event).encode() for event in history]
    assert record_native(module_database, name, bodies, NOTHING).rejected == []
    _agree(module_database, name)


@pytest.mark.parametrize("again", [{"run": "second"}, {"run": "first", "attempt": 2}])
def test_what_was_not_written_again_is_as_stale_as_it_was(database: Database, again: _Event) -> None:
    sold = [{"dataset": {"namespace": "s3://lake", "name": "sold"}}]
    declared(
        database,
        {"name": "extract", "produces": [{"namespace": "s3://lake", "name": "raw"}]},
        {"name": "sell", "consumes": [raw()], "produces": [{"namespace": "s3://lake", "name": "sold"}]},
        {"name": "report", "consumes": sold},
    )
    record(database, extract(0, 2), _sell(3, run="first", outputs=[data("sold")]), run("report", 5, 6), extract(7, 8))
    assert len(_agree(database, "dev")[0]) == 2
    record(database, _sell(9, **again))
    (stale,) = _agree(database, "dev")[0]
    with database.transaction() as connection:
        assert connection.execute("select name from task where id = %s", [stale[1]]).fetchone() == ("report",)


def test_instances_of_one_run_began_with_the_first_of_them(database: Database) -> None:
    declared(database, {"name": "extract", "produces": [{"namespace": "s3://lake", "name": "raw"}]})
    declare(database, "dev", definition.parse({"tasks": [_SELL | {"consumes": [raw()]}]}, "other"))
    instances = [_sell(begun, run="r", map_index=place) for place, begun in enumerate((3, 9))]
    record(database, extract(0, 1), extract(5, 6), *instances)
    stale, _ = _agree(database, "dev")
    assert len(stale) == 1


def _sell(begun: int, **more: Any) -> list[_Event]:
    said = {"task": {"namespace": "ns", "name": "sell"}, "partition": DAY, "run": more.pop("run")}
    said |= {key: more.pop(key) for key in ("attempt", "map_index") if key in more}
    started = {**said, "time": at(begun).isoformat(), "state": "running"}
    return [started, {**said, "time": at(begun + 1).isoformat(), "state": "succeeded", **more}]


_SELL = {"namespace": "ns", "name": "sell", "partitioning": {"kind": "daily", "start": "2026-11-01"}}


def test_what_one_run_makes_of_several_days_is_not_made_stale_by_itself(database: Database) -> None:
    yesterday = {"kind": "window", "from": -1, "to": -1}
    own = {"task": {"namespace": "ns", "name": "total"}, "mapping": yesterday}
    declared(database, {"name": "total", "consumes": [own]})
    said = {"task": {"namespace": "ns", "name": "total"}, "run": "both"}
    said |= {"data_interval": {"start": f"{DAYS[0]}T00:00:00Z", "end": f"{DAYS[2]}T00:00:00Z"}}
    states = ((0, "running"), (5, "succeeded"))
    record(database, [{**said, "time": at(minutes).isoformat(), "state": state} for minutes, state in states])
    assert _agree(database, "dev") == (set(), 2)


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
