"""Freshness of what a Spark application wrote on behalf of a task: whose edges count, which start and which tries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dataforge.model.reference import TaskRef
from dataforge.storage.database import Database
from tests.ledger.freshness_events import DAY, NEWER, Event, at, declared, extract, one, raw, record, shown

PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/1.53.0/integration/spark"
INSERT = "execute_insert_into_hadoop_fs_relation_command"
RAW = {"namespace": "s3://lake", "name": f"raw/date={DAY}"}
COUNTED = {"outputFacets": {"outputStatistics": {"rowCount": 20, "size": 1329, "fileCount": 1}}}


def spark(begun: int, run_id: int, name: str, job_type: str, parent: Event, **more: Any) -> list[Event]:
    """Start and end of an application or of a job in it, a minute later."""
    job_facet = {"jobType": {"processingType": "BATCH", "integration": "SPARK", "jobType": job_type}}
    return [
        {
            "eventType": kind,
            "eventTime": time.isoformat(),
            "producer": PRODUCER,
            "run": {"runId": _id(run_id), "facets": {"parent": parent}},
            "job": {"namespace": "spark", "name": name, "facets": job_facet},
            **(more if kind == "COMPLETE" else {}),
        }
        for kind, time in (("START", at(begun)), ("COMPLETE", at(begun) + timedelta(minutes=1)))
    ]


def _id(number: int) -> str:
    return f"01a1fcd2-0000-7000-8000-{number:012}"


def enrich(
    begun: int, state: str = "succeeded", *, writes: bool = True, inputs: tuple[Event, ...] = (RAW,)
) -> list[Event]:
    """A try of the task for six minutes, with its application and the job that writes orders in the third."""
    task, application = begun * 10, begun * 10 + 1
    said = {"task": {"namespace": "airflow", "name": "enrich"}, "partition": DAY, "run": _id(task)}
    dag = {
        "run": {"runId": _id(999)},
        "job": {"namespace": "airflow", "name": "shop"},
    }  # one, however often it is cleared
    above = {"run": {"runId": _id(task)}, "job": {"namespace": "airflow", "name": "enrich"}, "root": dag}
    beside = {"run": {"runId": _id(application)}, "job": {"namespace": "spark", "name": "app"}, "root": dag}
    output = {"namespace": "s3://lake", "name": f"orders/date={DAY}", **COUNTED}
    job = spark(
        begun + 2, application + 1, f"app.{INSERT}.orders", "SQL_JOB", beside, inputs=list(inputs), outputs=[output]
    )
    return [
        {**said, "time": at(begun).isoformat(), "state": "running"},
        *spark(begun + 1, application, "app", "APPLICATION", above),
        *(job if writes else []),
        {**said, "time": at(begun + 6).isoformat(), "state": state},
    ]


def test_what_the_application_reads_is_what_counts(database: Database) -> None:
    record(database, extract(0, 2), enrich(3))
    item = one(database)
    assert shown(item) == ("fresh", [])
    assert item.built_by is not None
    assert item.built_by.task == TaskRef("spark", "app")
    record(database, extract(10, 11))
    assert shown(one(database)) == NEWER
    record(database, enrich(12))
    assert shown(one(database)) == ("fresh", [])


def test_where_nobody_knows_what_it_reads_its_parents_upstreams_count(database: Database) -> None:
    declared(database, {"name": "enrich", "namespace": "airflow", "consumes": [raw()]})
    record(database, extract(0, 2), enrich(3, inputs=()))
    assert shown(one(database)) == ("fresh", [])
    record(database, extract(10, 11))
    assert shown(one(database)) == NEWER


def test_of_a_job_whose_application_told_nothing_what_that_is_declared_to_read_counts(database: Database) -> None:
    declared(database, {"name": "app", "namespace": "spark", "consumes": [raw()]})
    pointer = {"run": {"runId": _id(31)}, "job": {"namespace": "spark", "name": "app"}}
    output = {"namespace": "s3://lake", "name": f"orders/date={DAY}", **COUNTED}
    job = spark(5, 32, f"app.{INSERT}.orders", "SQL_JOB", {**pointer, "root": pointer}, outputs=[output])
    record(database, extract(0, 2), job)
    assert shown(one(database)) == ("fresh", [])
    record(database, extract(10, 11))
    assert shown(one(database)) == NEWER


def test_a_later_try_that_wrote_nothing_does_not_make_the_success_newer(database: Database) -> None:
    record(database, extract(0, 2), enrich(3), extract(10, 11), enrich(12, "failed", writes=False))
    assert shown(one(database)) == NEWER
