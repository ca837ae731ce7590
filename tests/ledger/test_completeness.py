"""Partitions that several runs make: what a run wrote by its declared mapping, when all of it is there, and stages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.dispatch.announce import announce
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.findings import findings
from dataforge.ledger.verify import digest
from dataforge.model.definition import parse
from dataforge.model.errors import InvalidInput
from dataforge.model.filter import FindingFilter, PartitionFilter
from dataforge.storage.database import Database
from tests.ledger.completeness_events import (
    DAILY,
    DAY,
    GLUE,
    NOW,
    ORDERS,
    REGIONS,
    ask,
    declare_orders,
    named,
    say,
    task,
)


def test_a_run_that_rewrites_three_days_makes_all_of_them(database: Database) -> None:
    declare_orders(database, task("load", mapping={"kind": "window", "from": -2, "to": 0}))
    say(database, "load")
    days = {day: ask(database, day=f"2026-11-0{day}").runnable for day in (1, 2, 3, 4)}
    assert days == {1: True, 2: True, 3: True, 4: False}


def _said(database: Database) -> list[tuple[str, str | None]]:
    items = catalog.partitions(database, "dev", PartitionFilter(name="orders"), NOW).items
    return [(item.state.value, item.reason) for item in items]


def test_a_list_says_which_shares_of_a_partition_are_not_there(database: Database) -> None:
    regions = [*REGIONS["keys"], "ap", "af", "sa"]
    cut = {"kind": "product", "dimensions": {"date": DAILY, "region": {"kind": "static", "keys": regions}}}
    declare_orders(database, task("load", cut=cut, mapping={"kind": "along", "dimension": "date"}), task("fix"))
    say(database, "load", key=f"{DAY}|us")
    first = f"fix for {DAY} missing, load for {DAY}|eu missing"
    assert _said(database) == [("missing", f"1 of 6 shares there: {first}, load for {DAY}|ap missing and 2 more")]
    say(database, "load", state="running", key=f"{DAY}|eu", hour=2)
    running = first.replace("eu missing", "eu running")
    assert _said(database) == [("running", f"1 of 6 shares there: {running}, load for {DAY}|ap missing and 2 more")]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (None, "1 of 3 shares there: one for 2026-11-03 missing and two for 2026-11-03 missing"),
        (2, "1 of 3 shares there, 2 are needed: one for 2026-11-03 missing and two for 2026-11-03 missing"),
        ({"manifest": [DAY, "other"]}, "1 of 2 shares there: other missing"),
        ("any_producer", None),
    ],
)
def test_a_list_says_how_many_shares_are_needed(database: Database, when: Any, said: str | None) -> None:
    declare_orders(database, task("load"), task("one"), task("two"), when=when)
    say(database, "load")
    assert _said(database) == [("ready" if said is None else "missing", said)]


def test_a_run_for_a_partition_without_the_dimensions_of_its_task_wrote_its_own(database: Database) -> None:
    both = {"kind": "product", "dimensions": {"date": DAILY, "region": REGIONS}}
    say(database, "load", hour=1)
    datasets = [{**ORDERS, "partitioning": both}]
    declare(database, "dev", parse({"source": "dags", "tasks": [task("load", cut=both)], "datasets": datasets}))
    say(database, "load", key="2026-11-04", hour=2)
    say(database, "load", key="2026-11-05|eu", hour=3)
    assert set(_states(database, "dev")) == {DAY, "2026-11-04", "2026-11-05|eu"}


def test_what_a_run_wrote_follows_a_mapping_that_is_declared_after_it(database: Database) -> None:
    declare_orders(database, task("load"))
    say(database, "load")
    assert not ask(database, day="2026-11-02").runnable
    declare_orders(database, task("load", mapping={"kind": "window", "from": -1, "to": 0}))
    assert ask(database, day="2026-11-02").runnable
    declare_orders(database, task("load", mapping={"kind": "window", "from": -1, "to": -1}))
    assert [ask(database, day=day).runnable for day in ("2026-11-02", DAY)] == [True, False]


def test_regional_jobs_fill_a_day_together(database: Database) -> None:
    cut = {"kind": "product", "dimensions": {"date": DAILY, "region": REGIONS}}
    declare_orders(database, task("load", cut=cut, mapping={"kind": "along", "dimension": "date"}))
    say(database, "load", key=f"{DAY}|eu")
    answer = ask(database)
    assert (answer.status, named(answer)) == ("waiting", [("upstream_missing", "load")])
    assert (answer.reasons[0].partition, answer.reasons[0].owner) == (f"{DAY}|us", "team-load")
    assert answer.reasons[0].message.startswith(f"orders for {DAY} is not complete: load for {DAY}|us has not run yet")
    say(database, "load", key=f"{DAY}|us", hour=2)
    assert ask(database).runnable


def test_a_month_is_complete_with_its_days(database: Database) -> None:
    monthly = {"kind": "monthly", "start": "2026-10-01"}
    declare_orders(database, task("load"), cut=monthly)
    for day in range(1, 30):
        say(database, "load", key=f"2026-11-{day:02}")
    assert [reason.partition for reason in ask(database).reasons] == ["2026-11-30"]
    say(database, "load", key="2026-11-30")
    assert ask(database).runnable


def test_producers_that_are_missing_running_or_failed_are_named_each(database: Database) -> None:
    declare_orders(database, *map(task, ("a", "b", "c", "d")))
    say(database, "a")
    say(database, "b", "failed")
    say(database, "c", "running")
    assert named(ask(database)) == [("upstream_failed", "b"), ("upstream_missing", "d"), ("upstream_running", "c")]
    for name in ("b", "c", "d"):
        say(database, name, hour=3)
    assert ask(database).runnable


@pytest.mark.parametrize(("when", "needed"), [("any_producer", 1), (2, 2), (None, 3)])
def test_as_many_producers_as_are_declared_make_it_complete(database: Database, when: Any, needed: int) -> None:
    declare_orders(database, *map(task, ("a", "b", "c")), when=when)
    for count, name in enumerate(("a", "b", "c"), start=1):
        say(database, name)
        assert ask(database).runnable is (count >= needed)


def test_a_failure_does_not_hold_back_what_others_have_completed(database: Database) -> None:
    declare_orders(database, *map(task, ("a", "b")), when="any_producer")
    say(database, "a", "failed")
    assert (ask(database).status, named(ask(database))) == ("waiting", [("upstream_missing", "b")])
    say(database, "b")
    assert ask(database).runnable


def test_a_manifest_lists_what_has_to_have_arrived(database: Database) -> None:
    cut = {"kind": "product", "dimensions": {"date": DAILY, "region": {"kind": "dynamic", "set": "regions"}}}
    load = task("load", cut=cut, mapping={"kind": "along", "dimension": "date"})
    declare_orders(database, load, when={"manifest": ["eu", "us"]})
    say(database, "load", key=f"{DAY}|eu")
    assert "lacks us, which its manifest lists" in ask(database).reasons[0].message
    say(database, "load", key=f"{DAY}|us")
    assert ask(database).runnable


def test_whoever_was_only_observed_to_write_holds_nothing_back(database: Database) -> None:
    declare_orders(database, *map(task, ("a", "b")))
    say(database, "a")
    say(database, "b", hour=2)
    say(database, "somebody", "failed", hour=3)
    assert ask(database).runnable


def test_stages_update_in_place_one_after_the_other(database: Database) -> None:
    tasks = (task("load"), task("clean", reads=True), task("enrich", reads=True, after="clean"))
    declare_orders(database, *tasks)
    assert named(ask(database, "clean")) == [("upstream_missing", "load")]
    say(database, "load")
    assert ask(database, "clean").runnable
    assert [name for _, name in named(ask(database, "enrich"))] == ["clean"]
    assert [name for _, name in named(ask(database))] == ["clean", "enrich"]
    say(database, "clean", "failed", hour=2)
    assert ("upstream_failed", "clean") in named(ask(database))
    say(database, "clean", hour=3)
    assert ask(database, "enrich").runnable
    say(database, "enrich", hour=4)
    assert ask(database).runnable
    say(database, "load", hour=5)
    answer = ask(database)
    assert (answer.status, [name for _, name in named(answer)]) == ("blocked", ["clean", "enrich"])
    assert "run it again" in answer.reasons[0].message


def test_the_consumer_is_announced_when_the_last_producer_has_ended(database: Database) -> None:
    def announced() -> list[str]:
        announce(database, "dev", NOW)
        with database.transaction() as connection:
            query = "select t.name from wakeup w join task t on t.id = w.task_id and t.environment = w.environment"
            rows = connection.execute(f"{query} where partition = %s and not held order by 1", [DAY]).fetchall()
        return [name for (name,) in rows]

    declare_orders(database, task("a"), task("b"), task("clean", reads=True))
    say(database, "a")
    assert announced() == []
    say(database, "b")
    assert announced() == ["clean"]
    say(database, "clean", hour=2)
    assert announced() == ["report"]


def test_a_run_on_what_only_some_had_written_began_too_early(database: Database) -> None:
    declare_orders(database, *map(task, ("a", "b")))
    last = "2026-11-07"  # over when its producers were first seen to run: what came before nobody could tell
    say(database, "a", key=last, hour=1)
    say(database, "b", key=last, hour=5)
    for hour in (3, 9):
        read: Any = {"run": f"at-{hour}", "outputs": [], "inputs": [{**ORDERS, "partition": last}]}
        say(database, "report", key=last, hour=hour, **read)
    found = findings(database, "dev", FindingFilter(since=datetime(2026, 11, 1, tzinfo=UTC)), NOW).items
    early = [(each.run, [one.node.name for one in each.inputs]) for each in found if each.code == "started_too_early"]
    assert early == [("at-3", ["orders"])]


def test_the_state_is_rebuilt_from_what_was_recorded(database: Database) -> None:
    declare_orders(database, task("load", mapping={"kind": "window", "from": -1, "to": 0}), task("clean", reads=True))
    say(database, "load")
    say(database, "clean", hour=2)
    say(database, "load", key="2026-11-04", hour=3)
    assert verify(database, "dev").found.agrees


@pytest.mark.parametrize(
    ("when", "field"),
    [
        (0, "datasets[0].complete_when"),
        (-1, "datasets[0].complete_when"),
        ("most", "datasets[0].complete_when"),
        ({"manifest": []}, "datasets[0].complete_when.manifest"),
        ({"manifest": ["eu", "eu"]}, "datasets[0].complete_when.manifest[1]"),
        (3, "datasets[s3/orders].complete_when"),
    ],
)
def test_what_can_never_be_complete_is_refused(database: Database, when: Any, field: str) -> None:
    empty = digest(database, "dev")
    with pytest.raises(InvalidInput) as refused:
        orders = {**ORDERS, "partitioning": DAILY, "complete_when": when}
        manifest = {"source": "dags", "tasks": [task("a"), task("b")], "datasets": [orders]}
        declare(database, "dev", parse(manifest))
    assert refused.value.errors[0].field == field
    assert digest(database, "dev") == empty


def test_whoever_is_only_triggered_by_what_it_writes_is_counted_as_a_producer(database: Database) -> None:
    orders = {"namespace": "s3", "name": "orders"}
    merge = {"namespace": "ns", "name": "merge", "produces": [orders], "trigger": {"dataset": orders}}
    load = {"namespace": "ns", "name": "load", "produces": [orders]}
    for when, tasks in ((1, [merge]), (2, [merge, load])):
        counting = {"source": "dags", "tasks": tasks, "datasets": [{**orders, "complete_when": when}]}
        declare(database, "dev", parse(counting), now=NOW)
        with pytest.raises(InvalidInput, match="at most"):
            declare(database, "dev", parse({**counting, "datasets": [{**orders, "complete_when": when + 1}]}), now=NOW)


SHAPES: dict[
    str, tuple[Any, Any, Callable[[int], list[list[str]]]]
] = {  # a producer: how it is cut, its mapping, and of which of its partitions a day consists
    "same": (DAILY, None, lambda day: [[f"2026-11-0{day}"]]),
    "rewrites": (
        DAILY,
        {"kind": "window", "from": -1, "to": 0},
        lambda day: [[f"2026-11-0{day}", f"2026-11-0{day + 1}"]],
    ),
    "regional": (
        {"kind": "product", "dimensions": {"date": DAILY, "region": REGIONS}},
        {"kind": "along", "dimension": "date"},
        lambda day: [[f"2026-11-0{day}|eu"], [f"2026-11-0{day}|us"]],
    ),
}
_RANK = ("failed", "running", "missing", "succeeded")


class _Said(NamedTuple):
    producer: int
    key: int  # which of the producer's keys
    hour: int
    state: str


@st.composite
def _histories(draw: st.DrawFn) -> tuple[list[str], list[bool], Any, list[_Said]]:
    shapes = draw(st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=3))
    stages = [index > 0 and draw(st.booleans()) for index in range(len(shapes))]
    when = draw(st.sampled_from(["all_producers", "any_producer"]))
    hours = draw(st.lists(st.integers(1, 20), unique=True, max_size=8))
    said = [
        _Said(
            draw(st.integers(0, len(shapes) - 1)),
            draw(st.integers(0, 3)),
            hour,
            draw(st.sampled_from(["succeeded", "succeeded", "failed", "running"])),
        )
        for hour in hours
    ]
    return shapes, stages, when, said


def _keys(shape: str) -> list[str]:
    return (
        ["2026-11-02|eu", "2026-11-02|us", "2026-11-03|eu", "2026-11-03|us"]
        if shape == "regional"
        else (["2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05"])
    )


def _expected(shapes: list[str], stages: list[bool], when: str, said: list[_Said], day: int) -> str:
    """The day's state, written from docs/completeness.md."""
    parts: list[tuple[bool, str, int]] = []  # of each share: whether it is a stage's, its state, when it began
    for index, shape in enumerate(shapes):
        for keys in SHAPES[shape][2](day):
            runs = [each for each in said if each.producer == index and _keys(shape)[each.key] in keys]
            last = max(runs, key=lambda each: each.hour, default=None)
            parts.append((stages[index], last.state if last else "missing", last.hour if last else 0))
    if len(parts) == 1:
        return parts[0][1]
    written = [(state, hour) for stage, state, hour in parts if not stage]
    latest = max((hour for state, hour in written if state == "succeeded"), default=0)
    staged = ["missing" if s == "succeeded" and hour < latest else s for stage, s, hour in parts if stage]
    states = [state for state, _ in written]
    if when == "any_producer":
        first = ("succeeded", "running", "missing", "failed")
        states = [min(states, key=first.index)]
    return min([*states, *staged], key=_RANK.index)


