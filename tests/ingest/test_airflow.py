"""Airflow's events as runs: what is true of a task instance that says less than it did."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from dataforge.ingest.batch import record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.verify import digest
from dataforge.storage.database import Database

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
DAG = "mapped_edge"


def event(kind: str, job: str, at: str, facets: dict[str, Any], *, cleared: int = 0) -> dict[str, Any]:
    """A run event of provider 2.17 under Airflow 2.11, without what does not count here."""
    began = f"2026-11-21T0{6 + cleared}:35:19.986Z"
    dag_run = {"dag_id": DAG, "run_id": "manual_1", "start_date": began, "clear_number": cleared}
    owner = "airflow" if "taskInstance" in facets else "airflowDagRun"
    return {
        "eventTime": f"2026-11-21T{at}Z",
        "eventType": kind,
        "producer": "https://github.com/apache/airflow/tree/providers-openlineage/2.17.0",
        "run": {
            "runId": f"{job}-{facets.get('taskInstance')}-{cleared}",
            "facets": {
                owner: {"dagRun": dag_run, "dag": {"dag_id": DAG}, **facets},
                "airflowState": facets.get("airflowState", {}),
            },
        },
        "job": {
            "namespace": "edge-airflow",
            "name": job,
            "facets": {
                "jobType": {"integration": "AIRFLOW", "jobType": "TASK" if owner == "airflow" else "DAG"},
            },
        },
    }


def instance(kind: str, index: int, at: str, *, retries: int = 0, try_number: int = 1, **more: int) -> dict[str, Any]:
    """An event of one index of a mapped task."""
    facets = {
        "taskInstance": {"map_index": index, "try_number": try_number},
        "task": {"task_id": "one_skips", "mapped": True, "retries": retries},
    }
    return event(kind, f"{DAG}.one_skips", at, facets, **more)


def dag(kind: str, at: str, *, state: str = "success") -> dict[str, Any]:
    """The last event of a DAG run: its mapped task has one state, all indexes together."""
    return event(kind, DAG, at, {"airflowState": {"tasksState": {"one_skips": state}}})


RUNS = """
select (r.source->>'map_index')::integer, r.state::text, r.evidence::text from run r
join environment e on e.id = r.environment where e.name = %s and r.kind = 'task'
"""


def instances(database: Database, environment: str, events: list[dict[str, Any]]) -> dict[int, tuple[str, str]]:
    """The state and the evidence of each index, after events that come one by one."""
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s) on conflict do nothing", [environment])
    for each in events:
        assert record_openlineage(database, environment, [json.dumps(each).encode()], NOTHING).rejected == []
    with database.transaction() as connection:
        rows = connection.execute(RUNS, [environment]).fetchall()
    return {index: (state, evidence) for index, state, evidence in rows}


def test_mapped_instance_that_sent_no_end_was_skipped_once_its_dag_run_is_over(database: Database) -> None:
    events = [
        instance("START", 0, "06:37:18.962"),  # raises AirflowSkipException, for which Airflow has no event
        instance("START", 1, "06:37:27.915"),
        instance("COMPLETE", 1, "06:37:28.310"),
        dag("FAIL", "06:39:09.016"),
    ]
    for number, order in enumerate(permutations(events)):
        found = instances(database, f"order-{number}", list(order))
        assert found == {0: ("skipped", "inferred"), 1: ("succeeded", "reported")}, [
            each["job"]["name"] for each in order
        ]


@pytest.mark.parametrize(
    "numbers", [{"map_index": 99_999_999_999}, {"map_index": -7}, {"try_number": 99_999_999_999}, {"try_number": -5}]
)
def test_a_number_that_can_be_none_is_as_good_as_absent(database: Database, numbers: dict[str, int]) -> None:
    odd = instance("COMPLETE", -1, "08:00:00")
    odd["run"]["facets"]["airflow"]["taskInstance"] |= numbers
    result = record_openlineage(database, "dev", [json.dumps(odd).encode()], NOTHING)
    assert (result.applied, result.rejected) == (1, [])


@pytest.mark.parametrize("cleared", [99_999_999_999, 2**31 - 1, -5])
def test_how_often_a_dag_run_was_cleared_is_bounded(database: Database, cleared: int) -> None:
    odd = dag("COMPLETE", "08:00:00")
    odd["run"]["facets"]["airflowDagRun"]["dagRun"]["clear_number"] = cleared
    result = record_openlineage(database, "dev", [json.dumps(odd).encode()], NOTHING)
    assert (result.applied, result.rejected) == (1, [])


def test_mapped_instance_runs_while_its_dag_run_does(database: Database) -> None:
    events = [instance("START", 0, "06:37:18.962"), instance("START", 1, "06:37:27.915")]
    assert instances(database, "dev", events) == {0: ("running", "reported"), 1: ("running", "reported")}


def test_end_of_a_mapped_instance_that_comes_late_is_believed(database: Database) -> None:
    events = [
        instance("START", 0, "06:37:18.962"),
        dag("COMPLETE", "06:39:09.016"),
        instance("COMPLETE", 0, "06:37:20.000"),
    ]
    assert instances(database, "dev", events) == {0: ("succeeded", "reported")}


def test_mapped_instance_that_runs_again_after_a_clear_is_not_skipped(database: Database) -> None:
    events = [
        instance("START", 0, "06:37:18.962"),
        dag("COMPLETE", "06:39:09.016"),
        instance("START", 0, "07:41:46.831", try_number=2, cleared=1),
    ]
    assert instances(database, "dev", events) == {0: ("running", "reported")}


def test_a_begin_that_was_lost_is_made_up_for_whatever_comes_first(database: Database) -> None:
    """The DAG run stands for it, also where that is told of behind the end of an instance."""
    told = (CAPTURES / "airflow_edge" / "events.jsonl").read_bytes().splitlines()
    bodies = [body for body in told if json.loads(body)["eventType"] != "START"]
    for environment, ordered in (("dev", bodies), ("staging", bodies[::-1])):
        for body in ordered:
            record_openlineage(database, environment, [body], NOTHING)
    assert digest(database, "dev") == digest(database, "staging")
