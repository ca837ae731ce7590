"""Versions over HTTP: a task's history, and a definition by its hash."""

from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
SINCE = ("2026-11-01T06:00:00Z", "2026-11-03T06:00:00Z", "2026-11-05T06:00:00Z")


def declared(client: Client, owners: tuple[str, ...] = ("ann", "bob", "ann")) -> None:
    for since, owner in reversed(list(zip(SINCE, owners, strict=True))):
        task = {"namespace": "airflow", "name": "load", "owner": owner, "produces": [{"namespace": "s", "name": "d"}]}
        answer = client.put("/api/v1/dev/definitions/dags", json={"valid_from": since, "tasks": [task]})
        assert answer.status_code == 200


def versions(client: Client, **more: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/dev/tasks/versions", params={"name": "load", **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_versions_are_listed_with_their_spans_and_what_changed(client: Client) -> None:
    declared(client)
    found = versions(client)
    latest, middle, first = found["items"]
    assert [(item["valid_from"], item["valid_to"]) for item in (first, middle, latest)] == [
        (SINCE[0], SINCE[1]),
        (SINCE[1], SINCE[2]),
        (SINCE[2], None),
    ]
    assert first["version"] == latest["version"] != middle["version"]
    assert [item["changed"] for item in (first, middle, latest)] == [
        [],
        [{"field": "owner", "before": "ann", "after": "bob"}],
        [{"field": "owner", "before": "bob", "after": "ann"}],
    ]
    assert latest["source"] == "dags"
    assert client.get("/api/v1/dev/tasks", params={"name": "load"}).json()["items"][0]["version"] == latest["version"]
    [edge] = found["edges"]
    assert (edge["name"], edge["valid_from"], edge["valid_to"]) == ("d", SINCE[0], None)


def test_pages_of_versions_yield_each_once_with_its_change(client: Client) -> None:
    declared(client)
    items, cursor = [], None
    while True:
        page = versions(client, limit=1, **({"cursor": cursor} if cursor else {}))
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert items == versions(client)["items"]
    assert client.get("/api/v1/dev/tasks/versions?name=load&cursor=x").status_code == 422


def test_a_definition_is_found_by_its_hash_or_the_begin_of_it(client: Client) -> None:
    declared(client)
    middle = versions(client)["items"][1]
    for digits in (middle["version"], middle["version"][:8]):
        found = client.get(f"/api/v1/dev/versions/{digits}").json()
        assert (found["kind"], found["name"], found["version"]) == ("task", "load", middle["version"])
        assert found["definition"] == middle["definition"]
    assert client.get("/api/v1/dev/versions/00000000").status_code == 404
    assert client.get("/api/v1/staging/versions/" + middle["version"]).status_code == 404
    assert client.get("/api/v1/dev/versions/xyz").json()["errors"][0]["field"] == "version"


def test_a_dataset_is_found_by_its_hash_too(client: Client, database_url: str) -> None:
    manifest = {"datasets": [{"namespace": "s", "name": "d", "owner": "ann"}]}
    client.put("/api/v1/dev/definitions/a", json=manifest)
    version = _version_of_the_dataset(database_url)
    assert client.get(f"/api/v1/dev/versions/{version}").json()["definition"] == manifest["datasets"][0]


def _version_of_the_dataset(database_url: str) -> str:
    import psycopg

    with psycopg.connect(database_url) as connection:
        row = connection.execute("select encode(version, 'hex') from dataset_version").fetchone()
    assert row is not None
    return str(row[0])


def test_a_task_that_nobody_declared_has_no_versions(client: Client) -> None:
    task = {"namespace": "airflow", "name": "x", "consumes": [{"task": {"namespace": "airflow", "name": "load"}}]}
    client.post("/api/v1/dev/tasks", json=task)
    assert versions(client) == {"items": [], "edges": [], "next_cursor": None}
    assert client.get("/api/v1/dev/tasks/versions?name=nothing").status_code == 404


def test_a_manifest_of_a_time_to_come_is_refused_by_its_field(client: Client) -> None:
    answer = client.put("/api/v1/dev/definitions/dags", json={"valid_from": "2099-01-01T00:00:00Z"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "valid_from"
