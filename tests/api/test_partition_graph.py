"""Partition graphs and expanded runs over HTTP, on the whole application around the real database."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
GRAPH = "/api/v1/dev/graph"
ORDERS = {"namespace": "s3://lake", "name": "orders"}


def _load(client: Client) -> None:
    event: dict[str, Any] = {
        "time": "2026-11-06T05:00:00Z",
        "task": {"namespace": "ns", "name": "report"},
        "partition": "2026-11-05",
        "run": "r1",
        "state": "succeeded",
        "inputs": [{**ORDERS, "partition": "2026-11-01"}],
    }
    assert client.post("/api/v1/dev/events", json=[event]).json()["applied"] == 1


def test_the_graph_of_a_partition_has_partitions_with_their_states(client: Client) -> None:
    _load(client)
    found = client.get(GRAPH, params={"name": "report", "partition": "2026-11-05"}).json()
    assert [(each["name"], each["partition"], each["state"]) for each in found["nodes"]] == [
        ("report", "2026-11-05", "ready"),
        ("orders", "2026-11-01", "missing"),
    ]
    (edge,) = found["edges"]
    assert (edge["origin"], edge["run"], edge["seen_at"]) == ("observed", "r1", "2026-11-06T05:00:00Z")


def test_what_a_partition_has_not_is_refused_by_its_field(client: Client) -> None:
    _load(client)
    for name, value in (("at", "2026-11-01"), ("kind", "task")):
        wrong = client.get(GRAPH, params={"name": "report", "partition": "2026-11-05", name: value})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, name)
    assert client.get(GRAPH, params={"name": "nobody", "partition": "x"}).status_code == 404


def test_a_run_without_anything_inside_is_shown_alone(client: Client) -> None:
    _load(client)
    found = client.get("/api/v1/dev/runs/graph", params={"name": "report", "run": "r1"}).json()
    assert (found["run"]["state"], found["instances"], found["links"]) == ("succeeded", [], [])
    assert client.get("/api/v1/dev/runs/graph", params={"name": "report", "run": "r2"}).status_code == 404
