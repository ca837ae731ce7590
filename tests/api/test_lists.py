"""Lists over HTTP: what they show, what they filter, and that a walk through the pages sees everything once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from dataforge.storage import dataset_list, partition_list, run_window, task_list

Client = TestClient[Litestar]
_RUN_FIELDS = {
    *("kind", "namespace", "name", "partition", "partitions", "run", "attempt", "state", "started_at"),
    *("ended_at", "data_interval", "inputs", "outputs", "error", "evidence", "partition_from", "source"),
    *("version", "marked", "shards"),
}


def _send(client: Client, *events: dict[str, Any]) -> None:
    answer = client.post("/api/v1/dev/events", json=list(events))
    assert answer.json()["rejected"] == [], answer.text


def _event(minute: int = 0, name: str = "orders.load", **changes: Any) -> dict[str, Any]:
    task = {"namespace": "shell", "name": name}
    return {"time": f"2026-11-01T06:{minute:02}:00Z", "task": task, "state": "running", **changes}


def _openlineage(client: Client, *events: dict[str, Any]) -> None:
    full = [{"producer": "https://example.com", "eventTime": "2026-11-01T06:00:00Z", **event} for event in events]
    answer = client.post("/api/v1/lineage/batch", json=full)
    assert answer.json()["status"] == "success", answer.text


def _list(client: Client, noun: str, **filters: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/dev/{noun}", params=filters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def _walk(client: Client, noun: str, **filters: Any) -> list[dict[str, Any]]:
    """All items of all pages; no page is larger than its limit."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(f"/api/v1/dev/{noun}", params={**filters, **cursor}).json()
        assert len(page["items"]) <= filters.get("limit", 100)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


def test_a_run_shows_exactly_its_fields(client: Client) -> None:
    _send(
        client,
        _event(0, partition="2026-11-01", run="r1"),
        _event(
            5,
            partition="2026-11-01",
            run="r1",
            state="failed",
            error="disk full",
            data_interval={"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"},
            inputs=[{"namespace": "db", "name": "orders"}],
            outputs=[{"namespace": "db", "name": "clean", "partition": "2026-11-01", "version": "7", "rows": 3}],
        ),
    )
    [run] = _list(client, "runs")
    assert set(run) == _RUN_FIELDS
    assert run == {
        "kind": "task",
        "namespace": "shell",
        "name": "orders.load",
        "partition": "2026-11-01",
        "partitions": ["2026-11-01"],
        "run": "r1",
        "attempt": 1,
        "state": "failed",
        "started_at": "2026-11-01T06:00:00Z",
        "ended_at": "2026-11-01T06:05:00Z",
        "data_interval": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"},
        "inputs": [
            {
                "namespace": "db",
                "name": "orders",
                "partition": None,
                "version": None,
                "rows": None,
                "evidence": "reported",
            }
        ],
        "outputs": [
            {
                "namespace": "db",
                "name": "clean",
                "partition": "2026-11-01",
                "version": "7",
                "rows": 3,
                "evidence": "reported",
            }
        ],
        "error": "disk full",
        "evidence": "reported",
        "partition_from": "event",
        "version": None,
        "source": {},
        "marked": None,
        "shards": None,
    }


def test_attempts_are_listed_each_with_its_own_times_and_touches(client: Client) -> None:
    _send(
        client,
        _event(0, run="r1", attempt=1),
        _event(1, run="r1", attempt=1, state="failed", inputs=[{"namespace": "db", "name": "first"}]),
        _event(2, run="r1", attempt=2),
        _event(3, run="r1", attempt=2, state="succeeded", inputs=[{"namespace": "db", "name": "second"}]),
    )
    [run] = _list(client, "runs")
    assert (run["attempt"], run["state"], run["inputs"][0]["name"]) == (2, "succeeded", "second")
    first, second = _list(client, "runs", attempts="true")
    assert set(first) == _RUN_FIELDS
    assert [(a["attempt"], a["state"]) for a in (first, second)] == [(1, "failed"), (2, "succeeded")]
    assert [a["inputs"][0]["name"] for a in (first, second)] == ["first", "second"]
    assert [a["started_at"] for a in (first, second)] == ["2026-11-01T06:00:00Z", "2026-11-01T06:02:00Z"]
    [failed] = _list(client, "runs", attempts="true", state="failed")
    assert failed == first


