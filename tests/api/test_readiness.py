"""Readiness over HTTP, on a minimal application around the real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.testing import TestClient

from dataforge.api import problem
from dataforge.api.questions import MOST_QUESTIONS
from dataforge.api.readiness import get_readiness, post_readiness
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database

EVENTS: list[dict[str, Any]] = [
    {
        "time": "2026-11-02T00:10:00Z",
        "task": {"namespace": "shell", "name": "orders.extract"},
        "partition": "2026-11-01",
        "state": "failed",
        "outputs": [{"namespace": "s3://lake", "name": "orders", "partition": "2026-11-01"}],
    },
    {
        "time": "2026-11-01T00:10:00Z",
        "task": {"namespace": "shell", "name": "orders.load"},
        "partition": "2026-10-31",
        "state": "succeeded",
        "inputs": [{"namespace": "s3://lake", "name": "orders", "partition": "2026-10-31"}],
    },
]


@pytest.fixture
def client(database: Database) -> Iterator[TestClient[Litestar]]:
    record_native(database, "dev", [json.dumps(event).encode() for event in EVENTS], NOTHING)
    app = Litestar(
        route_handlers=[get_readiness, post_readiness],
        dependencies={"database": Provide(lambda: database, sync_to_thread=False)},
        exception_handlers={Exception: problem.answer},
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_one_verdict_has_the_fields_that_clients_rely_on(client: TestClient[Litestar]) -> None:
    response = client.get("/dev/readiness", params={"name": "orders.load", "partition": "2026-11-01"})
    assert response.status_code == 200
    verdict = response.json()
    decided_at = verdict.pop("decided_at")
    assert decided_at.endswith("Z")
    assert verdict.pop("graph_version") >= 0
    assert verdict == {
        "task": {"namespace": "shell", "name": "orders.load"},
        "partition": "2026-11-01",
        "runnable": False,
        "status": "blocked",
        "fate": None,
        "basis": "observed",
        "reasons": [
            {
                "code": "upstream_failed",
                "message": "orders for 2026-11-01 failed",
                "upstream": {"kind": "dataset", "namespace": "s3://lake", "name": "orders"},
                "partition": "2026-11-01",
                "state": "failed",
                "since": "2026-11-02T00:10:00Z",
            }
        ],
        "warnings": [],
        "observed_through": {"shell": "2026-11-02T00:10:00Z"},
    }


def test_an_unknown_name_is_not_found_and_lists_candidates(client: TestClient[Litestar]) -> None:
    response = client.get("/dev/readiness", params={"name": "orders", "namespace": "shell"})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.json()["candidates"]) == {"shell/orders.load", "shell/orders.extract"}
    assert client.get("/nowhere/readiness", params={"name": "orders.load"}).status_code == 404


def test_a_question_without_a_name_is_refused(client: TestClient[Litestar]) -> None:
    assert client.get("/dev/readiness").status_code == 422


def test_a_batch_is_answered_in_the_order_asked(client: TestClient[Litestar]) -> None:
    asked = [
        {"task": "orders.load", "partition": "2026-11-01"},
        {"task": {"name": "nobody"}, "partition": "2026-11-01"},
        {"task": {"namespace": "shell", "name": "orders.load"}, "partition": "2026-10-31"},
    ]
    response = client.post("/dev/readiness", json=asked)
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {"items", "decided_at", "graph_version"}
    assert [item["status"] for item in answer["items"]] == ["blocked", "unknown", "succeeded"]
    assert answer["items"][1]["code"] == "no_such_task"
    assert answer["items"][1]["reasons"][0]["code"] == "no_such_task"
    assert {item["decided_at"] for item in answer["items"]} == {answer["decided_at"]}


def test_an_empty_batch_has_an_empty_answer(client: TestClient[Litestar]) -> None:
    assert client.post("/dev/readiness", json=[]).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "$"),
        (b"\xff", "$"),
        (b"{}", "$"),
        (json.dumps([{"task": "a"}] * (MOST_QUESTIONS + 1)).encode(), "$"),
        (b'[{"task": "a"}, {"partition": "2026-11-01"}]', "[1].task"),
        (b'[{"task": 1}]', "[0].task"),
        (b'[{"task": {"namespace": "shell"}}]', "[0].task.name"),
        (b'[{"task": "a", "partitions": []}]', "[0].partitions"),
    ],
)
def test_a_batch_that_cannot_be_read_names_the_field(client: TestClient[Litestar], body: bytes, field: str) -> None:
    response = client.post("/dev/readiness", content=body)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_a_thousand_questions_are_answered_at_once(client: TestClient[Litestar]) -> None:
    asked = [{"task": "orders.load", "partition": f"k{place}"} for place in range(MOST_QUESTIONS)]
    items = client.post("/dev/readiness", json=asked).json()["items"]
    assert [item["partition"] for item in items] == [question["partition"] for question in asked]


def test_every_operation_has_an_example(client: TestClient[Litestar]) -> None:
    paths = client.app.openapi_schema.to_schema()["paths"]["/{env}/readiness"]
    for method in ("get", "post"):
        content = paths[method]["responses"]["200"]["content"]["application/json"]
        assert content["examples"]
    assert paths["post"]["requestBody"]["content"]["application/json"]["examples"]