def _declared(shapes: list[str], stages: list[bool], when: str) -> list[dict[str, Any]]:
    """The producers and the dataset, each declared by a source of its own."""
    tasks = [
        task(f"p{index}", cut=SHAPES[shape][0], mapping=SHAPES[shape][1])
        | ({"consumes": [{"dataset": ORDERS, "mapping": _read(shape)}]} if stages[index] else {})
        for index, shape in enumerate(shapes)
    ]
    tasks[0]["produces"][0].update(GLUE)  # known to be the same by the dataset's declaration alone
    found = [{"source": task["name"], "tasks": [task]} for task in tasks]
    orders = {**ORDERS, "partitioning": DAILY, "complete_when": when, "aliases": [GLUE]}
    return [*found, {"source": "data", "datasets": [orders]}]


def _read(shape: str) -> dict[str, Any]:
    return {"kind": "along", "dimension": "date"} if shape == "regional" else {"kind": "same"}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=_histories(), order=st.randoms(use_true_random=False))
def test_the_state_is_that_of_the_rule_in_any_order(module_database: Database, history: Any, order: Any) -> None:
    shapes, stages, when, said = history
    digests, statuses = [], []
    for environment in _fresh(module_database):
        steps: list[Any] = [*_declared(shapes, stages, when), *said, *said[:2]]
        order.shuffle(steps)
        for step in steps:
            if isinstance(step, dict):
                declare(module_database, environment, parse(step), now=NOW)
            else:
                _record(module_database, environment, shapes, step)
        digests.append(digest(module_database, environment))
        statuses.append(_states(module_database, environment))
    assert digests[0] == digests[1]
    assert statuses[0] == statuses[1]
    expected = {f"2026-11-0{day}": _expected(shapes, stages, when, said, day) for day in (2, 3)}
    found = {day: statuses[0].get(day, "missing").replace("ready", "succeeded") for day in expected}
    assert found == expected


def _record(database: Database, environment: str, shapes: list[str], said: _Said) -> None:
    key = _keys(shapes[said.producer])[said.key]
    event = {"task": {"namespace": "ns", "name": f"p{said.producer}"}, "partition": key, "run": f"{key}-{said.hour}"}
    begun = {**event, "time": f"2026-11-08T{said.hour:02}:00:00Z", "state": "running", "outputs": [ORDERS]}
    ended = {**begun, "time": f"2026-11-08T{said.hour:02}:30:00Z", "state": said.state}
    assert record_native(database, environment, [begun, ended], NOTHING).rejected == []


def _fresh(database: Database) -> list[str]:
    names = [f"e{uuid4().hex}" for _ in range(2)]
    with database.transaction() as connection:
        for name in names:
            connection.execute("insert into environment (name) values (%s)", [name])
    return names


def _states(database: Database, environment: str) -> dict[str, str]:
    query = """
    select s.partition, s.status from partition_state s join environment e on e.id = s.environment
    where e.name = %s and s.node_kind = 'dataset'
    """
    with database.transaction() as connection:
        return dict(connection.execute(query, [environment]).fetchall())