def test_lists_show_tasks_unless_asked_for_another_kind(client: Client) -> None:
    _send_spark(client)
    assert [run["name"] for run in _list(client, "runs")] == ["sales"]
    assert [run["name"] for run in _list(client, "runs", kind="step")] == ["sales.execute_insert"]
    assert [task["name"] for task in _list(client, "tasks")] == ["sales"]
    assert [task["name"] for task in _list(client, "tasks", kind="step")] == ["sales.execute_insert"]


def test_each_filter_of_runs_narrows_the_list(client: Client) -> None:
    _send(
        client,
        _event(0, run="a", partition="p1"),
        _event(10, run="b", partition="p2", state="succeeded"),
        _event(9, run="b", partition="p2"),
        _event(20, name="orders.export", run="c"),
    )

    def runs(**filters: str) -> list[str]:
        return [run["run"] for run in _list(client, "runs", **filters)]

    assert runs() == ["c", "b", "a"]
    assert runs(state="succeeded") == ["b"]
    assert runs(partition="p1") == ["a"]
    assert runs(name="orders.load") == ["b", "a"]
    assert runs(name="orders.export", namespace="shell") == ["c"]
    assert runs(namespace="shell") == ["c", "b", "a"]
    assert runs(namespace="other") == []
    assert runs(owner="nobody") == []
    assert runs(platform="spark") == []
    assert runs(since="2026-11-01T06:09:00Z") == ["c", "b"]
    assert runs(since="2026-11-01T07:09:00+01:00", until="2026-11-01T06:20:00Z") == ["b"]
    assert runs(until="2026-11-01") == []


def test_runs_that_never_started_come_last_and_are_in_no_period(client: Client) -> None:
    _send(client, _event(0, run="started"), *(_event(1, run=f"s{n}", state="skipped") for n in range(3)))
    assert [run["run"] for run in _list(client, "runs")] == ["started", "s0", "s1", "s2"]
    assert [run["run"] for run in _walk(client, "runs", limit=1)] == ["started", "s0", "s1", "s2"]
    assert [run["run"] for run in _list(client, "runs", since="2026-01-01")] == ["started"]


def test_an_alias_is_shown_under_its_canonical_name(client: Client) -> None:
    symlink = {"identifiers": [{"namespace": "glue", "name": "lake.orders", "type": "TABLE"}]}
    output = {"namespace": "s3://lake", "name": "orders", "facets": {"symlinks": symlink}}
    job = {"namespace": "shell", "name": "orders.export"}
    run_id = "0190c3f5-0000-7000-8000-000000000001"
    _openlineage(client, {"eventType": "COMPLETE", "run": {"runId": run_id}, "job": job, "outputs": [output]})
    [dataset] = _list(client, "datasets")
    [run] = _list(client, "runs")
    assert (run["outputs"][0]["namespace"], run["outputs"][0]["name"]) == (dataset["namespace"], dataset["name"])
    [alias] = dataset["aliases"]
    names = {(dataset["namespace"], dataset["name"]), (alias["namespace"], alias["name"])}
    assert names == {("s3://lake", "orders"), ("glue", "lake.orders")}
    for _, name in names:
        assert _list(client, "datasets", name=name) == [dataset]
        assert _list(client, "partitions", name=name, kind="dataset") == _list(client, "partitions", kind="dataset")


@pytest.mark.parametrize("canonical", ["arn:aws:glue:eu-west-1:1", "z:glue"])
def test_what_was_said_of_any_name_is_said_of_the_dataset(client: Client, canonical: str) -> None:
    facets = {
        "symlinks": {"identifiers": [{"namespace": canonical, "name": "table/db/sales", "type": "TABLE"}]},
        "schema": {"fields": [{"name": "id", "type": "int"}]},
        "documentation": {"description": "the sales"},
        "ownership": {"owners": [{"name": "team-sales@example.com"}]},
    }
    output = {"namespace": "s3://lake", "name": "sales", "facets": facets}
    run = {"runId": "0190c3f5-0000-7000-8000-000000000001"}
    job = {"namespace": "shell", "name": "sales.export"}
    _openlineage(client, {"eventType": "COMPLETE", "run": run, "job": job, "outputs": [output]})
    [dataset] = _list(client, "datasets")
    assert dataset["namespace"] == min(canonical, "s3://lake")
    assert (dataset["owner"], dataset["description"]) == ("team-sales@example.com", "the sales")
    assert [field["name"] for field in dataset["fields"]] == ["id"]
    assert _list(client, "datasets", owner="team-sales@example.com") == [dataset]
    assert _list(client, "datasets", owner="nobody@example.com") == []


