"""Freshness over HTTP, on the whole application around the real database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dataforge.model.freshness import MOST_ASKED

Client = TestClient[Litestar]
DAY = "2026-11-01"


def _event(name: str, at: str, **more: Any) -> dict[str, Any]:
    task = {"namespace": "shell", "name": name}
    return {"time": at, "task": task, "partition": DAY, "run": at, "state": "succeeded", **more}


def _data(name: str) -> dict[str, str]:
    return {"namespace": "s3://lake", "name": name, "partition": DAY}


EVENTS = [
    _event("extract", "2026-11-02T00:10:00Z", outputs=[_data("orders")]),
    _event("report", "2026-11-02T00:20:00Z", inputs=[_data("orders")], outputs=[_data("revenue")]),
    _event("extract", "2026-11-05T09:12:00Z", outputs=[_data("orders")]),
]


@pytest.fixture
def filled(client: Client) -> Client:
    assert client.post("/api/v1/dev/events", json=EVENTS).status_code == 200
    return client


def _ask(client: Client, *asked: dict[str, Any]) -> Any:
    answer = client.post("/api/v1/dev/freshness", json=list(asked))
    assert answer.status_code == 200
    return answer.json()


def test_an_item_has_the_fields_that_clients_rely_on(filled: Client) -> None:
    answer = _ask(filled, {"namespace": "s3://lake", "name": "revenue", "partition": DAY})
    assert set(answer) == {"items", "decided_at", "graph_version"}
    assert answer["items"] == [
        {
            "node": {"kind": "dataset", "namespace": "s3://lake", "name": "revenue"},
            "partition": DAY,
            "status": "stale",
            "built_at": "2026-11-02T00:20:00Z",
            "built_by": {"task": {"namespace": "shell", "name": "report"}, "run": "2026-11-02T00:20:00Z"},
            "reasons": [
                {
                    "code": "upstream_stale",
                    "message": "s3://lake/orders for 2026-11-01 was written again at 2026-11-05 09:12 UTC, after this"
                    " was built (2026-11-02 00:20 UTC)",
                    "upstream": {"kind": "dataset", "namespace": "s3://lake", "name": "orders"},
                    "partition": DAY,
                    "state": "ready",
                    "since": "2026-11-05T09:12:00Z",
                    "run": "2026-11-05T09:12:00Z",
                }
            ],
            "truncated": False,
        }
    ]


def test_a_batch_is_answered_in_the_order_asked(filled: Client) -> None:
    asked: list[dict[str, Any]] = [
        {"name": "orders", "partition": DAY},
        {"kind": "task", "name": "report", "partition": DAY},
        {"name": "nobody"},
        {"kind": "task", "namespace": "shell", "name": "nobody", "partition": None},
        {"name": "revenue", "partition": "2026-11-09"},
    ]
    items = _ask(filled, *asked)["items"]
    assert [item["status"] for item in items] == ["fresh", "stale", "unknown", "unknown", "not_built"]
    assert [item["reasons"][0]["code"] for item in items[2:4]] == ["no_such_dataset", "no_such_task"]
    assert _ask(filled)["items"] == []


def test_an_environment_that_nobody_made_is_not_found(filled: Client) -> None:
    assert filled.post("/api/v1/nowhere/freshness", json=[]).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "$"),
        (b"{}", "$"),
        (json.dumps([{"name": "a"}] * (MOST_ASKED + 1)).encode(), "$"),
        (b'[{"name": "a"}, {"partition": "2026-11-01"}]', "[1].name"),
        (b'[{"name": "a", "kind": "view"}]', "[0].kind"),
        (b'[{"name": "a", "day": "2026-11-01"}]', "[0].day"),
    ],
)
def test_a_batch_that_cannot_be_read_names_the_field(client: Client, body: bytes, field: str) -> None:
    response = client.post("/api/v1/dev/freshness", content=body)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
