"""Claims over HTTP: granted with 201, refused with the verdict, fenced with 409."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

TASK = {"namespace": "shell", "name": "export", "partitioning": {"kind": "daily", "start": "2026-01-01"}}
CLAIM: dict[str, Any] = {"task": "export", "partition": "2026-11-05", "worker": "batch-7", "lease_seconds": 300}


@pytest.fixture(autouse=True)
def _declared(client: TestClient[Litestar]) -> None:
    assert client.post("/api/v1/dev/tasks", json=TASK).status_code == 200


def test_what_is_granted_is_completed(client: TestClient[Litestar]) -> None:
    answer = client.post("/api/v1/dev/claims", json=CLAIM)
    assert (answer.status_code, answer.json()["attempt"]) == (201, 1)
    until = datetime.fromisoformat(answer.json()["expires_at"])
    assert timedelta(seconds=290) < until - datetime.now(UTC) <= timedelta(seconds=300)
    here = f"/api/v1/dev/claims/{answer.json()['claim']}"
    assert (
        client.post(f"{here}/heartbeat", json={"lease_seconds": 600}).json()["expires_at"] > answer.json()["expires_at"]
    )
    outputs = [{"namespace": "s3://lake", "name": "export", "partition": "2026-11-05", "rows": 3}]
    assert client.post(f"{here}/complete", json={"outputs": outputs}).status_code == 200
    (run,) = client.get("/api/v1/dev/runs", params={"name": "export"}).json()["items"]
    assert (run["state"], run["outputs"][0]["rows"], run["source"]["worker"]) == ("succeeded", 3, "batch-7")


def test_a_refusal_holds_the_verdict(client: TestClient[Litestar]) -> None:
    client.post("/api/v1/dev/claims", json=CLAIM)
    refused = client.post("/api/v1/dev/claims", json=CLAIM | {"worker": "batch-8"})
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    problem = refused.json()
    assert problem["type"] == "urn:dataforge:problem:claim-refused"
    assert [reason["code"] for reason in problem["verdict"]["reasons"]] == ["already_running"]


def test_a_claim_asked_for_again_under_its_id_is_the_same(client: TestClient[Litestar]) -> None:
    mine = CLAIM | {"claim": "7f9c24e8-3b12-4fef-91e0-0b6c4a3d2f1a"}
    first, again = (client.post("/api/v1/dev/claims", json=mine) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = client.post("/api/v1/dev/claims", json=mine | {"worker": "batch-8"})
    assert (other.status_code, other.json()["type"]) == (409, "urn:dataforge:problem:conflict")


def test_what_ended_is_fenced(client: TestClient[Litestar]) -> None:
    here = f"/api/v1/dev/claims/{client.post('/api/v1/dev/claims', json=CLAIM).json()['claim']}"
    assert client.post(f"{here}/fail", json={"error": "disk full"}).status_code == 200
    late = client.post(f"{here}/complete")
    assert (late.status_code, late.json()["type"]) == (409, "urn:dataforge:problem:fenced")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"lease_seconds": 31_536_000}, "lease_seconds"),
        ({"lease_seconds": "long"}, "lease_seconds"),
        ({"worker": ""}, "worker"),
        ({"claim": "mine"}, "claim"),
        ({"task": 7}, "task"),
        ({"who": "me"}, "who"),
    ],
)
def test_a_claim_that_means_nothing_is_refused_by_its_field(
    client: TestClient[Litestar], body: dict[str, Any], field: str
) -> None:
    answer = client.post("/api/v1/dev/claims", json=CLAIM | body)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


def test_a_claim_for_what_nobody_knows_is_not_found(client: TestClient[Litestar]) -> None:
    missing = client.post("/api/v1/dev/claims", json=CLAIM | {"task": "Export"})
    assert (missing.status_code, missing.json()["candidates"]) == (404, ["shell/export"])
    unknown = client.post("/api/v1/dev/claims/7f9c24e8-3b12-4fef-91e0-0b6c4a3d2f1a/complete")
    assert unknown.status_code == 404
