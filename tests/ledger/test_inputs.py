"""What is left out as unchanged is not stale, in drawn worlds of tasks and datasets that are cut in many ways."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from random import Random
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import staleness, unchanged
from dataforge.ledger.declare import declare
from dataforge.ledger.unchanged import compared, suspected
from dataforge.model import definition, edge, stale_in_turn
from dataforge.model.attempt import Interval
from dataforge.model.fit import misfit
from dataforge.model.partition import Partitioning, keys_of
from dataforge.storage import environment as environments
from dataforge.storage.database import Connection, Database
from dataforge.storage.readiness import Place
from tests.ledger.freshness_events import DAY, NOW, at, data, declared, extract, named, raw, record, run

TASKS = 5  # of which each writes the dataset of its number
SPAN = Interval(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC))
DAILY = Partitioning(kind="daily", start="2026-11-01")
CLIENTS = Partitioning(kind="static", keys=("a", "b"))
CUTS = [
    DAILY,
    DAILY,
    Partitioning(kind="daily", start="2026-11-02"),
    Partitioning(kind="cron", cron="0 */12 * * *", start="2026-11-01"),
    Partitioning(kind="monthly", start="2026-11-01"),
    Partitioning(kind="product", dimensions={"client": CLIENTS, "day": DAILY}),
    CLIENTS,
    *[None] * 2,  # not declared
    Partitioning(kind="none"),
]
MAPPINGS: Sequence[Mapping[str, Any]] = [
    *[{"kind": "same"}] * 4,
    {"kind": "window", "from": -1, "to": 0},
    {"kind": "to_date", "period": "month"},
    {"kind": "last"},
    *[{"kind": "last", "not_older_than": "P2D"}] * 4,
    {"kind": "all"},
    {"kind": "fixed", "key": "2026-11-02"},
    {"kind": "fixed", "key": "a"},
    {"kind": "dimension", "dimensions": {"client": {"kind": "all"}}},
    {"kind": "dimension", "dimensions": {"client": {"kind": "fixed", "key": "b"}, "day": {"kind": "last"}}},
    {"kind": "along", "dimension": "day", "mapping": {"kind": "window", "from": -1, "to": -1}},
    {"kind": "along", "dimension": "client"},
    {"kind": "table", "keys": {"a": ["b"], "b": ["a", "b"], "2026-11-01": ["2026-11-02"]}},
]

_Event = dict[str, Any]
_Cuts = Sequence[Partitioning | None]


def keys(cut: Partitioning | None) -> Sequence[str]:
    """Some of what it is cut into."""
    if cut is None:
        return ["", "2026-11-02", "a"]
    if cut.kind == "product":
        return ["|".join(each) for each in product(*(keys(part) for _, part in sorted(cut.dimensions.items())))]
    return keys_of(cut, SPAN) if cut.windowed else cut.keys or [""]


def _edges(random: Random, number: int, ours: Partitioning | None, tasks: _Cuts, datasets: _Cuts) -> list[_Event]:
    found = []
    for above in range(number):
        is_task = random.random() < 0.3
        theirs = (tasks if is_task else datasets)[above]
        if random.random() < 0.6 and (mapping := _mapping(random, ours, theirs)) is not None:
            name = {"task": _task(above)} if is_task else {"dataset": _dataset(above)}
            staleness = random.choice(["warn"] * 6 + ["block", "ignore"])
            found.append(name | {"mapping": mapping, "required": random.random() < 0.9, "staleness": staleness})
    return found


def _mapping(random: Random, ours: Partitioning | None, theirs: Partitioning | None) -> Mapping[str, Any] | None:
    for each in random.sample(MAPPINGS, len(MAPPINGS)):
        mapping: edge.Mapping = msgspec.convert(each, edge.Mapping)
        if ours is None or theirs is None or misfit(mapping, ours, theirs) is None:
            return each
    return None


def _manifest(random: Random, tasks: _Cuts, datasets: _Cuts) -> dict[str, Any]:
    return {
        "source": "test",
        "tasks": [
            _task(each)
            | _cut(cut)
            | {"consumes": _edges(random, each, cut, tasks, datasets)}
            | _made(each, cut, theirs)
            for each, (cut, theirs) in enumerate(zip(tasks, datasets, strict=True))
        ],
        "datasets": [_dataset(each) | _cut(cut) for each, cut in enumerate(datasets)],
    }


def _made(number: int, cut: Partitioning | None, theirs: Partitioning | None) -> dict[str, Any]:
    fits = cut is None or theirs is None or misfit(edge.SAME, cut, theirs) is None
    return {"produces": [_dataset(number)]} if fits else {}


def _cut(cut: Partitioning | None) -> _Event:
    return {} if cut is None else {"partitioning": msgspec.to_builtins(cut)}


def _history(random: Random, tasks: _Cuts, datasets: _Cuts) -> list[_Event]:
    """Runs of all that there is in order, and some of it anew."""
    spots = [(number, key) for number in range(TASKS) for key in keys(tasks[number])]
    runs = [*spots, *random.choices(spots, k=random.randint(0, 8))]
    return [event for place, spot in enumerate(runs) for event in _run(random, 10 * place, spot, datasets)]


def _run(random: Random, begun: int, spot: tuple[int, str], datasets: _Cuts) -> list[_Event]:
    number, key = spot
    said = {"task": _task(number), "run": f"r{begun}"} | _part(key)
    if random.random() < 0.1:
        return []
    theirs = [each for each in keys(datasets[number]) if key in each or each in key or random.random() < 0.2]
    made = [_dataset(number) | _part(each) for each in theirs]
    ended = at(begun + random.choice([2, 5, 25])).isoformat()
    started = {**said, "time": at(begun).isoformat(), "state": "running"}
    return [started, {**said, "time": ended, "state": "succeeded", "outputs": made}]


def _part(key: str) -> dict[str, str]:
    return {"partition": key} if key else {}


def _task(number: int) -> dict[str, Any]:
    return {"namespace": "ns", "name": f"t{number}"}


def _dataset(number: int) -> dict[str, Any]:
    return {"namespace": "lake", "name": f"d{number}"}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    levels=st.sampled_from([0, 0, 0, 1, 3]),
    most=st.sampled_from([0, 3, 100]),
    roots=st.sampled_from([1, stale_in_turn.MOST_ROOTS]),
)
def test_what_is_left_out_is_not_stale_however_it_is_cut(
    module_database: Database, seed: int, levels: int, most: int, roots: int
) -> None:
    random, name = Random(seed), f"cut_{uuid4().hex}"
    tasks, datasets = random.choices(CUTS, k=TASKS), random.choices(CUTS, k=TASKS)
    with module_database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    declare(module_database, name, definition.parse(_manifest(random, tasks, datasets)))
    bodies = [json.dumps(event).encode() for event in _history(random, tasks, datasets)]
    assert record_native(module_database, name, bodies, NOTHING).rejected == []
    bounds = staleness.Bounds(levels=levels, places=most, partly=False, inputs=staleness.NEAR.inputs)
    with module_database.transaction() as connection, pytest.MonkeyPatch.context() as patch:
        for module in (stale_in_turn, staleness, unchanged):
            patch.setattr(module, "MOST_ROOTS", roots)
        here = environments.find(connection, name).id
        made = sorted(connection.execute(_MADE, [here]).fetchall())
        for many in {1, len(made) // 3, len(made)} - {0}:
            asked = random.sample(made, min(many, len(made)))
            _look_alike(connection, here, set(asked), bounds, set(asked[: random.randint(0, many)]))


_MADE = "select node_kind, node_id, partition from partition_state where environment = %s and ready_run is not null"


def _look_alike(
    connection: Connection, environment: int, asked: set[Place], bounds: staleness.Bounds, own: set[Place]
) -> int:
    """How many are stale, told in both ways: of what is asked about for its own sake all, of the others one reason."""
    whole = staleness.staleness(connection, environment, asked, NOW, bounds)
    suspicion = suspected(connection, environment, asked, NOW, bounds)
    known = compared(connection, environment, suspicion, own, NOW)
    found = staleness.staleness(connection, environment, suspicion.suspects, NOW, suspicion.bounds, known)
    for place in asked:
        most = None if place in own else 1
        assert (found.stale(place, most) if place in suspicion.suspects else ()) == whole.stale(place, most)
    return sum(1 for place in asked if whole.stale(place))


RAWS = [f"raw{number:02}" for number in range(12)]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), ignored=st.sampled_from([0, 0, 1, 6]), alike=st.sampled_from([0, 0, 1, 6]))
def test_of_many_inputs_that_were_written_again_the_first_are_told(
    module_database: Database, seed: int, ignored: int, alike: int
) -> None:
    random, name = Random(seed), f"many_{uuid4().hex}"
    with module_database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    ignoring, same = random.sample(RAWS, ignored), random.sample(RAWS, alike)
    raws = [{"dataset": named(each), "staleness": "ignore" if each in ignoring else "warn"} for each in RAWS]
    tasks = [
        {"namespace": "ns", "name": "report", "consumes": raws, "produces": [named("report")]},
        {"namespace": "ns", "name": "summary", "consumes": [{"dataset": named("report")}]},
    ]
    datasets = [{**named(each), "version": "reported"} for each in RAWS]
    declare(module_database, name, definition.parse({"source": "test", "tasks": tasks, "datasets": datasets}))
    again = random.sample(RAWS, random.randint(8, len(RAWS)))
    history = [
        *(run(f"load {each}", 0, 1, outputs=[data(each, version="a")]) for each in RAWS),
        run("report", 2, 3, outputs=[data("report")]),
        run("summary", 4, 5),
        *(run(f"load {each}", 6, 7, outputs=[data(each, version="a" if each in same else "b")]) for each in again),
    ]
    bodies = [json.dumps(event).encode() for events in history for event in events]
    assert record_native(module_database, name, bodies, NOTHING).rejected == []
    with module_database.transaction() as connection:
        here = environments.find(connection, name).id
        made = sorted(connection.execute(_MADE, [here]).fetchall())
        own = set(random.sample(made, random.randint(0, len(made))))
        stale = 3 if set(again) - {*ignoring, *same} else 0  # the report, as a task and as data, and the summary
        assert _look_alike(connection, here, set(made), replace(staleness.NEAR, levels=0), own) == stale


def _stale(database: Database) -> int:
    with database.transaction() as connection:
        (asked,) = connection.execute("select id from task where name = 'report'").fetchall()
        report: set[Place] = {("task", asked[0], DAY)}
        return _look_alike(connection, 1, report, replace(staleness.NEAR, levels=0), report)


def test_what_stands_for_a_partition_may_have_been_read_in_its_place(database: Database) -> None:
    whole = {"task": {"namespace": "ns", "name": "load"}}
    written = {"outputs": [{"namespace": "s3://lake", "name": "raw"}]}
    loads = [{**whole, "run": f"{at(each)}", "time": at(each).isoformat(), "state": "succeeded"} for each in (1, 9)]
    declared(database, {"name": "report", "consumes": [raw()]})
    record(database, [loads[0] | written], run("report", 2, 3))
    assert _stale(database) == 0
    record(database, [loads[1] | written])
    assert _stale(database) == 1


def test_where_one_of_several_is_enough_an_older_one_changes_nothing(database: Database) -> None:
    recent = {"kind": "last", "not_older_than": "P2D"}
    daily = {"kind": "daily", "start": "2026-11-01"}
    declared(
        database,
        {"name": "extract", "produces": [{"namespace": "s3://lake", "name": "raw"}]},
        {"name": "report", "consumes": [raw(mapping=recent)]},
        datasets=[{"namespace": "s3://lake", "name": "raw", "partitioning": daily}],
    )
    older = [run("extract", each, each + 1, key="2026-11-04", outputs=[data("raw", "2026-11-04")]) for each in (0, 8)]
    record(database, older[0], extract(2, 3), run("report", 4, 5), older[1])
    assert _stale(database) == 0
    record(database, extract(10, 11))
    assert _stale(database) == 1


def test_a_task_that_ran_anew_and_wrote_nothing_changes_nothing_behind_its_dataset(database: Database) -> None:
    waits = {"task": {"namespace": "ns", "name": "extract"}}
    declared(
        database,
        {"name": "extract", "produces": [{"namespace": "s3://lake", "name": "raw"}]},
        {"name": "report", "consumes": [raw(), waits]},
    )
    record(database, extract(0, 1), run("report", 2, 3), run("extract", 4, 5))
    assert _stale(database) == 0
    record(database, extract(6, 7))
    assert _stale(database) == 1
