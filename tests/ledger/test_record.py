"""Recording, held against an independent twin: the same events folded by plain Python (tests/twin/fold.py)."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.verify import digest
from dataforge.storage import event as event_log
from dataforge.storage.database import Database
from tests.twin.believed import believed as all_believed
from tests.twin.believed import states
from tests.twin.claim import claims_by_place, claims_of
from tests.twin.fold import states_of
from tests.twin.run import TOLD, runs_of

START = datetime(2026, 11, 1, tzinfo=UTC)

native_events = st.fixed_dictionaries(
    {
        "time": st.integers(0, 60).map(lambda minutes: (START + timedelta(minutes=minutes)).isoformat()),
        "task": st.sampled_from(["load", "clean"]).map(lambda name: {"namespace": "ns", "name": name}),
        "run": st.sampled_from(["r1", "r2", "r3"]),
        "attempt": st.integers(1, 3),
        "partition": st.sampled_from(["2026-11-01", "2026-11-02"]),
        "state": st.sampled_from(TOLD),
    },
    optional={"outputs": st.just([{"namespace": "s3://lake", "name": "orders"}])},
)


def record(database: Database, events: list[dict[str, Any]], environment: str = "dev") -> None:
    result = record_native(database, environment, [json.dumps(event).encode() for event in events], NOTHING)
    assert result.rejected == []
    assert result.applied + result.duplicates == len(events)


def new_environment(database: Database, name: str) -> str:
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s) on conflict do nothing", [name])
        for table in (
            "partition_state",
            "quality",
            "write",
            "run",
            "outcome",
            "touch",
            "attempt",
            "edge",
            "alias",
            "event",
            "event_body",
        ):
            connection.execute(
                f"delete from {table} where environment = (select id from environment where name = %s)".encode(), [name]
            )
        for table in ("progress", "task", "dataset"):
            connection.execute(
                f"delete from {table} where environment = (select id from environment where name = %s)".encode(), [name]
            )
    return name


PARTITIONS = """
select node_kind::text, coalesce(d.name, n.name), partition, status::text, p.name, s.run from partition_state s
join environment e on e.id = s.environment
join task p on p.environment = s.environment and p.id = s.task_id
left join task n on s.node_kind = 'task' and n.environment = s.environment and n.id = s.node_id
left join dataset d on s.node_kind = 'dataset' and d.environment = s.environment and d.id = s.node_id
where e.name = %s
"""


def believed(database: Database, environment: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    with database.transaction() as connection:
        rows = connection.execute(PARTITIONS, [environment]).fetchall()
    return {
        (kind, name, partition): (status, run if kind == "task" else f"{producer}/{run}")
        for kind, name, partition, status, producer, run in rows
    }


def _apart(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Moves events apart, so that no two runs begin at the same moment: ids would decide then."""
    return [
        {**event, "time": (datetime.fromisoformat(event["time"]) + timedelta(microseconds=index)).isoformat()}
        for index, event in enumerate(events)
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(native_events, min_size=1, max_size=25).map(_apart), st.integers(0, 2**20))
def test_partition_states_are_those_of_the_twin(database: Database, events: list[dict[str, Any]], seed: int) -> None:
    random = Random(seed)
    shuffled = [*events, *random.choices(events, k=3)]
    random.shuffle(shuffled)
    environment = new_environment(database, "twin")
    cut = random.randrange(len(shuffled) + 1)
    record(database, shuffled[:cut], environment)
    record(database, shuffled[cut:], environment)
    expected = states_of(claims_by_place(claim for run in runs_of(events).values() for claim in claims_of(run)))
    assert all_believed(database, environment) == states(expected)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(native_events, min_size=1, max_size=20), st.integers(0, 2**20))
def test_order_and_repeats_never_change_the_digest(database: Database, events: list[dict[str, Any]], seed: int) -> None:
    random = Random(seed)
    record(database, events, new_environment(database, "forward"))
    shuffled = [*events, *random.choices(events, k=4)]
    random.shuffle(shuffled)
    environment = new_environment(database, "shuffled")
    for event in shuffled:
        record(database, [event], environment)
    assert digest(database, "forward") == digest(database, "shuffled")


def event(state: str, minute: int, **more: Any) -> dict[str, Any]:
    at = (START + timedelta(minutes=minute)).isoformat()
    return {"time": at, "task": {"namespace": "ns", "name": "load"}, "state": state, **more}


def test_a_late_start_never_reopens_a_finished_run(database: Database) -> None:
    record(database, [event("succeeded", 5, partition="2026-11-01")])
    record(database, [event("running", 9, partition="2026-11-01")])
    assert believed(database, "dev")["task", "load", "2026-11-01"][0] == "ready"


def test_a_run_without_a_start_claims_its_outputs_from_the_end_that_is_believed(database: Database) -> None:
    """Not from a later statement that is not: a run that began between the two is the later one."""
    outputs = [{"namespace": "s3://lake", "name": "orders"}]
    record(
        database,
        [
            event("succeeded", 1, run="a", partition="p", outputs=outputs),
            event("running", 2, run="b", partition="p", outputs=outputs),
            event("up_for_retry", 3, run="a", partition="p", outputs=outputs),
        ],
    )
    assert believed(database, "dev")["dataset", "orders", "p"] == ("running", "load/b")
    assert believed(database, "dev")["task", "load", "p"] == ("running", "b")


