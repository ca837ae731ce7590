"""A batch into the ledger: what is bad is kept with its bytes and never stops the rest."""

import json
from hashlib import sha256
from pathlib import Path
from select import select
from typing import Any

import pytest

from dataforge.ingest import native
from dataforge.ingest.batch import BatchResult, read, record_any, record_into, record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING, Redaction, Rule
from dataforge.ledger import catalog
from dataforge.ledger.verify import digest
from dataforge.model.errors import DatabaseUnavailable
from dataforge.model.filter import RejectFilter
from dataforge.storage import environment as environments
from dataforge.storage import event as event_log
from dataforge.storage.body import decompress
from dataforge.storage.database import Database

PUBLIC_SAMPLES = Path(__file__).parents[3] / "shared" / "openlineage" / "events"


def run_event(**changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "eventType": "START",
        "eventTime": "2026-11-01T06:00:00Z",
        "producer": "https://example.com/producer",
        "run": {"runId": "01936893-9751-7b3c-8f76-8ac6d0e5f8a3", "facets": {}},
        "job": {"namespace": "ns", "name": "load", "facets": {}},
        "inputs": [],
        "outputs": [{"namespace": "s3://lake", "name": "orders"}],
    }
    return {**event, **changes}


def record(database: Database, *bodies: object, redaction: Redaction = NOTHING) -> BatchResult:
    return record_openlineage(database, "dev", bodies, redaction)