def test_a_spark_application_shows_what_its_steps_read_and_wrote(client: Client) -> None:
    _send_spark(client)
    [application] = _list(client, "runs", name="sales")
    assert [touch["name"] for touch in application["inputs"]] == ["orders"]
    assert [touch["name"] for touch in application["outputs"]] == ["clean"]
    [step] = _list(client, "runs", kind="step", namespace="emr", name="sales.execute_insert")
    assert step["outputs"] == application["outputs"]


def _send_spark(client: Client) -> None:
    """An application with one step."""
    engine = {"processing_engine": {"name": "spark", "version": "3.5.0"}}
    app_id, step_id = (f"0190c3f5-0000-7000-8000-00000000000{n}" for n in (1, 2))
    parent = {"parent": {"run": {"runId": app_id}, "job": {"namespace": "emr", "name": "sales"}}}
    application = {
        "eventType": "START",
        "run": {"runId": app_id, "facets": engine},
        "job": {"namespace": "emr", "name": "sales", "facets": _job_type("APPLICATION")},
    }
    step = {
        "eventType": "COMPLETE",
        "run": {"runId": step_id, "facets": {**engine, **parent}},
        "job": {"namespace": "emr", "name": "sales.execute_insert", "facets": _job_type("SQL_JOB")},
        "inputs": [{"namespace": "s3://lake", "name": "orders"}],
        "outputs": [{"namespace": "s3://lake", "name": "clean"}],
    }
    producer = "https://github.com/OpenLineage/OpenLineage/tree/1.40.0/integration/spark"
    _openlineage(client, {"producer": producer, **application}, {"producer": producer, **step})


def _job_type(name: str) -> dict[str, Any]:
    return {"jobType": {"jobType": name, "integration": "SPARK", "processingType": "BATCH"}}


def test_a_partition_keeps_its_last_success_after_a_failure(client: Client) -> None:
    _send(
        client,
        _event(0, run="r1", partition="p", attempt=1),
        _event(1, run="r1", partition="p", state="succeeded"),
        _event(2, run="r2", partition="p"),
        _event(3, run="r2", partition="p", state="failed"),
    )
    [partition] = _list(client, "partitions", name="orders.load")
    named = {"namespace": "shell", "name": "orders.load"}
    assert partition["state"] == "failed"
    assert partition["run"] == {**named, "run": "r2"}
    assert partition["last_ready"]["run"] == {**named, "run": "r1"}
    assert partition["since"] == "2026-11-01T06:03:00Z"


def test_each_filter_of_partitions_narrows_the_list(client: Client) -> None:
    written = [{"namespace": "db", "name": "clean", "partition": "p1"}]
    _send(
        client,
        _event(0, run="a", partition="p1", state="succeeded", outputs=written),
        _event(5, run="b", partition="p2", state="failed"),
    )

    def found(**filters: str) -> list[tuple[str, str]]:
        return [(item["kind"], item["partition"]) for item in _list(client, "partitions", **filters)]

    assert sorted(found()) == [("dataset", "p1"), ("task", "p1"), ("task", "p2")]
    assert found(kind="task") == [("task", "p1"), ("task", "p2")]
    assert found(state="failed") == [("task", "p2")]
    assert found(name="clean") == [("dataset", "p1")]
    assert found(name="orders.load", partition="p2") == [("task", "p2")]
    assert found(namespace="db") == [("dataset", "p1")]
    assert found(since="2026-11-01T06:05:00Z") == [("task", "p2")]
    assert found(until="2026-11-01T06:05:00Z", kind="task") == [("task", "p1")]
    assert found(owner="nobody") == []
    assert found(platform="spark") == []


def test_tasks_that_were_only_mentioned_are_not_listed(client: Client) -> None:
    parent = {"run": {"runId": "0190c3f5-0000-7000-8000-000000000009"}, "job": {"namespace": "x", "name": "above"}}
    run = {"runId": "0190c3f5-0000-7000-8000-000000000001", "facets": {"parent": parent}}
    _openlineage(client, {"eventType": "START", "run": run, "job": {"namespace": "x", "name": "below"}})
    assert [task["name"] for task in _list(client, "tasks")] == ["below"]
    assert [task["name"] for task in _list(client, "tasks", namespace="x", platform="")] == ["below"]
    assert _list(client, "tasks", namespace="y") == []


