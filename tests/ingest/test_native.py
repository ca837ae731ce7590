"""What native events say of a run's source and platform: it merges in any order, and what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.ledger.verify import digest
from dataforge.model.filter import RunFilter, TaskFilter
from dataforge.storage.database import Database

NATIVE: dict[str, Any] = {
    "time": "2026-11-01T06:00:00Z",
    "task": {"namespace": "ns", "name": "load"},
    "state": "succeeded",
    "partition": "2026-11-01",
}


def send(database: Database, *events: dict[str, Any], environment: str = "dev") -> None:
    assert record_native(database, environment, events, NOTHING).rejected == []


def source(database: Database) -> dict[str, str | int | None]:
    (run,) = catalog.runs(database, "dev", RunFilter()).items
    return run.source


def test_the_source_of_a_run_is_what_its_events_say_together(database: Database) -> None:
    send(database, {**NATIVE, "source": {"dagster_run_id": "abc", "tries": 1}})
    send(database, {**NATIVE, "source": {"step_key": "load", "tries": 2}, "state": "running"})
    assert source(database) == {"dagster_run_id": "abc", "step_key": "load", "tries": 2}
    assert verify(database, "dev").difference is None


def test_of_several_attempts_the_last_ones_source_counts(database: Database) -> None:
    send(database, {**NATIVE, "attempt": 2, "source": {"id": "a", "second": 1}})
    send(database, {**NATIVE, "attempt": 1, "source": {"id": "b", "first": 1}, "state": "up_for_retry"})
    assert source(database) == {"first": 1, "id": "a", "second": 1}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b"]), st.sampled_from([5, -5, "5", "05", "x", 2**63 - 1, str(2**70)]), max_size=2
        ),
        min_size=1,
        max_size=4,
    )
)
def test_sources_merge_to_the_same_in_any_order(database: Database, said: list[dict[str, Any]]) -> None:
    with database.transaction() as connection:
        connection.execute("delete from environment where name like 'order%'")
        connection.execute("insert into environment (name) values ('order1'), ('order2')")
    events = [{**NATIVE, "source": each, "id": str(place)} for place, each in enumerate(said)]
    send(database, *events, environment="order1")
    for each in reversed(events):
        send(database, each, environment="order2")
    assert digest(database, "order1") == digest(database, "order2")
    with database.transaction() as connection:
        for table in ("outbox", "partition_state", "write", "run", "attempt", "task", "progress", "event"):
            connection.execute(f"delete from {table}".encode())


def test_the_platform_is_the_tasks_and_runs_are_found_by_it(database: Database) -> None:
    send(database, NATIVE, {**NATIVE, "platform": "dagster", "state": "running"})
    (task,) = catalog.tasks(database, "dev", TaskFilter(platform="dagster")).items
    assert task.platform == "dagster"
    (run,) = catalog.runs(database, "dev", RunFilter(platform="dagster")).items
    assert run.state == "succeeded"


def test_what_is_said_of_a_spark_run_is_believed_as_it_is_no_event_of_sparks_own(database: Database) -> None:
    send(database, {**NATIVE, "platform": "spark"})
    (run,) = catalog.runs(database, "dev", RunFilter(platform="spark")).items
    assert (run.state, run.evidence) == ("succeeded", "reported")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"platform": 3}, "platform"),
        ({"platform": ""}, "platform"),
        ({"platform": "x" * 600}, "platform"),
        ({"source": "abc"}, "source"),
        ({"source": {"a": 1.5}}, "source.a"),
        ({"source": {"a": True}}, "source.a"),
        ({"source": {"a": None}}, "source.a"),
        ({"source": {"a": {"b": 1}}}, "source.a"),
        ({"source": {"a": ["b"]}}, "source.a"),
        ({"source": {"a": 2**63}}, "source.a"),
        ({"source": {"a": "x" * 1_201}}, "source.a"),
        ({"source": {"a": "\0"}}, "source.a"),
        ({"source": {"a\0": "b"}}, "source"),
        ({"source": {"x" * 513: "b"}}, "source"),
        ({"source": {str(number): number for number in range(21)}}, "source"),
    ],
)
def test_a_bad_source_or_platform_is_named(database: Database, changes: dict[str, Any], field: str) -> None:
    result = record_native(database, "dev", [NATIVE, {**NATIVE, **changes}], NOTHING)
    assert result.applied == 1
    ((problem,),) = [each.errors for each in result.rejected]
    assert problem.field == field
    assert problem.expected


def test_twenty_keys_are_taken(database: Database) -> None:
    said = {f"key{number:02}": "x" * 1_200 for number in range(20)}
    send(database, {**NATIVE, "source": said})
    assert source(database) == said


def test_the_instances_of_a_mapped_task_are_runs_that_belong_together(database: Database) -> None:
    for index in (1, 0):
        send(database, {**NATIVE, "map_index": index, "instances": 2, "state": "succeeded" if index else "running"})
    runs = catalog.runs(database, "dev", RunFilter()).items
    assert {(run.run, run.state, run.source["instances"]) for run in runs} == {
        ("2026-11-01[0]", "running", 2),
        ("2026-11-01[1]", "succeeded", 2),
    }
    assert verify(database, "dev").difference is None


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"map_index": -1}, "map_index"),
        ({"map_index": 2**31}, "map_index"),
        ({"map_index": 2, "instances": 2}, "instances"),
        ({"instances": 2}, "instances"),
    ],
)
def test_an_instance_that_cannot_be_is_refused(database: Database, said: dict[str, int], field: str) -> None:
    (rejected,) = record_native(database, "dev", [{**NATIVE, **said}], NOTHING).rejected
    assert [error.field for error in rejected.errors] == [field]
