"""Findings over HTTP: a page, its filters, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]


def _event(minute: int, task: str, state: str, **more: Any) -> dict[str, Any]:
    time = f"2026-11-02T06:{minute:02}:00Z"
    return {"time": time, "task": {"namespace": "ns", "name": task}, "partition": "2026-11-01", "state": state, **more}


def _record(client: Client) -> None:
    orders = {"namespace": "lake", "name": "orders", "partition": "2026-11-01"}
    events = [_event(0, "load", "running"), _event(20, "load", "succeeded", outputs=[orders])]
    for task in ("report", "export"):
        events += [_event(5, task, "running", inputs=[orders]), _event(30, task, "succeeded")]
    assert client.post("/api/v1/dev/events", json=events).json()["rejected"] == []


def test_a_walk_through_the_pages_finds_each_once(client: Client) -> None:
    _record(client)
    names: list[str] = []
    cursor: str | None = None
    while True:
        given = {"since": "2026-11-01", "limit": "1", **({"cursor": cursor} if cursor else {})}
        page = client.get("/api/v1/dev/findings", params=given).json()
        names += [item["node"]["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(names) == ["export", "report"]


@pytest.mark.parametrize(
    "narrowed", [{"since": "2026-11-03"}, {"code": "edge_never_observed"}, {"owner": "nobody"}, {"since": "2099-01-01"}]
)
def test_each_filter_narrows_the_list(client: Client, narrowed: dict[str, str]) -> None:
    _record(client)
    page = client.get("/api/v1/dev/findings", params={"since": "2026-11-01", **narrowed}).json()
    assert page["items"] == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"code": "wrong"}, "code"),
        ({"since": "7 days"}, "since"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "x"}, "cursor"),
    ],
)
def test_what_is_wrong_is_named(client: Client, given: dict[str, str], field: str) -> None:
    answer = client.get("/api/v1/dev/findings", params=given)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])
