"""Events over HTTP: OpenLineage and native, single and batch, good and bad."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
_AT = "2026-11-01T06:10:00Z"


def _openlineage(run_id: str = "00000000-0000-7000-8000-000000000001", **changes: Any) -> dict[str, Any]:
    event = {
        "eventType": "COMPLETE",
        "eventTime": _AT,
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
        "run": {"runId": run_id},
        "job": {"namespace": "shell", "name": "orders.export"},
        "inputs": [],
        "outputs": [{"namespace": "s3://lake", "name": "orders/export"}],
    }
    return {**event, **changes}


def _native(**changes: Any) -> dict[str, Any]:
    task = {"namespace": "shell", "name": "orders.load"}
    return {"time": _AT, "task": task, "state": "succeeded", "partition": "2026-11-01", **changes}


def _list(client: Client, noun: str, **filters: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/dev/{noun}", params=filters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def _problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text
    return problem


def test_one_event_is_created_and_its_run_is_there_at_once(client: Client) -> None:
    answer = client.post("/api/v1/lineage", json=_openlineage())
    assert (answer.status_code, answer.json()) == (201, {"status": "recorded"})
    [run] = _list(client, "runs")
    assert (run["name"], run["state"]) == ("orders.export", "succeeded")


def test_a_repeated_event_changes_nothing(client: Client) -> None:
    client.post("/api/v1/lineage", json=_openlineage())
    before = _list(client, "runs")
    answer = client.post("/api/v1/lineage", json=_openlineage())
    assert (answer.status_code, answer.json()) == (201, {"status": "duplicate"})
    assert _list(client, "runs") == before


def test_a_named_environment_gets_the_event_and_no_other_does(client: Client) -> None:
    assert client.post("/api/v1/staging/lineage", json=_openlineage()).status_code == 201
    assert _list(client, "runs") == []
    assert len(client.get("/api/v1/staging/runs").json()["items"]) == 1


def test_a_batch_with_a_bad_event_in_the_middle_keeps_the_others(client: Client) -> None:
    first, last = (_openlineage(f"00000000-0000-7000-8000-00000000000{n}") for n in (1, 2))
    answer = client.post("/api/v1/lineage/batch", json=[first, _openlineage(eventTime="soon"), last])
    assert answer.status_code == 200
    assert answer.json()["status"] == "partial_success"
    assert answer.json()["summary"] == {
        "received": 3,
        "successful": 2,
        "failed": 1,
        "retriable": 0,
        "non_retriable": 1,
    }
    [failed] = answer.json()["failed_events"]
    assert (failed["index"], failed["retriable"]) == (1, False)
    assert "eventTime" in failed["reason"]
    assert len(_list(client, "runs")) == 2
    [reject] = _list(client, "rejects")
    assert json.loads(reject["body"])["eventTime"] == "soon"


def test_broken_bytes_inside_a_batch_are_kept_as_they_came(client: Client) -> None:
    good = json.dumps(_openlineage()).encode()
    answer = client.post("/api/v1/dev/lineage/batch", content=b'[{"a": "\xff"}, ' + good + b"]")
    assert answer.json()["summary"]["successful"] == 1
    [reject] = _list(client, "rejects")
    assert (reject["encoding"], reject["size"]) == ("base64", 10)


@pytest.mark.parametrize("path", ["lineage/batch", "dev/lineage/batch", "dev/events"])
def test_an_empty_batch_is_refused_and_nothing_is_kept(client: Client, path: str) -> None:
    answer = client.post(f"/api/v1/{path}", json=[])
    assert (answer.status_code, answer.json()["errors"][0]["expected"]) == (422, "at least one event")
    assert _list(client, "rejects") == []


def test_native_events_are_taken_singly_and_in_arrays(client: Client) -> None:
    assert client.post("/api/v1/dev/events", json=_native()).json()["applied"] == 1
    again = [_native(), _native(partition="2026-11-02"), _native(state="done")]
    answer = client.post("/api/v1/dev/events", json=again).json()
    assert (answer["received"], answer["applied"], answer["duplicates"]) == (3, 1, 1)
    [rejected] = answer["rejected"]
    assert rejected["index"] == 2
    assert rejected["errors"][0]["field"] == "state"
    assert {run["partition"] for run in _list(client, "runs")} == {"2026-11-01", "2026-11-02"}


def test_more_than_ten_thousand_native_events_are_refused_whole(client: Client) -> None:
    problem = _problem(client.post("/api/v1/dev/events", content=b"[" + b"0," * 10_000 + b"0]"), 422)
    assert "10,000" in problem["detail"]
    assert _list(client, "rejects") == []


_BAD_EVENTS = [
    pytest.param(_openlineage(eventTime=3), "eventTime", id="a wrong type"),
    pytest.param({"eventTime": _AT, "run": {"runId": "1"}}, "job", id="a missing field"),
    pytest.param(_openlineage(job={"namespace": "shell", "name": "a\0b"}), "job.name", id="a NUL in a name"),
    pytest.param(_openlineage(eventTime="9999-01-01T00:00:00Z"), "eventTime", id="the year 9999"),
    pytest.param(_openlineage(eventTime="2026-11-01T00:00:00"), "eventTime", id="no zone"),
    pytest.param([], "$", id="an array"),
    pytest.param("text", "$", id="a string"),
    pytest.param(None, "$", id="null"),
]


@pytest.mark.parametrize(("event", "field"), _BAD_EVENTS)
def test_a_bad_event_names_its_field_and_is_kept(client: Client, event: object, field: str) -> None:
    content = json.dumps(event)
    problem = _problem(client.post("/api/v1/lineage", content=content), 422)
    assert problem["errors"][0]["field"] == field
    assert problem["errors"][0]["expected"]
    [reject] = _list(client, "rejects")
    assert reject["body"] == content
    assert reject["errors"][0]["field"] == field
    assert _list(client, "runs") == []


_BAD_BYTES = [
    pytest.param(b"{'a': 1}", id="no JSON"),
    pytest.param(b'[{"a": 1}, ', id="cut off"),
    pytest.param(b'{"a": "\xff\xfe"}', id="no UTF-8"),
    pytest.param(b"", id="empty"),
    pytest.param(b"[" * 100_000, id="deep"),
]


@pytest.mark.parametrize("path", ["lineage", "lineage/batch", "dev/events"])
@pytest.mark.parametrize("body", _BAD_BYTES)
def test_a_body_that_is_no_json_is_refused_and_kept(client: Client, path: str, body: bytes) -> None:
    problem = _problem(client.post(f"/api/v1/{path}", content=body), 422)
    assert "JSON" in problem["errors"][0]["expected"]
    [reject] = _list(client, "rejects")
    assert reject["size"] == len(body)


def test_an_event_over_ten_megabytes_is_too_large_and_kept(client: Client) -> None:
    event = _openlineage(run={"runId": "1", "facets": {"sql": {"query": "x" * 10 * 2**20}}})
    problem = _problem(client.post("/api/v1/lineage", json=event), 413)
    assert "10,485,760" in problem["errors"][0]["expected"] or "10485760" in problem["errors"][0]["expected"]
    [reject] = _list(client, "rejects")
    assert reject["size"] > 10 * 2**20


def test_an_event_just_under_ten_megabytes_is_taken(client: Client) -> None:
    event = _openlineage(run={"runId": "1", "facets": {"sql": {"query": "x" * (10 * 2**20 - 2_000)}}})
    assert client.post("/api/v1/lineage", json=event).status_code == 201


def test_a_body_over_a_hundred_megabytes_is_too_large(client: Client) -> None:
    problem = _problem(client.post("/api/v1/dev/events", content=b" " * (100 * 2**20 + 1)), 413)
    assert "100 MB" in problem["detail"]
    assert _list(client, "rejects") == []


@pytest.mark.parametrize("path", ["lineage", "lineage/batch", "dev/events"])
def test_a_gzipped_body_is_taken(client: Client, path: str) -> None:
    content = json.dumps(_native() if path == "dev/events" else _openlineage()).encode()
    packed = gzip.compress(content[:50]) + gzip.compress(content[50:])  # two members are one file
    answer = client.post(f"/api/v1/{path}", content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code in (200, 201), answer.text
    assert len(_list(client, "runs")) == 1


def test_what_unpacks_to_over_a_hundred_megabytes_is_too_large(client: Client) -> None:
    bomb = gzip.compress(b" " * (101 * 2**20))
    answer = client.post("/api/v1/dev/events", content=bomb, headers={"Content-Encoding": "gzip"})
    assert "100 MB" in _problem(answer, 413)["detail"]


def test_a_large_body_unpacks_whole(client: Client) -> None:
    content = b"[" + b" " * (5 * 2**20) + json.dumps(_native()).encode() + b"]"
    answer = client.post("/api/v1/dev/events", content=gzip.compress(content), headers={"Content-Encoding": "gzip"})
    assert answer.json()["applied"] == 1


@pytest.mark.parametrize("cut", [slice(0, -4), slice(4, None), slice(0, 0)])
def test_broken_gzip_says_so(client: Client, cut: slice) -> None:
    packed = gzip.compress(json.dumps(_openlineage()).encode())[cut]
    answer = client.post("/api/v1/lineage", content=packed, headers={"Content-Encoding": "gzip"})
    assert _problem(answer, 422)["errors"][0]["field"] == "Content-Encoding"


def test_an_unknown_encoding_names_those_that_are_taken(client: Client) -> None:
    answer = client.post("/api/v1/lineage", content=b"x", headers={"Content-Encoding": "br"})
    assert "gzip" in _problem(answer, 415)["detail"]


@pytest.mark.parametrize("path", ["nowhere/lineage", "nowhere/lineage/batch", "nowhere/events"])
def test_an_unknown_environment_names_those_that_exist(client: Client, path: str) -> None:
    problem = _problem(client.post(f"/api/v1/{path}", json=[_native()]), 404)
    assert problem["candidates"] == ["dev", "staging", "prod"]


def test_a_nul_in_a_path_is_not_found(client: Client) -> None:
    _problem(client.post("/api/v1/%00/events", json=[]), 404)