def test_a_failed_rerun_keeps_the_last_success(database: Database) -> None:
    outputs = [{"namespace": "s3://lake", "name": "orders", "version": "v1"}]
    record(
        database,
        [
            event("running", 0, run="a", partition="p", outputs=outputs),
            event("succeeded", 1, run="a", partition="p", outputs=outputs),
        ],
    )
    record(
        database,
        [event("running", 5, run="b", partition="p", outputs=outputs), event("failed", 6, run="b", partition="p")],
    )
    with database.transaction() as connection:
        row = connection.execute(
            "select status, run, ready_run, ready_version from partition_state where node_kind = 'dataset'"
        ).fetchone()
    assert row == ("failed", "b", "a", "v1")


@pytest.mark.parametrize("names_outputs", [True, False])
@pytest.mark.parametrize(
    ("state", "status"), [("running", "running"), ("up_for_retry", "running"), ("failed", "failed")]
)
def test_a_second_try_of_a_run_keeps_the_last_success(
    database: Database, names_outputs: bool, state: str, status: str
) -> None:
    """A run that is cleared runs again under its own id, and most platforms name outputs at the end alone."""
    outputs = [{"namespace": "s3://lake", "name": "orders", "version": "v1"}]
    record(database, [event("succeeded", 1, run="a", attempt=1, partition="p", outputs=outputs)])
    again = {"run": "a", "attempt": 2, "partition": "p", **({"outputs": outputs} if names_outputs else {})}
    record(database, [event("running", 5, **again), event(state, 6, **again)])
    assert _states(database) == {
        "task": (status, "a", "a", None, START + timedelta(minutes=1)),
        "dataset": (status, "a", "a", "v1", START + timedelta(minutes=1)),
    }


@pytest.mark.parametrize("state", ["skipped", "canceled", "upstream_failed", "succeeded"])
def test_what_a_run_wrote_stays_where_a_second_try_wrote_nothing(database: Database, state: str) -> None:
    outputs = [{"namespace": "s3://lake", "name": "orders", "version": "v1"}]
    record(database, [event("succeeded", 1, run="a", attempt=1, partition="p", outputs=outputs)])
    record(database, [event(state, 6, run="a", attempt=2, partition="p")])
    assert _states(database)["dataset"] == ("ready", "a", "a", "v1", START + timedelta(minutes=1))


def _states(database: Database) -> dict[str, tuple[Any, ...]]:
    with database.transaction() as connection:
        rows = connection.execute(
            "select node_kind, status, run, ready_run, ready_version, ready_since from partition_state"
        )
        return {row[0]: row[1:] for row in rows}


def test_a_replayed_old_run_does_not_move_the_present(database: Database) -> None:
    record(database, [event("running", 10, run="new", partition="p"), event("succeeded", 11, run="new", partition="p")])
    record(database, [event("running", 1, run="old", partition="p"), event("failed", 2, run="old", partition="p")])
    assert believed(database, "dev")["task", "load", "p"] == ("ready", "new")


def test_a_run_takes_its_data_interval_from_its_parent_whichever_comes_first(database: Database) -> None:
    parent = {"run": {"runId": "p1"}, "job": {"namespace": "a", "name": "dag.run_app"}}
    child = {
        "eventTime": "2026-11-02T01:00:00Z",
        "eventType": "COMPLETE",
        "producer": "x",
        "run": {"runId": "c1", "facets": {"parent": parent}},
        "job": {
            "namespace": "emr",
            "name": "app",
            "facets": {"jobType": {"jobType": "APPLICATION", "integration": "SPARK"}},
        },
    }
    interval = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"}
    above = {
        "time": "2026-11-02T01:01:00Z",
        "task": {"namespace": "a", "name": "dag.run_app"},
        "run": "p1",
        "state": "succeeded",
        "data_interval": interval,
    }
    for environment, first in (("dev", True), ("staging", False)):
        steps = [
            partial(record_openlineage, database, environment, [child], NOTHING),
            partial(record_native, database, environment, [above], NOTHING),
        ]
        for step in steps if first else reversed(steps):
            step()
    assert digest(database, "dev") == digest(database, "staging")
    with database.transaction() as connection:
        rows = connection.execute(
            "select state, evidence, partitions, partition_from from run where run <> 'p1'"
        ).fetchall()
    assert rows == [("succeeded", "confirmed", ["2026-11-01"], "parent")] * 2


def test_an_unknown_field_of_a_facet_is_kept_in_the_body_and_changes_nothing_else(database: Database) -> None:
    body = {
        "eventTime": "2026-11-02T01:00:00Z",
        "producer": "x",
        "job": {"namespace": "n", "name": "j", "facets": {"odd": [1, {"a": None}]}},
    }
    record_openlineage(database, "dev", [body], NOTHING)
    with database.transaction() as connection:
        (page,) = event_log.read_all(connection, 1)
    assert msgspec.json.decode(page[0].body) == body
