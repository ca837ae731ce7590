"""Conditions on what an upstream reported: whoever said it, in any order, declared before it or after."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import verdict
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

DAY = "2026-11-01"
BEGIN = datetime(2026, 11, 2, 5, tzinfo=UTC)
NOW = datetime(2026, 11, 3, tzinfo=UTC)
ORDERS = {"namespace": "s3://lake", "name": "orders"}
ROWS = {"field": "rows", "op": ">", "value": 0}
SOUND = {"field": "check.unique_id.severity", "op": "<", "value": "error"}
FRESH = count()  # of environments: examples share a database
Shape = dict[str, Any]


def at(minutes: int) -> str:
    return (BEGIN + timedelta(minutes=minutes)).isoformat()


def manifest(where: Shape, **more: Any) -> Shape:
    daily = {"kind": "daily", "start": "2026-01-01"}
    edge = {"dataset": ORDERS, "condition": {"where": where}, **more}
    return {
        "source": "lake",
        "tasks": [
            {"namespace": "ns", "name": "load", "partitioning": daily, "produces": [ORDERS]},
            {"namespace": "ns", "name": "report", "partitioning": daily, "consumes": [edge]},
        ],
        "datasets": [{**ORDERS, "partitioning": daily}],
    }


def native(task: str, minute: int, state: str = "succeeded", **more: Any) -> Shape:
    run = more.pop("run", f"{task}@{DAY}")
    return {
        "time": at(minute),
        "task": {"namespace": "ns", "name": task},
        "partition": DAY,
        "run": run,
        "state": state,
        **more,
    }


def wrote(minute: int = 10, task: str = "load", **output: Any) -> Shape:
    run = f"{task}@{minute}"
    return native(task, minute, run=run, outputs=[{**ORDERS, "partition": DAY, **output}])


def checked_by(minute: int, *, success: bool, task: str = "unique_id", **more: Any) -> Shape:
    check = {"name": "unique_id", "success": success, **more}
    return native(task, minute, run=f"{task}@{minute}", inputs=[{**ORDERS, "partition": DAY, "checks": [check]}])


def record(database: Database, *events: Shape, environment: str = "dev") -> None:
    bodies: list[object] = [json.dumps(event).encode() for event in events]
    assert record_any(database, environment, bodies, NOTHING).rejected == []


def asked(database: Database, where: Shape, *events: Shape, **edge: Any) -> Verdict:
    declare(database, "dev", definition.parse(manifest(where, **edge)))
    record(database, *events)
    return answer(database)


def answer(database: Database, environment: str = "dev") -> Verdict:
    return verdict(database, environment, Named("report", "ns", DAY), NOW)


def test_an_upstream_that_reported_what_is_wanted_satisfies(database: Database) -> None:
    found = asked(database, ROWS, wrote(rows=3))
    assert (found.runnable, found.reasons, found.warnings) == (True, (), ())


def test_a_reason_says_what_was_reported_and_what_is_wanted(database: Database) -> None:
    found = asked(database, ROWS, wrote(rows=0))
    assert (found.runnable, found.status) == (False, "blocked")
    [reason] = found.reasons
    assert reason.message == "orders for 2026-11-01 reported rows = 0, wanted rows > 0"
    assert (reason.code, reason.partition, reason.state) == ("condition_unmet", DAY, "ready")
    record(database, wrote(20, rows=7))
    assert answer(database).runnable


def test_what_was_never_reported_does_not_satisfy_and_is_named(database: Database) -> None:
    where = {"all": [ROWS, {"not": {"field": "tag.tier", "op": "=", "value": "tin"}}]}
    [reason] = asked(database, where, wrote(rows=0)).reasons
    assert reason.message == (
        'orders for 2026-11-01 reported rows = 0 and never reported tag.tier, wanted rows > 0 and tag.tier != "tin"'
    )


def test_before_a_success_the_usual_reasons_stand(database: Database) -> None:
    assert [r.code for r in asked(database, ROWS).reasons] == ["upstream_missing"]
    record(database, native("load", 5, "failed", outputs=[{**ORDERS, "partition": DAY, "rows": 3}]))
    assert [r.code for r in answer(database).reasons] == ["upstream_failed"]


def test_an_optional_edge_only_warns(database: Database) -> None:
    found = asked(database, ROWS, wrote(rows=0), required=False)
    assert (found.runnable, [warning.code for warning in found.warnings]) == (True, ["condition_unmet"])


REPORTED: Shape = {
    "rows": 5,
    "bytes": 700,
    "files": 2,
    "version": "v7",
    "tags": {"tier": "gold"},
    "checks": [{"name": "fresh", "success": False, "severity": "warn"}],
    "facets": {"spark.share": 0.5, "final": True, "region": "eu"},
}


@pytest.mark.parametrize(
    ("field", "op", "value"),
    [
        ("rows", "=", 5),
        ("bytes", ">=", 700),
        ("files", "<", 3),
        ("version", "=", "v7"),
        ("tag.tier", "=", "gold"),
        ("check.fresh.success", "=", False),
        ("check.fresh.severity", "=", "warn"),
        ("facet.spark.share", "<", 1),
        ("facet.final", "=", True),
        ("facet.region", "!=", "us"),
    ],
)
def test_every_field_of_a_native_event_can_be_asked_for(database: Database, field: str, op: str, value: object) -> None:
    assert asked(database, {"field": field, "op": op, "value": value}, wrote(**REPORTED)).runnable
    declare(database, "dev", definition.parse(manifest({"not": {"field": field, "op": op, "value": value}})))
    assert [reason.code for reason in answer(database).reasons] == ["condition_unmet"]


def test_a_check_that_another_run_makes_is_waited_for_and_counts(database: Database) -> None:
    found = asked(database, SOUND, wrote())
    assert (found.runnable, found.status) == (False, "waiting")
    record(database, checked_by(15, success=False, severity="error"))
    assert answer(database).status == "blocked"
    record(database, checked_by(20, success=True))
    assert [reason.code for reason in answer(database).reasons] == ["upstream_quarantined"]
    release = {"control": "release", "dataset": ORDERS, "partition": DAY, "by": "anna", "reason": "looked at"}
    record(database, release | {"time": at(15)})
    assert answer(database).runnable


def test_a_check_of_older_data_does_not_count(database: Database) -> None:
    found = asked(database, SOUND, wrote(10), checked_by(15, success=True), wrote(30))
    assert (found.runnable, found.status) == (False, "waiting")


def test_a_check_of_a_run_that_was_cleared_does_not_count_twice(database: Database) -> None:
    first, second = checked_by(15, success=False, severity="warn"), checked_by(20, success=True)
    runs = [{**event, "run": "t", "attempt": attempt} for attempt, event in enumerate((first, second), 1)]
    passed = {"field": "check.unique_id.success", "op": "=", "value": True}
    assert asked(database, passed, wrote(), *runs).runnable
    assert not asked(database, passed, *[{**event, "attempt": 5 - event["attempt"]} for event in runs]).runnable


def openlineage(task: str, minute: int, kind: str = "COMPLETE", **more: Any) -> Shape:
    return {
        "eventTime": at(minute),
        "eventType": kind,
        "producer": "https://example.com/loader",
        "run": {"runId": f"0190a000-0000-7000-8000-00000000{minute:04}"},
        "job": {"namespace": "ns", "name": task},
        **more,
    }


def test_every_field_of_openlineage_can_be_asked_for(database: Database) -> None:
    place = {"namespace": "s3://lake", "name": f"orders/ds={DAY}"}
    facets = {
        "tags": {"tags": [{"key": "tier", "value": "gold"}, {"key": "pii", "value": "yes", "field": "email"}]},
        "version": {"datasetVersion": "v7"},
        "dataQualityMetrics": {"_producer": "x", "columnMetrics": {"id": {"nullCount": 0}}},
    }
    statistics = {"outputStatistics": {"rowCount": 5, "size": 700, "fileCount": 2}}
    assertions = [{"assertion": "not_null", "column": "id", "success": False, "severity": "warn"}]
    checks = {"dataQualityAssertions": {"assertions": assertions}}
    written = openlineage("load", 10, outputs=[{**place, "facets": facets, "outputFacets": statistics}])
    checked = openlineage("check", 20, inputs=[{**place, "inputFacets": checks}])
    wanted = [
        ("rows", 5),
        ("bytes", 700),
        ("files", 2),
        ("version", "v7"),
        ("tag.tier", "gold"),
        ("facet.dataQualityMetrics.columnMetrics.id.nullCount", 0),
        ("check.not_null_id.success", False),
        ("check.not_null_id.severity", "warn"),
    ]
    where = {"all": [{"field": field, "op": "=", "value": value} for field, value in wanted]}
    assert asked(database, where, written, checked).reasons == ()
    pii = {"field": "tag.pii", "op": "=", "value": "yes"}
    assert not asked(database, pii).runnable


def test_dbts_tests_count_for_the_partition_of_their_run(database: Database) -> None:
    """A dbt test names no partition; its invocation ran for a day."""
    interval = {"nominalStartTime": f"{DAY}T00:00:00Z", "nominalEndTime": "2026-11-02T00:00:00Z"}
    facets = {"nominalTime": interval, "dbt_run": {"invocation_id": "i1", "project_name": "shop"}}
    assertions = [{"assertion": "unique", "name": "unique_id", "success": False, "severity": "warn", "actual": "3"}]
    test = openlineage("lake.shop.orders.test", 20)
    test["job"]["facets"] = {"jobType": {"integration": "DBT", "jobType": "TEST", "processingType": "BATCH"}}
    test["run"]["facets"] = facets
    test["inputs"] = [{**ORDERS, "inputFacets": {"dataQualityAssertions": {"assertions": assertions}}}]
    declare(database, "dev", definition.parse(manifest(SOUND)))
    daily = {"namespace": "ns", "name": "test.shop.unique_id", "partitioning": {"kind": "daily", "start": "2026-01-01"}}
    declare(database, "dev", definition.parse({"source": "dbt", "tasks": [daily]}))
    record(database, wrote(), test)
    assert answer(database).runnable
    assert verify(database, "dev").difference is None


def test_the_word_of_an_alias_counts(database: Database) -> None:
    glue = {"namespace": "glue://1", "name": "lake.orders"}
    shape = manifest(ROWS)
    shape["datasets"][0]["aliases"] = [glue]
    declare(database, "dev", definition.parse(shape))
    record(database, native("load", 10, outputs=[{**glue, "partition": DAY, "rows": 3}]))
    assert answer(database).runnable


def test_what_native_events_report_wrongly_is_refused_with_its_field(database: Database) -> None:
    wrong: list[tuple[Shape, str]] = [
        ({"tags": {"": "x"}}, "outputs[0].tags"),
        ({"tags": {"a": "x" * 121}}, "outputs[0].tags.a"),
        ({"facets": {"a": 2**60}}, "outputs[0].facets.a"),
        ({"facets": {"a": [1]}}, "outputs[0].facets[...]"),
        ({"bytes": -1}, "outputs[0].bytes"),
        ({"checks": [{"name": "x" * 120, "success": True}]}, "outputs[0].checks"),
        ({"checks": [{"name": "x", "success": True, "severity": "fatal"}]}, "outputs[0].checks[0].severity"),
    ]
    for output, field in wrong:
        answer = record_any(database, "dev", [json.dumps(wrote(**output)).encode()], NOTHING)
        assert [error.field for rejected in answer.rejected for error in rejected.errors] == [field]


outputs = st.fixed_dictionaries(
    {},
    optional={
        "rows": st.integers(0, 2),
        "tags": st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), max_size=2),
        "facets": st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from([1, 0.5, True, "x"]), max_size=2),
        "checks": st.lists(st.fixed_dictionaries({"name": st.just("unique_id"), "success": st.booleans()}), max_size=2),
    },
)
events = st.one_of(
    st.builds(lambda minute, output: wrote(minute, **output), st.integers(10, 40), outputs),
    st.builds(
        lambda minute, output, state: native("load", minute, state, outputs=[{**ORDERS, "partition": DAY, **output}]),
        st.integers(10, 40),
        outputs,
        st.sampled_from(["running", "succeeded"]),
    ),
    st.builds(lambda minute, success: checked_by(minute, success=success), st.integers(10, 40), st.booleans()),
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(events, min_size=1, max_size=8), st.integers(0, 2**20))
def test_the_order_of_events_and_of_the_definition_does_not_matter(
    database: Database, said: list[Shape], seed: int
) -> None:
    where = {"all": [ROWS, SOUND, {"field": "tag.a", "op": "=", "value": "x"}]}
    names = [f"e{next(FRESH)}" for _ in range(2)]
    with database.transaction() as connection:
        connection.cursor().executemany("insert into environment (name) values (%s)", [(name,) for name in names])
    shuffled = [*said, *said[:2]]
    Random(seed).shuffle(shuffled)
    record(database, *said, environment=names[0])
    declare(database, names[0], definition.parse(manifest(where)))
    declare(database, names[1], definition.parse(manifest(where)))
    for event in shuffled:
        record(database, event, environment=names[1])
    assert digest(database, names[0]) == digest(database, names[1])
    one, other = (answer(database, name) for name in names)
    assert (one.reasons, one.runnable) == (other.reasons, other.runnable)
    assert verify(database, names[1]).difference is None


def test_the_database_refuses_a_report_that_is_none(database: Database) -> None:
    record(database, wrote(rows=1))
    for shape in ("[]", json.dumps({"said": {"a": "x" * 70_000}})):
        with pytest.raises(Exception, match="touch_report_check"), database.transaction() as connection:
            connection.execute("update touch set report = %s::jsonb", [shape])
