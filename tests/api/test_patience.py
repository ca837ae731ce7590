"""A database that hangs is answered for: with 503, in time, and the server goes on when it is back."""

from __future__ import annotations

import psycopg
from litestar.testing import TestClient

from dataforge.api.app import create_app
from dataforge.settings import Settings

EVENT = {"time": "2026-11-01T06:00:00Z", "task": {"namespace": "ns", "name": "load"}, "state": "succeeded"}


def test_a_request_that_gets_no_answer_from_the_database_is_answered_with_503(settings: Settings) -> None:
    with TestClient(create_app(settings, patience=0.5), raise_server_exceptions=False) as client:
        assert client.post("/api/v1/dev/events", json=EVENT).status_code == 200
        assert settings.database_url is not None
        with psycopg.connect(settings.database_url) as other:
            other.execute("lock table task in access exclusive mode")
            answers = [
                client.get("/api/v1/dev/tasks"),
                client.post("/api/v1/dev/events", json=EVENT | {"state": "failed"}),
            ]
            other.rollback()
        for answer in answers:
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert "no answer within 0.5 s" in answer.json()["detail"]
        assert any(client.get("/api/v1/dev/tasks").status_code == 200 for _ in range(50))
