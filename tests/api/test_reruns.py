"""Running again over HTTP, and what may be claimed next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dataforge.dispatch.announce import announce
from dataforge.settings import Settings
from dataforge.storage.database import Database

DAY = "2026-11-05"
DAILY = {"kind": "daily", "start": "2026-01-01"}
UPSTREAM = {"task": {"namespace": "shell", "name": "load"}}
MANIFEST: dict[str, Any] = {
    "tasks": [
        {"namespace": "shell", "name": "load", "partitioning": DAILY},
        {"namespace": "shell", "name": "report", "partitioning": DAILY, "consumes": [UPSTREAM], "priority": 3},
    ]
}
EVENT = {"time": "2026-11-06T06:00:00Z", "task": UPSTREAM["task"], "partition": DAY, "state": "succeeded"}
ORDER = {"task": "load", "partition": DAY, "reason": "a late file", "by": "anna@example.com"}


@pytest.fixture(autouse=True)
def _declared(client: TestClient[Litestar]) -> None:
    assert client.put("/api/v1/dev/definitions/night", json=MANIFEST).status_code == 200
    assert client.post("/api/v1/dev/events", json=EVENT).status_code == 200


def _verdict(client: TestClient[Litestar], name: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/api/v1/dev/readiness", params={"name": name, "partition": DAY}).json()
    return answer


def test_a_rerun_is_ordered_and_a_dry_run_orders_nothing(client: TestClient[Litestar]) -> None:
    expected = {"items": [{"task": UPSTREAM["task"], "partition": DAY}]}
    assert client.post("/api/v1/dev/reruns", json=ORDER, params={"dry_run": "true"}).json() == expected
    assert not _verdict(client, "load")["runnable"]
    answer = client.post("/api/v1/dev/reruns", json=ORDER)
    assert (answer.status_code, answer.json()) == (200, expected)
    verdict = _verdict(client, "load")
    assert (verdict["runnable"], verdict["warnings"][0]["code"]) == (True, "rerun_ordered")


@pytest.mark.parametrize(
    ("body", "status"),
    [({"reason": ""}, 422), ({"downstream": "some"}, 422), ({"task": "nobody"}, 404), ({"task": "report"}, 409)],
)
def test_what_cannot_be_run_again_is_refused(client: TestClient[Litestar], body: dict[str, Any], status: int) -> None:
    assert client.post("/api/v1/dev/reruns", json=ORDER | body).status_code == status


def test_what_may_run_is_listed_until_it_is_claimed(client: TestClient[Litestar], settings: Settings) -> None:
    assert client.get("/api/v1/dev/wakeups").json() == {"items": []}
    assert settings.database_url is not None
    database = Database(settings.database_url, max_size=1)
    try:
        while announce(database, "dev", datetime.now(UTC)):
            pass
    finally:
        database.close()
    (item,) = client.get("/api/v1/dev/wakeups", params={"wait": 5}).json()["items"]
    assert (item["task"]["name"], item["partition"], item["priority"]) == ("report", DAY, 3)
    claim = {"task": "report", "partition": DAY, "worker": "w", "lease_seconds": 60}
    assert client.post("/api/v1/dev/claims", json=claim).status_code == 201
    assert client.get("/api/v1/dev/wakeups").json() == {"items": []}


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 1_001}, {"wait": 31}, {"wait": -1}])
def test_a_question_out_of_bounds_is_refused(client: TestClient[Litestar], given: dict[str, Any]) -> None:
    assert client.get("/api/v1/dev/wakeups", params=given).status_code == 422
