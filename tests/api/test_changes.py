"""The feed of changes over HTTP: pages that go on from a position, and the latest states to begin with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
_DAYS = [f"2026-11-{day:02}" for day in range(1, 8)]


def _send(client: Client, *events: dict[str, Any]) -> None:
    answer = client.post("/api/v1/dev/events", json=list(events))
    assert answer.json()["rejected"] == [], answer.text


def _event(partition: str, **changes: Any) -> dict[str, Any]:
    return {
        "time": "2026-11-09T06:00:00Z",
        "task": {"namespace": "shell", "name": "orders.load"},
        "partition": partition,
        "state": "succeeded",
        "platform": "dagster",
        "source": {"dagster_run_id": "abc", "step": 3},
        "outputs": [{"namespace": "s3://lake", "name": "orders", "version": "7", "rows": 12}],
        **changes,
    }


def _changes(client: Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/dev/changes", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_change_shows_exactly_its_fields(client: Client) -> None:
    _send(client, _event("2026-11-01"))
    page = _changes(client, kind="dataset")
    [change] = page.pop("items")
    assert page == {"position": page["position"], "more": False}
    producer = {
        "task": {"namespace": "shell", "name": "orders.load"},
        "run": "2026-11-01",
        "attempt": 1,
        "state": "succeeded",
        "source": {"dagster_run_id": "abc", "step": 3},
        "error": None,
    }
    assert len(bytes.fromhex(change.pop("mirror_id"))) == 16
    assert change == {
        "kind": "dataset",
        "namespace": "s3://lake",
        "name": "orders",
        "partition": "2026-11-01",
        "status": "ready",
        "state": "succeeded",
        "evidence": "reported",
        "since": "2026-11-09T06:00:00Z",
        "version": "7",
        "rows": 12,
        "producer": producer,
        "owner": None,
        "ready": {"since": "2026-11-09T06:00:00Z", "version": "7", "producer": producer},
    }


def test_following_the_positions_reads_everything_once(client: Client) -> None:
    _send(client, *map(_event, _DAYS))
    seen: list[str] = []
    page = _changes(client, limit=3)
    while True:
        seen += [item["mirror_id"] for item in page["items"]]
        if not page["more"]:
            break
        page = _changes(client, limit=3, after=page["position"])
    assert len(seen) == len(set(seen)) == 2 * len(_DAYS)
    again = _changes(client, after=page["position"])
    assert (again["items"], again["position"]) == ([], page["position"])
    _send(client, _event("2026-11-03", state="failed", time="2026-11-09T07:00:00Z", run="again"))
    later = _changes(client, after=page["position"])["items"]
    assert [(item["kind"], item["partition"], item["status"]) for item in later] == [
        ("task", "2026-11-03", "failed"),
        ("dataset", "2026-11-03", "failed"),
    ]
    assert all(item["ready"]["producer"]["run"] == "2026-11-03" for item in later)


def test_who_begins_with_the_latest_states_goes_on_from_now(client: Client) -> None:
    _send(client, *map(_event, _DAYS))
    position = _changes(client, after="now")["position"]
    asked = {"datasets": [{"namespace": "s3://lake", "name": "orders"}], "each": 2}
    answer = client.post("/api/v1/dev/changes/latest", json=asked)
    assert answer.status_code == 200
    assert [item["partition"] for item in answer.json()["items"]] == _DAYS[:-3:-1]
    by_default = client.post("/api/v1/dev/changes/latest", json={"datasets": asked["datasets"]})
    assert len(by_default.json()["items"]) == len(_DAYS)
    assert _changes(client, after=position)["items"] == []


def test_who_cannot_keep_up_is_shown_the_newest_first_and_comes_back_to_the_rest(client: Client) -> None:
    _send(client, *map(_event, _DAYS))
    asked = {"datasets": [_DATASET], "limit": 4}
    first = client.post("/api/v1/dev/changes/newest", json=asked).json()
    assert [item["partition"] for item in first["items"]] == _DAYS[:2:-1]
    assert first["waiting"] == 3
    rest = client.post("/api/v1/dev/changes/newest", json={**asked, "before": first["rest"]}).json()
    assert [item["partition"] for item in rest["items"]] == _DAYS[2::-1]
    assert (rest["rest"], rest["waiting"]) == (None, 0)
    again = client.post("/api/v1/dev/changes/newest", json={**asked, "after": first["position"]}).json()
    assert (again["items"], again["position"]) == ([], first["position"])


def test_the_latest_states_may_be_those_in_some_statuses(client: Client) -> None:
    _send(client, *map(_event, _DAYS[1:]), _event(_DAYS[0], state="failed"))
    asked = {"datasets": [_DATASET], "statuses": ["failed", "running"]}
    answer = client.post("/api/v1/dev/changes/latest", json=asked)
    assert [item["partition"] for item in answer.json()["items"]] == _DAYS[:1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "yesterday"}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"kind": "table"}, "kind"),
        ({"since": "2026-11-01T00:00:00Z"}, "since"),
    ],
)
def test_a_question_that_means_nothing_names_what_is_wrong(client: Client, query: dict[str, Any], field: str) -> None:
    answer = client.get("/api/v1/dev/changes", params=query)
    assert answer.status_code == 422
    [problem] = answer.json()["errors"]
    assert problem["field"] == field
    assert problem["expected"]


_DATASET = {"namespace": "s3://lake", "name": "orders"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "$"),
        (b"[]", "$"),
        (b"{}", "datasets"),
        ({"datasets": [{"name": "orders"}]}, "datasets[0].namespace"),
        ({"datasets": [_DATASET], "each": 0}, "each"),
        ({"datasets": [_DATASET] * 1_001}, "datasets"),
        ({"datasets": [_DATASET] * 1_000, "each": 100}, "each"),
        ({"datasets": [_DATASET], "of": 3}, "of"),
        ({"datasets": [_DATASET], "statuses": ["done"]}, "statuses[0]"),
    ],
)
def test_a_bad_question_for_the_latest_states_names_its_field(client: Client, body: Any, field: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post("/api/v1/dev/changes/latest", content=content)
    assert answer.status_code == 422
    [problem] = answer.json()["errors"]
    assert problem["field"] == field
    assert problem["expected"]
    assert answer.json()["detail"].startswith("this is no JSON" if body == b"{" else f"{field} is ")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "datasets"),
        ({"datasets": [_DATASET], "limit": 1_001}, "limit"),
        ({"datasets": [_DATASET], "after": "yesterday"}, "after"),
        ({"datasets": [_DATASET], "before": "tomorrow"}, "before"),
        ({"datasets": [_DATASET] * 10_001}, "datasets"),
    ],
)
def test_a_bad_question_for_the_newest_changes_names_its_field(client: Client, body: Any, field: str) -> None:
    answer = client.post("/api/v1/dev/changes/newest", json=body)
    assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, [field])
