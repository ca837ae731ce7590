"""What Spark's events do not say: writes that were lost, left out or never confirmed, and partitions in a statement.

The events are cut from a capture (examples/captures/spark_edge).
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from dataforge.ingest.batch import record_any
from dataforge.ingest.insert_statement import partition
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import verdict
from dataforge.model.definition import parse
from dataforge.model.question import Named
from dataforge.storage.database import Database

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/1.53.0/integration/spark"
APPLICATION, STEP, TASK = (f"01a1fcd2-0000-7000-8000-00000000000{number}" for number in range(3))
TASK_RUN: dict[str, Any] = {"run": {"runId": TASK}, "job": {"namespace": "airflow", "name": "shop_daily.load"}}
INSERT = "execute_insert_into_hadoop_fs_relation_command"
COUNTED: dict[str, Any] = {"outputFacets": {"outputStatistics": {"rowCount": 20, "size": 1329, "fileCount": 1}}}


def event(type_: str, second: int, run_id: str, name: str, job_type: str, **facets: Any) -> dict[str, Any]:
    return {
        "eventType": type_,
        "eventTime": f"2026-11-21T06:40:{second:02}.123Z",
        "producer": PRODUCER,
        "run": {"runId": run_id, "facets": facets},
        "job": {
            "namespace": "emr",
            "name": name,
            "facets": {"jobType": {"processingType": "BATCH", "integration": "SPARK", "jobType": job_type}},
        },
        "inputs": [],
        "outputs": [],
    }


def application(*, parented: bool) -> list[dict[str, Any]]:
    above = {"parent": TASK_RUN} if parented else {}
    return [
        event(type_, second, APPLICATION, "load", "APPLICATION", **above)
        for type_, second in (("START", 0), ("COMPLETE", 50))
    ]


def write(plan: str, types: str, *, parented: bool, change: str = "OVERWRITE", **last: Any) -> list[dict[str, Any]]:
    """A step's events; `types` are their first letters. What `last` gives the output stands on the last of them."""
    root = TASK_RUN if parented else {"run": {"runId": APPLICATION}, "job": {"namespace": "emr", "name": "load"}}
    parent = {"run": {"runId": APPLICATION}, "job": {"namespace": "emr", "name": "load"}, "root": root}
    kinds = {"S": "START", "R": "RUNNING", "F": "FAIL", "C": "COMPLETE"}
    found = []
    for place, letter in enumerate(types):
        job = {"spark_jobDetails": {"jobId": place}} if letter == "R" else {}
        one = event(kinds[letter], 10 + place, STEP, f"load.{plan}.mart_sales", "SQL_JOB", parent=parent, **job)
        lifecycle = {"lifecycleStateChange": {"lifecycleStateChange": change}}
        output = {"namespace": "file", "name": "/lake/mart/sales", "facets": lifecycle}
        one["outputs"] = [{**output, **(last if place == len(types) - 1 else {})}]
        found.append(one)
    return found


SUCCEEDED = {
    "time": "2026-11-21T06:41:00Z",
    "task": {"namespace": "airflow", "name": "shop_daily.load"},
    "run": TASK,
    "state": "succeeded",
}


def states(database: Database, *bodies: object) -> list[tuple[str, str, str]]:
    """Records the events; the partition, status and evidence of what the application is said to have written."""
    assert record_any(database, "dev", list(bodies), NOTHING).rejected == []
    query = "select partition, status, evidence from partition_state where node_kind = 'dataset' order by partition"
    with database.transaction() as connection:
        return connection.execute(query).fetchall()


def test_a_later_spark_job_that_failed_is_not_made_good_by_its_application(database: Database) -> None:
    caught = write("adaptive_spark_plan", "SRRRC", parented=True)
    assert states(database, SUCCEEDED, *application(parented=True), *caught) == [("", "running", "inferred")]


def test_who_updates_in_place_what_is_only_inferred_to_be_there_waits_for_more(database: Database) -> None:
    sales, load = {"namespace": "file", "name": "/lake/mart/sales"}, {"namespace": "emr", "name": "load"}
    clean = {"namespace": "ns", "name": "clean", "consumes": [{"dataset": sales}], "produces": [sales]}
    declare(database, "dev", parse({"source": "dags", "tasks": [{**load, "produces": [sales]}, clean]}))
    counted = write(INSERT, "SRC", parented=False, **COUNTED)
    assert states(database, *application(parented=False), *counted) == [("", "missing", "inferred")]  # until cleaned
    (reason,) = verdict(database, "dev", Named("clean"), NOW).reasons
    assert (reason.code, reason.upstream and reason.upstream.name) == ("upstream_unconfirmed", "load")


def test_what_comes_with_its_parents_late_event_follows_what_is_believed_of_that(database: Database) -> None:
    began = {**SUCCEEDED, "time": "2026-11-21T06:39:00Z", "state": "running"}
    task = {"task": SUCCEEDED["task"], "run": TASK, "partition": "2026-11-21"}
    mark = {"control": "mark", "state": "failed", "by": "anna", "reason": "half a file", "time": "2026-11-21T07:00:00Z"}
    states(database, began, {**mark, **task})
    counted = write(INSERT, "SRC", parented=True, **COUNTED)
    assert states(database, SUCCEEDED, *application(parented=True), *counted) == [("", "failed", "confirmed")]