def test_rejects_come_latest_first_with_their_bytes(client: Client) -> None:
    for body in (b"first", b"\xff\xfe", b"[1]"):
        client.post("/api/v1/lineage", content=body)
    items = _list(client, "rejects")
    assert [(item["body"], item["encoding"]) for item in items] == [
        ("[1]", "utf-8"),
        ("//4=", "base64"),
        ("first", "utf-8"),
    ]
    assert [item["body"] for item in _walk(client, "rejects", limit=1)] == [item["body"] for item in items]
    assert _list(client, "rejects", until="2026-01-01") == []


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_run_that_arrives_between_two_pages_moves_no_other(client: Client, size: int) -> None:
    _send(client, *(_event(n, run=f"r{n}") for n in range(5)))
    page = client.get(f"/api/v1/dev/runs?limit={size}").json()
    _send(client, _event(59, run="newest"))
    rest = _walk(client, "runs", limit=size, cursor=page["next_cursor"]) if page["next_cursor"] else []
    assert [run["run"] for run in page["items"] + rest] == ["r4", "r3", "r2", "r1", "r0"]


_MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_MANY
@given(limit=st.integers(1, 40), attempts=st.booleans(), state=st.sampled_from([None, "failed", "succeeded"]))
def test_any_page_size_yields_every_run_once(client: Client, limit: int, attempts: bool, state: str | None) -> None:
    if not _list(client, "tasks"):
        _send(client, *_history())
    filters = {"attempts": str(attempts).lower(), **({"state": state} if state else {})}
    whole = _list(client, "runs", limit=1_000, **filters)
    assert _walk(client, "runs", limit=limit, **filters) == whole
    names = [(run["name"], run["run"], run["attempt"]) for run in whole]
    assert len(set(names)) == len(names) > 0


@_MANY
@given(limit=st.integers(1, 20), noun=st.sampled_from(["tasks", "datasets", "partitions"]))
def test_any_page_size_yields_every_item_once(client: Client, limit: int, noun: str) -> None:
    if not _list(client, "tasks"):
        _send(client, *_history())
    whole = _list(client, noun, limit=1_000)
    assert _walk(client, noun, limit=limit) == whole
    assert len({str(item) for item in whole}) == len(whole) > 3


@pytest.mark.parametrize("filters", [{"partition": "run1"}, {"state": "failed"}, {"owner": "nobody"}])
@pytest.mark.parametrize("attempts", ["true", "false"])
def test_a_page_that_has_read_enough_stops_and_the_next_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch, filters: dict[str, str], attempts: str
) -> None:
    _send(client, *_history())
    whole = _list(client, "runs", attempts=attempts, **filters)
    monkeypatch.setattr(run_window, "MOST_EXAMINED", 3)
    first = client.get("/api/v1/dev/runs", params={"attempts": attempts, **filters}).json()
    assert first["next_cursor"] is not None
    assert len(first["items"]) < len(whole) or not whole
    assert _walk(client, "runs", attempts=attempts, **filters) == whole


def test_filtered_tasks_and_datasets_go_on_where_a_page_stopped(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(client, *_history())
    tasks, datasets = _list(client, "tasks"), _list(client, "datasets")
    partitions = _list(client, "partitions", state="failed")
    for module in (task_list, dataset_list, partition_list):
        monkeypatch.setattr(module, "MOST_EXAMINED", 2)
    assert (_walk(client, "tasks"), _walk(client, "datasets")) == (tasks, datasets)
    assert _walk(client, "partitions", state="failed") == partitions != []


def _history() -> list[dict[str, Any]]:
    """Runs that share starts, runs with several attempts, runs that never started."""
    events = []
    for number in range(12):
        name, run = f"task{number % 4}", f"run{number}"
        written = [{"namespace": "db", "name": f"table{number % 5}", "partition": run}]
        for attempt in range(1, 1 + number % 3 + 1):
            events.append(_event(number % 3, name, run=run, attempt=attempt, partition=run))
            state = "succeeded" if number % 2 else "failed"
            events.append(_event(30, name, run=run, attempt=attempt, state=state, outputs=written, partition=run))
        events.append(_event(40, name, run=f"never{number}", state="skipped"))
    return events
