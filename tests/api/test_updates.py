"""Updates and conditions over HTTP, on the whole application around the real database."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
DAY = "2026-11-01"
ORDERS = {"namespace": "s3://lake", "name": "orders"}


def _event(name: str, run: str, minute: int, state: str = "succeeded", **more: Any) -> dict[str, Any]:
    task = {"namespace": "ns", "name": name}
    return {"time": f"2026-11-02T05:{minute:02}:00Z", "task": task, "run": run, "state": state, **more}


def _loaded(minute: int, **more: Any) -> dict[str, Any]:
    return _event("load", f"load@{minute}", minute, outputs=[{**ORDERS, "partition": DAY, **more}])


def _declare(client: Client, **task: Any) -> Any:
    manifest = {"tasks": [{"namespace": "ns", "name": "report", **task}]}
    return client.put("/api/v1/dev/definitions/s", json=manifest)


def test_what_is_queued_and_what_a_run_consumed(client: Client) -> None:
    assert _declare(client, trigger={"any": [{"dataset": ORDERS}]}).status_code == 200
    run = [_event("report", "r", 20, "running"), _event("report", "r", 25)]
    client.post("/api/v1/dev/events", json=[_loaded(10, version="7"), *run, _loaded(30)])
    queued = client.get("/api/v1/dev/updates", params={"name": "report"}).json()
    consumed = client.get("/api/v1/dev/updates", params={"name": "report", "run": "r"}).json()
    assert [item["run"]["run"] for item in queued["items"]] == ["load@30"]
    assert consumed == {
        "items": [
            {
                **ORDERS,
                "partition": DAY,
                "updated_at": "2026-11-02T05:10:00Z",
                "version": "7",
                "run": {"namespace": "ns", "name": "load", "run": "load@10"},
            }
        ],
        "next_cursor": None,
    }


def test_a_list_of_updates_needs_a_task_with_a_trigger(client: Client) -> None:
    missing = client.get("/api/v1/dev/updates")
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "name")
    client.post("/api/v1/dev/events", json=[_loaded(10)])
    without = client.get("/api/v1/dev/updates", params={"name": "load"})
    assert (without.status_code, without.json()["errors"][0]["expected"]) == (422, "a task that declares a trigger")
    assert client.get("/api/v1/dev/updates", params={"name": "nobody"}).status_code == 404


def test_an_expression_of_a_wrong_type_is_a_422_with_the_field_and_the_remedy(client: Client) -> None:
    where = {"any": [{"field": "rows", "op": ">", "value": "x"}]}
    answer = _declare(client, consumes=[{"dataset": ORDERS, "condition": {"where": where}}])
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "tasks[0].consumes[0].condition.where.any[0].value"
    assert (error["value"], error["expected"][:14]) == ("x", "a whole number")


def test_a_verdict_says_what_was_reported(client: Client) -> None:
    daily = {"kind": "daily", "start": "2026-01-01"}
    edge = {"dataset": ORDERS, "condition": {"where": {"field": "rows", "op": ">", "value": 0}}}
    assert _declare(client, partitioning=daily, consumes=[edge]).status_code == 200
    client.post("/api/v1/dev/events", json=[_loaded(10, rows=0)])
    asked = {"name": "report", "partition": DAY}
    [reason] = client.get("/api/v1/dev/readiness", params=asked).json()["reasons"]
    assert reason["code"] == "condition_unmet"
    assert reason["message"] == "orders for 2026-11-01 reported rows = 0, wanted rows > 0"
