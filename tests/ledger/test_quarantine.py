"""Failed checks quarantine what they looked at, until it is released or made anew; beside a plain rule of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_any
from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.freshness import freshness
from dataforge.ledger.readiness import verdict
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.filter import PartitionFilter
from dataforge.model.freshness import FreshnessQuestion
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

DAY = "2026-11-01"
BEGIN = datetime(2026, 11, 2, 5, tzinfo=UTC)
NOW = datetime(2026, 11, 3, tzinfo=UTC)
ORDERS = {"namespace": "s3://lake", "name": "orders"}
DAILY = {"kind": "daily", "start": "2026-01-01"}
EVERY = {"kind": "all"}
FRESH = count()  # of environments: examples share a database
Shape = dict[str, Any]


def at(minute: int) -> str:
    return (BEGIN + timedelta(minutes=minute)).isoformat()


def native(task: str, minute: int, state: str, **more: Any) -> Shape:
    about = {"namespace": "ns", "name": task}
    return {"time": at(minute), "task": about, "partition": DAY, "run": f"{task}@{DAY}", "state": state, **more}


def load(begun: int, ended: int, run: str = "load@1", **output: Any) -> list[Shape]:
    written = [{**ORDERS, "partition": DAY, **output}]
    return [
        native("load", begun, "running", run=run),
        native("load", ended, "succeeded", run=run, outputs=written),
    ]


def looked(minute: int, *, success: bool = False, run: str | None = None, **more: Any) -> Shape:
    outcome = {"name": "unique_id", "success": success, "severity": more.pop("severity", "error")}
    read = {**ORDERS, "partition": DAY, "checks": [outcome], **more}
    return native("check", minute, "failed", run=run or f"check@{minute}", inputs=[read], error="3 ids come twice")


def ordered(verb: str, minute: int) -> Shape:
    about = {"dataset": ORDERS, "partition": DAY, "by": "anna@example.com", "reason": "looked at"}
    return {"time": at(minute), "control": verb, **about}


def record(database: Database, *events: Shape, environment: str = "dev") -> None:
    bodies: list[object] = [json.dumps(event).encode() for event in events]
    assert record_any(database, environment, bodies, NOTHING).rejected == []


def declared(database: Database, **more: Any) -> None:
    tasks = [
        {"namespace": "ns", "name": "load", "partitioning": DAILY, "produces": [ORDERS]},
        {"namespace": "ns", "name": "report", "partitioning": DAILY, "consumes": [{"dataset": ORDERS}], **more},
    ]
    datasets = [{**ORDERS, "partitioning": DAILY, "owner": "team-orders@example.com"}]
    declare(database, "dev", definition.parse({"source": "lake", "tasks": tasks, "datasets": datasets}))


def asked(database: Database) -> Verdict:
    return verdict(database, "dev", Named("report", "ns", DAY), NOW)


def state(database: Database, environment: str = "dev") -> tuple[str, datetime | None]:
    (item,) = catalog.partitions(database, environment, PartitionFilter(name="orders"), NOW).items
    return item.state.value, item.since


def codes(answer: Verdict) -> list[str]:
    return [reason.code.value for reason in answer.reasons]


def test_a_check_that_failed_holds_back_what_it_looked_at_and_says_how_it_is_let_go(database: Database) -> None:
    declared(database)
    record(database, *load(0, 10))
    assert asked(database).runnable
    record(database, looked(15))
    answer = asked(database)
    [reason] = answer.reasons
    assert reason.message == (
        "orders for 2026-11-01 is quarantined, because the check unique_id failed with severity error (by check, run"
        " check@15): 3 ids come twice; run it again, or release it: dataforge control release --dataset orders"
        " 2026-11-01 --reason ..."
    )
    assert (answer.status, reason.code, reason.state) == ("blocked", "upstream_quarantined", "quarantined")
    assert (reason.since, reason.owner, reason.run) == (
        BEGIN + timedelta(minutes=15),
        "team-orders@example.com",
        "check@15",
    )
    assert verify(database, "dev").difference is None


def test_a_list_says_by_which_check_or_by_whom_a_partition_is_held_back(database: Database) -> None:
    def said() -> list[str | None]:
        items = catalog.partitions(database, "dev", PartitionFilter(kind="dataset"), NOW).items
        return [item.reason for item in items]

    record(database, *load(0, 10))
    assert said() == [None]
    record(database, looked(15))
    failed = "the check unique_id failed with severity error (by check, run check@15): 3 ids come twice"
    assert said() == [f"quarantined, because {failed}"]
    record(database, ordered("release", 16), ordered("quarantine", 17))
    assert said() == ["quarantined by anna@example.com: looked at"]


def test_a_later_pass_lifts_nothing_whoever_says_it(database: Database) -> None:
    declared(database)
    again = [looked(15, run="c"), looked(20, success=True, run="c"), looked(25, success=True)]
    record(database, *load(0, 10), *again)
    assert state(database) == ("quarantined", BEGIN + timedelta(minutes=15))


@pytest.mark.parametrize(("minute", "expected"), [(14, "quarantined"), (15, "ready"), (16, "ready")])
def test_a_release_counts_from_the_moment_of_the_check_on(database: Database, minute: int, expected: str) -> None:
    record(database, *load(0, 10), looked(15), ordered("release", minute))
    assert state(database)[0] == expected


def test_what_fails_again_after_a_release_is_held_again(database: Database) -> None:
    record(database, *load(0, 10), looked(15), ordered("release", 16), looked(20))
    assert state(database) == ("quarantined", BEGIN + timedelta(minutes=20))


def test_a_run_that_makes_it_anew_needs_no_release(database: Database) -> None:
    declared(database)
    record(database, *load(0, 10), looked(15), *load(20, 30, "load@2"))
    assert (state(database)[0], asked(database).runnable) == ("ready", True)
    record(database, looked(18, run="late"))  # of what was there before
    assert asked(database).runnable


@pytest.mark.parametrize("more", [{"severity": "warn"}, {"severity": "none"}, {"success": True}])
def test_a_warning_holds_nothing_back(database: Database, more: Shape) -> None:
    record(database, *load(0, 10), looked(15, **more))
    assert state(database)[0] == "ready"


def test_the_own_check_of_the_run_that_wrote_it_counts(database: Database) -> None:
    checks = [{"name": "rows", "success": False}, {"name": "keys", "success": False}]
    record(database, *load(0, 10, checks=checks))
    assert state(database) == ("quarantined", BEGIN + timedelta(minutes=10))
    record(database, *load(20, 30, "load@2"))
    assert state(database)[0] == "ready"


def test_the_own_check_of_a_run_holds_back_all_that_its_mapping_says_it_wrote(database: Database) -> None:
    written = {**ORDERS, "mapping": {"kind": "window", "from": -2, "to": 0}}
    shape = {
        "source": "s",
        "tasks": [{"namespace": "ns", "name": "load", "partitioning": DAILY, "produces": [written]}],
    }
    declare(database, "dev", definition.parse({**shape, "datasets": [{**ORDERS, "partitioning": DAILY}]}))
    first, last = load(0, 10, checks=[{"name": "rows", "success": False}])
    del last["outputs"][0]["partition"]
    record(database, first, last)
    items = catalog.partitions(database, "dev", PartitionFilter(name="orders"), NOW).items
    assert {item.partition: item.state.value for item in items} == dict.fromkeys(
        ("2026-10-30", "2026-10-31", "2026-11-01"), "quarantined"
    )


def test_the_version_that_was_looked_at_decides_where_both_are_known(database: Database) -> None:
    record(database, *load(0, 10, version="v1"), *load(12, 20, "load@2", version="v2"), looked(25, version="v1"))
    assert state(database)[0] == "ready"
    record(database, looked(26, version="v2"))
    assert state(database)[0] == "quarantined"


@pytest.mark.parametrize(("version", "expected"), [("v1", "quarantined"), ("v2", "quarantined"), ("v3", "ready")])
def test_of_what_several_runs_make_the_version_of_each_may_be_refused(
    database: Database, version: str, expected: str
) -> None:
    regions = {"kind": "static", "keys": ["eu", "us"]}
    task = {"namespace": "ns", "name": "load", "partitioning": regions, "produces": [{**ORDERS, "mapping": EVERY}]}
    orders = {**ORDERS, "partitioning": DAILY}
    declare(database, "dev", definition.parse({"source": "lake", "tasks": [task], "datasets": [orders]}))
    for region, written in (("eu", "v1"), ("us", "v2")):
        output = {**ORDERS, "partition": DAY, "version": written}
        record(database, native("load", 5, "succeeded", run=region, outputs=[output]) | {"partition": region})
    assert state(database)[0] == "ready"
    record(database, looked(15, version=version))
    assert state(database)[0] == expected


def test_a_check_that_names_no_partition_is_of_those_that_its_run_was_for(database: Database) -> None:
    failed = looked(15)
    del failed["inputs"][0]["partition"]
    record(database, *load(0, 10), failed)
    assert state(database)[0] == "quarantined"


def test_a_check_under_another_name_of_the_dataset_counts(database: Database) -> None:
    declared(database)
    record(database, *load(0, 10))
    failed = looked(15)
    failed["inputs"][0] |= {"namespace": "glue://1", "name": "lake.orders"}
    record(database, failed)
    assert asked(database).runnable
    shape = {"source": "glue", "datasets": [{"namespace": "glue://1", "name": "lake.orders", "aliases": [ORDERS]}]}
    declare(database, "dev", definition.parse(shape))
    assert codes(asked(database)) == ["upstream_quarantined"]


def test_what_is_held_is_no_update_until_it_is_released(database: Database) -> None:
    tasks = [{"namespace": "ns", "name": "weekly", "trigger": {"any": [{"dataset": ORDERS}]}}]
    declare(database, "dev", definition.parse({"source": "weekly", "tasks": tasks}))
    record(database, *load(0, 10), looked(15))
    assert not verdict(database, "dev", Named("weekly"), NOW).runnable
    record(database, ordered("release", 20))
    assert verdict(database, "dev", Named("weekly"), NOW).runnable


def test_what_was_there_before_is_no_update_either_while_a_partition_is_held(database: Database) -> None:
    tasks = [{"namespace": "ns", "name": "weekly", "trigger": {"any": [{"dataset": ORDERS}]}}]
    declare(database, "dev", definition.parse({"source": "weekly", "tasks": tasks}))
    record(database, *load(0, 10), *load(20, 30, "load@2"), looked(35))
    assert not verdict(database, "dev", Named("weekly"), NOW).runnable
    record(database, ordered("release", 40))
    assert verdict(database, "dev", Named("weekly"), NOW).runnable


def test_it_is_ready_to_those_who_ask_how_old_it_is(database: Database) -> None:
    declared(database)
    record(database, *load(0, 10), native("report", 12, "running"), native("report", 14, "succeeded"), looked(15))
    question = FreshnessQuestion(name="report", kind="task", partition=DAY)
    assert freshness(database, "dev", [question], NOW).items[0].status == "fresh"


class Fact(NamedTuple):
    """A load (its begin, end and version), a check (its outcome, severity and the version it saw), or an order."""

    kind: str
    minute: int
    took: int
    failed: bool
    version: str | None


facts = st.lists(
    st.builds(
        Fact,
        st.sampled_from(["load", "load", "own", "check", "check", "release", "quarantine"]),
        st.integers(0, 12).map(lambda each: 5 * each),
        st.integers(1, 12),
        st.booleans(),
        st.sampled_from([None, None, "a", "b"]),
    ),
    min_size=2,
    max_size=9,
    unique_by=lambda fact: (fact.kind in ("load", "own"), fact.minute) if fact.kind in ("load", "own") else id(fact),
)


def events_of(told: list[Fact]) -> list[Shape]:
    found: list[Shape] = []
    for place, fact in enumerate(told):
        version = {} if fact.version is None else {"version": fact.version}
        match fact.kind:
            case "load" | "own":
                check = {"name": "own", "success": not (fact.failed and fact.kind == "own")}
                found += load(fact.minute, fact.minute + fact.took, f"load@{fact.minute}", checks=[check], **version)
            case "check":
                found.append(looked(fact.minute, success=not fact.failed, run=f"check@{place}", **version))
            case verb:
                found.append(ordered(verb, fact.minute) | {"id": str(place)})
    return found


def held_since(told: list[Fact]) -> int | None:
    """The rule in plain words: the first failure that concerns what the last run made, and that no release follows."""
    made = max((fact for fact in told if fact.kind in ("load", "own")), key=lambda fact: fact.minute)
    ready = made.minute + made.took
    orders = [fact for fact in told if fact.kind in ("release", "quarantine")]
    last = max(orders, key=lambda fact: (fact.minute, fact.kind), default=None)
    released = last.minute if last and last.kind == "release" else -1
    since = [last.minute] if last and last.kind == "quarantine" and last.minute >= made.minute else []
    if made.kind == "own" and made.failed and released < ready:
        since.append(ready)
    for fact in told:
        other = None not in (fact.version, made.version) and fact.version != made.version
        if fact.kind == "check" and fact.failed and fact.minute >= made.minute and not other and released < fact.minute:
            since.append(fact.minute)
    return max(min(since), ready) if since else None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=facts.filter(lambda told: any(fact.kind in ("load", "own") for fact in told)), seed=st.integers(0, 99))
def test_the_set_of_facts_decides_and_not_their_order(module_database: Database, told: list[Fact], seed: int) -> None:
    orders = [fact.minute for fact in told if fact.kind in ("release", "quarantine")]
    told = told if len(orders) == len(set(orders)) else [f for f in told if f.kind not in ("release", "quarantine")]
    events, random = events_of(told), Random(seed)
    names = [f"held-{next(FRESH)}" for _ in range(2)]
    with module_database.transaction() as connection:
        for name in names:
            connection.execute("insert into environment (name) values (%s)", [name])
    record(module_database, *events, environment=names[0])
    for event in random.sample(events, len(events)):
        record(module_database, event, environment=names[1])
    since = held_since(told)
    found = state(module_database, names[0])
    assert found[0] == ("ready" if since is None else "quarantined")
    assert since is None or found[1] == BEGIN + timedelta(minutes=since)
    assert digest(module_database, names[0]) == digest(module_database, names[1])


EDGE = Path("examples/captures/dbt_edge")


@pytest.mark.parametrize("mode", ["build_artifact", "build_logs"])
def test_what_dbt_skipped_for_a_failed_test_is_held_back(database: Database, mode: str) -> None:
    lines = (EDGE / mode / "events.jsonl").read_bytes().splitlines()
    record(database, *map(json.loads, lines))
    namespace = json.loads(lines[0])["job"]["namespace"]
    relations = {i["namespace"] for line in lines for i in json.loads(line).get("inputs", [])}
    declare(database, "dev", from_dbt((EDGE / "manifest.json").read_bytes(), namespace, relations.pop()))
    daily = verdict(database, "dev", Named("model.shop.orders_daily", namespace), NOW)
    held = [reason for reason in daily.reasons if reason.code == "upstream_quarantined"]
    assert [reason.upstream.name for reason in held if reason.upstream] == ["test.main_staging.stg_orders"]
    assert all("by test.shop." in reason.message for reason in held)
    results = json.loads((EDGE / mode / "run_results.json").read_bytes())["results"]
    skipped = [
        each["unique_id"] for each in results if each["status"] == "skipped" and "test." not in each["unique_id"]
    ]
    assert skipped
    for name in skipped:
        assert not verdict(database, "dev", Named(name, namespace), NOW).runnable


def test_a_dbt_test_that_dagster_tells_of_holds_back_what_it_read(database: Database) -> None:
    record(database, *load(0, 10))
    read = {"inputs": [{**ORDERS, "partition": DAY}], "platform": "dbt", "run": "d:1"}
    warned = native("test.shop.unique_id", 15, "succeeded", **read)
    record(database, warned)
    assert state(database)[0] == "ready"
    record(database, native("test.shop.not_null_id", 16, "failed", **read))
    assert state(database)[0] == "quarantined"
    record(database, native("model.shop.report", 17, "failed", **read))  # what only reads it refuses nothing
    assert state(database) == ("quarantined", BEGIN + timedelta(minutes=16))