def count(database: Database, table: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


BAD = {
    "no JSON": (b"{", "$"),
    "broken UTF-8": (b'{"eventTime": "\xff"}', "$"),
    "half a surrogate pair": (json.dumps(run_event(producer="\ud800")).encode(), "$"),
    "no object": (b"[1]", "$"),
    "nothing of an event": (b'{"eventTime": "2026-11-01T06:00:00Z"}', "$"),
    "a facet list of the wrong type": (json.dumps(run_event(inputs={})).encode(), "inputs"),
    "a run without its job": (json.dumps({**run_event(), "job": None}).encode(), "job"),
    "a missing time": (json.dumps({k: v for k, v in run_event().items() if k != "eventTime"}).encode(), "eventTime"),
    "a time of the wrong type": (json.dumps(run_event(eventTime=7)).encode(), "eventTime"),
    "no time": (json.dumps(run_event(eventTime="yesterday")).encode(), "eventTime"),
    "a time without a zone": (json.dumps(run_event(eventTime="2026-11-01T06:00:00")).encode(), "eventTime"),
    "the year 9999": (json.dumps(run_event(eventTime="9999-12-31T23:59:59Z")).encode(), "eventTime"),
    "the year 1969": (json.dumps(run_event(eventTime="1969-12-31T23:59:59Z")).encode(), "eventTime"),
    "an unknown event type": (json.dumps(run_event(eventType="DONE")).encode(), "eventType"),
    "a NUL in a name": (json.dumps(run_event(job={"namespace": "ns", "name": "a\0b"})).encode(), "job.name"),
    "an empty name": (json.dumps(run_event(job={"namespace": "", "name": "x"})).encode(), "job.namespace"),
    "a name over the index's limit": (
        json.dumps(run_event(outputs=[{"namespace": "s", "name": "x" * 5_000}])).encode(),
        "outputs[0].name",
    ),
    "a name of the wrong type": (
        json.dumps(run_event(inputs=[{"namespace": "s", "name": 1}])).encode(),
        "inputs[0].name",
    ),
    "over ten megabytes": (b" " * (10 * 2**20 + 1), "$"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_is_kept_with_its_bytes_and_does_not_stop_the_rest(database: Database, name: str) -> None:
    body, field = BAD[name]
    good = [run_event(), run_event(eventType="COMPLETE")]
    result = record(database, good[0], body, good[1])
    assert (result.received, result.applied, result.duplicates) == (3, 2, 0)
    assert [(each.index, each.errors[0].field) for each in result.rejected] == [(1, field)]
    with database.transaction() as connection:
        ((kept, size),) = connection.execute("select body, size from reject").fetchall()
        assert decompress(connection, kept) == body
    assert size == len(body)


def test_facets_of_any_shape_never_refuse_an_event(database: Database) -> None:
    odd: list[Any] = [None, 1, "x", [], [[]], {}, {"facets": []}, {"run": {"runId": 3}}, "\0"]
    names = [
        "parent",
        "nominalTime",
        "airflow",
        "airflowState",
        "airflowDagRun",
        "dbt_run",
        "spark_properties",
        "errorMessage",
    ]
    events = [
        run_event(
            run={"runId": f"r{index}-{name}", "facets": {name: shape}},
            job={"namespace": "ns", "name": "x", "facets": {"jobType": shape, "ownership": shape, "airflow": shape}},
        )
        for index, shape in enumerate(odd)
        for name in names
    ]
    result = record(database, *events)
    assert result.rejected == []
    assert result.applied == len(events)


def test_a_name_in_a_facet_that_no_index_holds_refuses_its_event_alone(database: Database) -> None:
    long = "".join(sha256(str(part).encode()).hexdigest() for part in range(200))
    facet = {"task": {"task_id": "t", "upstream_task_ids": str([long])}, "dagRun": {"run_id": long}}
    bad = run_event(run={"runId": "r1", "facets": {"airflow": facet}})
    result = record(database, run_event(), bad, run_event(eventType="COMPLETE"))
    assert (result.applied, [each.index for each in result.rejected]) == (2, [1])


def test_an_event_that_our_own_code_stumbles_over_is_kept(database: Database) -> None:
    deep: Any = {}
    for _ in range(900):  # deeper than redaction follows, not deeper than JSON may be
        deep = {"a": deep}
    rules = Redaction((Rule(".".join("a" * 2_000), "drop"),))
    bad = run_event(producer="x", a=deep)
    result = record(database, run_event(), bad, redaction=rules)
    assert result.received == 2
    assert result.applied + len(result.rejected) == 2


def test_of_a_process_that_was_frozen_in_its_transaction_no_event_is_to_blame(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    batch = read(
        [b'{"time": "2026-11-01T06:00:00Z", "task": {"namespace": "ns", "name": "load"}, "state": "running"}'],
        NOTHING,
        native.parse,
    )
    with pytest.raises(DatabaseUnavailable), database.transaction() as connection:
        locked = environments.lock(connection, "dev")
        connection.execute("set local idle_in_transaction_session_timeout = '10ms'")
        assert select([connection], [], [], 10)[0]  # the server has ended the session
        record_into(connection, locked, [batch])
    assert "rejects" not in caplog.text
    assert count(database, "event") == count(database, "reject") == 0


def test_an_event_again_is_a_duplicate_and_changes_nothing(database: Database) -> None:
    assert record(database, run_event()).applied == 1
    before = digest(database, "dev")
    again = record(database, run_event(), json.dumps(run_event(), indent=3).encode())
    assert (again.applied, again.duplicates) == (0, 2)
    assert digest(database, "dev") == before


def test_an_empty_batch_is_fine(database: Database) -> None:
    assert record(database) == BatchResult(0, 0, 0, [])


def test_nul_characters_in_texts_are_replaced_where_they_are_read(database: Database) -> None:
    event = run_event(eventType="FAIL", run={"runId": "r", "facets": {"errorMessage": {"message": "a\0b"}}})
    assert record(database, event).applied == 1
    with database.transaction() as connection:
        assert connection.execute("select error from run").fetchall() == [("a\N{REPLACEMENT CHARACTER}b",)]


SECRET = "select 'secret' from customers"


@pytest.mark.parametrize("action", ["drop", "mask", "hash"])
def test_redaction_runs_before_anything_is_stored(database: Database, action: Any) -> None:
    rules = Redaction((Rule("job.facets.sql.query", action), Rule("run.facets.errorMessage.*", action)))
    good = run_event(
        job={"namespace": "ns", "name": "load", "facets": {"sql": {"query": SECRET}}},
        run={"runId": "r", "facets": {"errorMessage": {"message": SECRET}}},
    )
    bad = {**good, "eventTime": "never"}
    assert record(database, good, json.dumps(bad).encode(), redaction=rules).applied == 1
    with database.transaction() as connection:
        bodies = [event.body for page in event_log.read_all(connection, 1) for event in page]
        bodies += [decompress(connection, row[0]) for row in connection.execute("select body from reject")]
        errors = [row[0] for row in connection.execute("select error from run")]
    assert len(bodies) == 2
    assert not any(b"secret" in body for body in bodies)
    assert "secret" not in str(errors)


def test_with_redaction_rules_nothing_is_kept_of_what_is_no_json(database: Database) -> None:
    broken = b'{"job": {"facets": {"sql": {"query": "select \'secret\'"}}},}'
    rules = Redaction((Rule("job.facets.sql.query", "mask"),))
    assert len(record(database, broken, broken + b" ", redaction=rules).rejected) == 2
    kept = catalog.rejects(database, "dev", RejectFilter()).items
    assert sorted((reject.size, reject.body) for reject in kept) == [(len(broken), ""), (len(broken) + 1, "")]


def test_changed_redaction_rules_do_not_record_an_event_twice(database: Database) -> None:
    assert record(database, run_event()).applied == 1
    assert record(database, run_event(), redaction=Redaction((Rule("producer", "mask"),))).duplicates == 1


NATIVE = {"time": "2026-11-01T06:00:00Z", "task": {"namespace": "ns", "name": "load"}, "state": "succeeded"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"state": "done"}, "state"),
        ({"task": {"namespace": "ns"}}, "task.name"),
        ({"time": "9999-01-01T00:00:00Z"}, "time"),
        ({"attempt": 0}, "attempt"),
        ({"partition": ""}, "partition"),
        ({"partition": "a\0"}, "partition"),
        ({"colour": "red"}, "colour"),
        ({"data_interval": {"start": "2026-11-02T00:00:00Z", "end": "2026-11-01T00:00:00Z"}}, "data_interval.end"),
        ({"outputs": [{"namespace": "s", "name": "o", "rows": -1}]}, "outputs[0].rows"),
        ({"outputs": [{"namespace": "s", "name": "o", "rows": 2**70}]}, "outputs[0].rows"),
    ],
)
def test_a_bad_native_event_names_its_field(database: Database, changes: dict[str, Any], field: str) -> None:
    result = record_native(database, "dev", [NATIVE, {**NATIVE, **changes}], NOTHING)
    assert result.applied == 1
    assert [(each.index, each.errors[0].field) for each in result.rejected] == [(1, field)]


def test_a_native_event_is_known_by_its_producers_id(database: Database) -> None:
    first = record_native(database, "dev", [{**NATIVE, "id": "e1"}], NOTHING)
    again = record_native(database, "dev", [{**NATIVE, "id": "e1"}, {**NATIVE, "id": "e2"}], NOTHING)
    assert (first.applied, again.applied, again.duplicates) == (1, 1, 1)


def test_an_event_under_a_known_id_is_that_event_however_it_is_written(database: Database) -> None:
    assert record_native(database, "dev", [{**NATIVE, "id": "e1"}], NOTHING).applied == 1
    again = record_native(database, "dev", [{**NATIVE, "id": "e1", "platform": "shell"}], NOTHING)
    assert (again.applied, again.duplicates) == (0, 1)


def test_a_file_may_hold_events_of_either_kind(database: Database) -> None:
    assert record_any(database, "dev", [NATIVE, run_event()], NOTHING).applied == 2
    assert count(database, "event") == 2


def test_environments_do_not_share_anything(database: Database) -> None:
    record(database, run_event())
    empty = digest(database, "prod")
    record_openlineage(database, "staging", [run_event()], NOTHING)
    assert digest(database, "prod") == empty
    assert digest(database, "staging") == digest(database, "dev")


@pytest.mark.skipif(not PUBLIC_SAMPLES.is_dir(), reason="the public OpenLineage samples are not beside the project")
def test_public_samples_are_recorded_or_refused_with_a_reason(database: Database) -> None:
    bodies: list[object] = []
    for path in sorted(PUBLIC_SAMPLES.rglob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        bodies += found if isinstance(found, list) else [found]
    result = record(database, *bodies)
    assert result.received == len(bodies)
    assert result.applied + result.duplicates + len(result.rejected) == len(bodies)
    assert result.applied > 0
    assert all(error.expected for each in result.rejected for error in each.errors)


@pytest.mark.parametrize(
    ("cron", "zone", "upstreams"),
    [
        ("0 0 30 2 *", "UTC", "[]"),
        ("* * * * * *", "UTC", "[]"),
        ("0 0 * * *", "Europe", "[]"),
        ("0 0 * * *", "a" * 5_000, "[]"),
        ("0 0 * * *", "UTC", "['\\ud800']"),
        ("0 0 * * *", "UTC", "{[]: 1}"),
    ],
)
def test_an_odd_timetable_or_list_never_stops_the_batch(
    database: Database, cron: str, zone: str, upstreams: str
) -> None:
    facet = {
        "dag": {"dag_id": "d", "timetable": {"expression": cron, "timezone": zone}},
        "dagRun": {
            "run_id": "r",
            "data_interval_start": "2026-10-31T00:00:00Z",
            "data_interval_end": "2026-11-01T00:00:00Z",
        },
        "task": {"task_id": "t", "upstream_task_ids": upstreams},
    }
    odd = run_event(run={"runId": "u", "facets": {"airflow": facet}}, job={"namespace": "af", "name": "d.t"})
    result = record(database, odd, run_event())
    assert (result.applied, result.rejected) == (2, [])
