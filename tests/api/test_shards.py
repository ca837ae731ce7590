"""Shards over HTTP, on the whole application around the real database."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]


def _recorded(client: Client, *shards: dict[str, Any]) -> Any:
    task = {"namespace": "ns", "name": "load"}
    said = {"time": "2026-11-02T05:10:00Z", "task": task, "run": "r", "state": "succeeded", "shards": shards}
    return client.post("/api/v1/dev/events", json=said).json()


def test_shards_are_counted_in_the_list_of_runs_and_read_by_page_and_state(client: Client) -> None:
    files = [{"key": f"f{number}", "state": "failed" if number % 2 else "succeeded"} for number in range(5)]
    assert _recorded(client, {"key": "g"}, *files, {"key": "e", "state": "skipped"})["applied"] == 1
    (run,) = client.get("/api/v1/dev/runs", params={"name": "load"}).json()["items"]
    assert run["shards"] == {"total": 7, "succeeded": 3, "skipped": 1, "failed": 2, "missing": 1}
    assert (run["state"], run["error"]) == ("failed", "2 of 7 shards failed, 1 missing; first: f1")
    asked: dict[str, Any] = {"name": "load", "run": "r", "state": "failed", "limit": 1}
    first = client.get("/api/v1/dev/runs/shards", params=asked).json()
    assert first["items"] == [{"key": "f1", "state": "failed", "ended_at": "2026-11-02T05:10:00Z", "rows": None}]
    rest = client.get("/api/v1/dev/runs/shards", params={**asked, "cursor": first["next_cursor"]}).json()
    assert [each["key"] for each in rest["items"]] == ["f3"]
    assert rest["next_cursor"] is None


def test_a_wrong_question_says_what_would_be_right(client: Client) -> None:
    _recorded(client, {"key": "a"})
    missing = client.get("/api/v1/dev/runs/shards", params={"name": "load"})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "run")
    wrong = client.get("/api/v1/dev/runs/shards", params={"name": "load", "run": "r", "state": "lost"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "state")
    assert client.get("/api/v1/dev/runs/shards", params={"name": "load", "run": "q"}).status_code == 404
