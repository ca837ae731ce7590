"""Every answer that is no success is a problem that says what to do, and nothing of the inside leaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

from dataforge.api import problem
from dataforge.api.app import create_app
from dataforge.settings import Settings

Client = TestClient[Litestar]
_LISTS = ["tasks", "datasets", "runs", "partitions", "rejects"]


def _problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:dataforge:problem:")
    return found


def test_an_unknown_path_is_a_problem(client: Client) -> None:
    for path in ("/api/v1/dev/nothing", "/nothing", "/", "/api"):
        assert "/openapi.json" in _problem(client.get(path), 404)["detail"]


def test_a_method_that_a_path_does_not_take_is_a_problem(client: Client) -> None:
    assert "DELETE" in _problem(client.delete("/api/v1/dev/runs"), 405)["detail"]


def test_a_parameter_that_is_missing_is_named(client: Client) -> None:
    found = _problem(client.get("/api/v1/dev/readiness"), 422)
    assert found["errors"][0]["field"] == "name"


@pytest.mark.parametrize("query", ["direction=sideways", "depth=deep", "kind=view"])
def test_a_parameter_that_the_framework_reads_names_its_field_too(client: Client, query: str) -> None:
    field, _, value = query.partition("=")
    found = _problem(client.get(f"/api/v1/dev/graph?name=orders&{query}"), 422)
    assert (found["errors"][0]["field"], found["errors"][0]["value"]) == (field, value)


@pytest.mark.parametrize("noun", _LISTS)
def test_an_unknown_parameter_names_the_known_ones(client: Client, noun: str) -> None:
    found = _problem(client.get(f"/api/v1/dev/{noun}?stat=failed"), 422)
    assert found["errors"][0]["field"] == "stat"
    assert "limit" in found["errors"][0]["expected"]


@pytest.mark.parametrize("noun", _LISTS)
@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "limit=1&limit=2", "cursor=%00"])
def test_a_bad_parameter_names_its_field_and_what_is_right(client: Client, noun: str, query: str) -> None:
    found = _problem(client.get(f"/api/v1/dev/{noun}?{query}"), 422)
    assert found["errors"][0]["field"] == query.partition("=")[0]
    assert found["errors"][0]["expected"]


def test_a_bad_state_lists_the_states(client: Client) -> None:
    found = _problem(client.get("/api/v1/dev/runs?state=broken"), 422)
    assert found["errors"][0]["value"] == "broken"
    assert "up_for_retry" in found["errors"][0]["expected"]


@pytest.mark.parametrize("value", ["yesterday", "9999-12-31T23:59:59-10:00", "2026-13-01"])
def test_a_bad_time_shows_a_right_one(client: Client, value: str) -> None:
    found = _problem(client.get("/api/v1/dev/runs", params={"since": value}), 422)
    assert found["errors"][0]["value"] == value
    assert "2026-11-01T06:00:00Z" in found["errors"][0]["expected"]


@pytest.mark.parametrize("noun", _LISTS)
def test_an_unknown_environment_names_those_that_exist(client: Client, noun: str) -> None:
    assert _problem(client.get(f"/api/v1/nowhere/{noun}"), 404)["candidates"] == ["dev", "staging", "prod"]


@pytest.mark.parametrize("noun", ["tasks", "datasets", "runs", "partitions"])
def test_an_unknown_name_offers_candidates(client: Client, noun: str) -> None:
    event = {
        "time": "2026-11-01T06:00:00Z",
        "task": {"namespace": "shell", "name": "orders.load"},
        "state": "succeeded",
        "outputs": [{"namespace": "s3://lake", "name": "orders.load.table"}],
    }
    client.post("/api/v1/dev/events", json=event)
    found = _problem(client.get(f"/api/v1/dev/{noun}?name=order.load"), 404)
    assert any("orders.load" in candidate for candidate in found["candidates"])


@pytest.mark.parametrize("noun", _LISTS)
@pytest.mark.parametrize("cursor", ["x", "WyJub3doZXJlIl0", "eyJhIjoxfQ", "ü"])
def test_a_cursor_of_nowhere_is_refused(client: Client, noun: str, cursor: str) -> None:
    found = _problem(client.get(f"/api/v1/dev/{noun}", params={"cursor": cursor}), 422)
    assert found["errors"][0]["field"] == "cursor"


def test_a_database_that_is_down_is_named_with_what_to_do(settings: Settings) -> None:
    url = "postgresql://dataforge:secret@127.0.0.1:1/nowhere"
    app = create_app(replace(settings, database_url=url))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/health").status_code == 200
        for answer in (client.get("/ready"), client.get("/api/v1/dev/runs"), client.post("/api/v1/lineage", json={})):
            found = _problem(answer, 503)
            assert "127.0.0.1:1" in found["detail"]
            assert "make up" in found["detail"]
            assert "secret" not in answer.text
            assert answer.headers["retry-after"]


def test_an_embedded_database_that_does_not_run_is_a_503(settings: Settings) -> None:
    app = create_app(replace(settings, database_url=None))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert "make up" in _problem(client.get("/ready"), 503)["detail"]


def test_a_schema_that_is_behind_is_not_ready(settings: Settings, empty_database_url: str) -> None:
    app = create_app(replace(settings, database_url=empty_database_url))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert "0001_ledger" in _problem(client.get("/ready"), 503)["detail"]


def test_a_migrated_database_is_ready(client: Client) -> None:
    assert (client.get("/ready").status_code, client.get("/ready").json()) == (200, {"status": "ready"})


@get("/fault", sync_to_thread=False)
def _fault() -> None:
    raise psycopg.errors.UndefinedTable('relation "secret" does not exist: select * from secret')


def test_a_fault_of_the_server_leaks_nothing() -> None:
    app = Litestar([_fault], exception_handlers={Exception: problem.answer}, openapi_config=None)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/fault")
    assert _problem(answer, 500)["title"] == "Internal Server Error"
    assert "secret" not in answer.text
