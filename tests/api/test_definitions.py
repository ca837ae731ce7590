"""Declaring and asking for the graph over HTTP."""

from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
LOAD: dict[str, Any] = {
    "namespace": "airflow",
    "name": "load",
    "consumes": [{"dataset": {"namespace": "db", "name": "raw"}}],
    "produces": [{"namespace": "db", "name": "clean"}],
}
NOTHING = {"created": 0, "changed": 0, "retired": 0, "unchanged": 0}


def test_a_manifest_is_declared_as_json_and_as_yaml(client: Client) -> None:
    answer = client.put("/api/v1/dev/definitions/dags", json={"tasks": [LOAD]})
    assert (answer.status_code, answer.json()) == (200, {**NOTHING, "created": 1, "graph_version": 1})
    yaml = b"tasks: [{namespace: airflow, name: load, partitioning: {kind: daily, start: 2026-01-01}}]"
    for media_type in ("application/yaml", "application/x-yaml; charset=utf-8", "text/yaml"):
        answer = client.put("/api/v1/dev/definitions/dags", content=yaml, headers={"content-type": media_type})
        assert answer.status_code == 200
    assert answer.json() == {**NOTHING, "unchanged": 1, "graph_version": 2}


def test_a_dry_run_changes_nothing(client: Client) -> None:
    foreseen = client.put("/api/v1/dev/definitions/dags?dry_run=true", json={"tasks": [LOAD]})
    assert client.get("/api/v1/dev/graph", params={"name": "load"}).status_code == 404
    assert client.put("/api/v1/dev/definitions/dags", json={"tasks": [LOAD]}).json() == foreseen.json()


def test_a_sources_name_may_hold_slashes(client: Client) -> None:
    client.post("/api/v1/dev/tasks", json={**LOAD, "namespace": "spark://host/a"})
    for path in ("github.com/acme/orders", "task%3Aspark%3A%2F%2Fhost%2Fa%2Fload"):
        assert client.put(f"/api/v1/dev/definitions/{path}", json={}).status_code == 200
    answer = client.post("/api/v1/dev/tasks", json={**LOAD, "namespace": "spark://host/a"})
    assert answer.json()["created"] == 1  # the second of the two emptied its source


def test_a_source_in_the_body_is_that_of_the_path(client: Client) -> None:
    assert client.put("/api/v1/dev/definitions/a", json={"source": "a"}).status_code == 200
    answer = client.put("/api/v1/dev/definitions/a", json={"source": "b"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "source")


def test_a_cycle_is_answered_with_the_way_round(client: Client) -> None:
    client.put("/api/v1/dev/definitions/a", json={"tasks": [LOAD]})
    back = {**LOAD, "name": "back", "consumes": [{"task": {"namespace": "airflow", "name": "load"}}]}
    answer = client.post("/api/v1/dev/tasks", json={**back, "produces": [{"namespace": "db", "name": "raw"}]})
    assert answer.status_code == 422
    cycle = answer.json()["cycle"]
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"load", "back", "raw"}


def test_bad_definitions_are_named_field_by_field(client: Client) -> None:
    answer = client.put("/api/v1/dev/definitions/a", json={"tasks": [{**LOAD, "ownr": 1}, {"name": "x"}]})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["tasks[0].ownr", "tasks[1].namespace"]
    assert client.put("/api/v1/dev/definitions/a", content=b"{").status_code == 422
    assert client.put("/api/v1/nowhere/definitions/a", json={}).status_code == 404


def test_two_sources_of_one_task_conflict(client: Client) -> None:
    client.put("/api/v1/dev/definitions/a", json={"tasks": [LOAD]})
    answer = client.post("/api/v1/dev/tasks", json=LOAD)
    assert answer.status_code == 409
    assert "'a'" in answer.json()["detail"]
    assert "task:airflow/load" in answer.json()["detail"]


def test_the_graph_has_nodes_and_edges_in_the_words_of_the_surface(client: Client) -> None:
    client.post("/api/v1/dev/tasks", json={**LOAD, "owner": "o", "platform": "airflow"})
    answer = client.get("/api/v1/dev/graph", params={"name": "raw", "direction": "downstream", "depth": 1})
    raw, load = (
        {"kind": kind, "namespace": ns, "name": name}
        for kind, ns, name in (("dataset", "db", "raw"), ("task", "airflow", "load"))
    )
    assert answer.json() == {
        "nodes": [
            {**raw, "depth": 0, "owner": None, "platform": ""},
            {**load, "depth": 1, "owner": "o", "platform": "airflow"},
        ],
        "edges": [{"from": raw, "to": load, "origin": "declared"}],
        "truncated": False,
        "graph_version": 1,
    }


def test_a_graph_of_an_unknown_name_lists_candidates(client: Client) -> None:
    client.post("/api/v1/dev/tasks", json=LOAD)
    answer = client.get("/api/v1/dev/graph", params={"name": "laod"})
    assert answer.status_code == 404
    assert client.get("/api/v1/dev/graph", params={"name": "loa"}).json()["candidates"] == ["airflow/load"]
    assert client.get("/api/v1/dev/graph", params={"name": "load", "direction": "sideways"}).status_code == 422


def test_the_graph_as_of_a_time_is_that_of_the_declarations_of_then(client: Client) -> None:
    for since, task in (("2026-11-03T00:00:00Z", {**LOAD, "consumes": []}), ("2026-11-01T00:00:00Z", LOAD)):
        answer = client.put("/api/v1/dev/definitions/dags", json={"valid_from": since, "tasks": [task]})
        assert answer.status_code == 200

    def edges(**at: str) -> list[tuple[str, str]]:
        found = client.get("/api/v1/dev/graph", params={"name": "load", **at}).json()
        return [(edge["from"]["name"], edge["to"]["name"]) for edge in found["edges"]]

    assert edges() == edges(at="2026-11-03") == [("load", "clean")]
    assert edges(at="2026-11-02T12:00:00+01:00") == [("raw", "load"), ("load", "clean")]
    assert edges(at="2026-10-31") == []
    shown = client.get("/api/v1/dev/graph", params={"name": "load", "at": "2026-11-02T12:00:00+01:00"}).json()
    assert shown["at"] == "2026-11-02T11:00:00Z"
    refused = client.get("/api/v1/dev/graph", params={"name": "load", "at": "yesterday"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "at")