def test_what_a_job_wrote_began_with_its_application_however_late_that_is_heard(database: Database) -> None:
    began, _ = application(parented=False)
    counted = write(INSERT, "SRC", parented=False, **COUNTED)
    states(database, event("RUNNING", 5, APPLICATION, "load", "APPLICATION"), *counted)
    states(database, began)
    with database.transaction() as connection:
        found = connection.execute("select ready_began from partition_state where node_kind = 'dataset'").fetchall()
    assert found == [(datetime.fromisoformat(began["eventTime"]),)]


def test_an_empty_write_of_one_spark_job_is_good_with_its_application(database: Database) -> None:
    empty = write(INSERT, "SRRC", parented=True)
    assert states(database, SUCCEEDED, *application(parented=True), *empty) == [("", "ready", "confirmed")]


def test_what_exists_stays_as_it_was_when_a_write_ends_before_it_begins(database: Database) -> None:
    assert states(database, SUCCEEDED, *application(parented=True), *write(INSERT, "SC", parented=True)) == []


def test_a_write_whose_first_events_were_lost_is_as_good_as_its_application(database: Database) -> None:
    short = write(INSERT, "C", parented=True)
    assert states(database, SUCCEEDED, *application(parented=True), *short) == [("", "ready", "confirmed")]


def test_a_created_table_has_no_rows_to_count(database: Database) -> None:
    created = write("execute_create_data_source_table_command", "SC", parented=False, change="CREATE")
    assert states(database, *application(parented=False), *created) == [("", "ready", "inferred")]


def test_a_table_created_from_a_query_has(database: Database) -> None:
    plan = "execute_create_data_source_table_as_select_command"
    created = write(plan, "SC", parented=False, change="CREATE")
    assert states(database, *application(parented=False), *created) == [("", "running", "inferred")]


def test_the_root_tells_of_a_parent_when_the_application_sent_nothing(database: Database) -> None:
    assert states(database, *write(INSERT, "SRC", parented=True, **COUNTED)) == [("", "running", "inferred")]


def test_without_anybody_above_the_counted_rows_are_believed(database: Database) -> None:
    assert states(database, *write(INSERT, "SRC", parented=False, **COUNTED)) == [("", "ready", "inferred")]


def test_a_write_is_its_applications_whichever_event_comes_first(database: Database) -> None:
    """The application's COMPLETE alone says nothing of its outcome, which is what was assumed of it before."""
    steps = write(INSERT, "SRC", parented=False, **COUNTED)
    states(database, *steps)
    states(database, application(parented=False)[1])
    query = "select t.name from partition_state s join task t on t.id = s.task_id where s.node_kind = 'dataset'"
    with database.transaction() as connection:
        assert connection.execute(query).fetchall() == [("load",)]


def test_a_table_that_is_altered_is_not_written(database: Database) -> None:
    altered = write("execute_alter_table_add_columns_command", "SC", parented=True, change="ALTER")
    assert states(database, SUCCEEDED, *application(parented=True), *altered) == []
    with database.transaction() as connection:
        assert connection.execute("select 1 from edge where relation = 'produces'").fetchall() == []


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ("INSERT INTO shop.history PARTITION (ds='2026-11-01') SELECT 1", "2026-11-01"),
        ("insert overwrite table shop.history partition(ds='2026-11-02') select 1", "2026-11-02"),
        ('INSERT OVERWRITE shop.history PARTITION (`ds` = "2026-11-03") SELECT 1', "2026-11-03"),
        (
            "-- all of it (PARTITION)\nINSERT INTO\n shop.history\n PARTITION (\n ds = '2026-11-04'\n)\nSELECT 1",
            "2026-11-04",
        ),
        ("/* PARTITION (ds='1999-01-01') */ INSERT INTO `a`.`b` PARTITION (ds='2026-11-05') SELECT 1", "2026-11-05"),
        ("WITH s AS (SELECT 1) INSERT INTO t PARTITION (ds = '2026-11-06') SELECT * FROM s", "2026-11-06"),
        ("FROM s INSERT OVERWRITE TABLE t PARTITION (ds = '2026-11-07') SELECT a", "2026-11-07"),
        ("INSERT OVERWRITE TABLE t PARTITION (ds = '2026-11-08') IF NOT EXISTS SELECT 1", "2026-11-08"),
        ("INSERT OVERWRITE TABLE t PARTITION(ds = DATE'2026-11-01', region='eu') SELECT 1", "2026-11-01|eu"),
        ("INSERT INTO t PARTITION(region='a,b', ds = CAST('2026-11-02' AS DATE)) SELECT 1", "2026-11-02|a,b"),
        ("INSERT OVERWRITE TABLE t PARTITION (year=2026, month=11, day=1) SELECT 1", "2026-11-01"),
        ("INSERT OVERWRITE TABLE t PARTITION (ds) SELECT 1", None),
        ("INSERT INTO t PARTITION (ds='2026-11-01', region) SELECT 1", None),
        ("INSERT INTO t SELECT sum(a) OVER (PARTITION BY b) FROM s", None),
        ("FROM s INSERT INTO t PARTITION (ds='1') SELECT a INSERT INTO t PARTITION (ds='2') SELECT b", None),
        ("SELECT 'INSERT INTO t PARTITION (ds=1)'", None),
        ("TRUNCATE TABLE t PARTITION (ds='2026-11-01')", None),
    ],
)
def test_the_partition_of_an_insert_stands_in_its_text(statement: str, key: str | None) -> None:
    assert partition(statement) == key
