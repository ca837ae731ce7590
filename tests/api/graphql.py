"""GraphQL as a client sends it, and a small platform to ask about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
_SHOP = Path(__file__).parents[2] / "examples" / "shop"


def ask(client: Client, query: str, **variables: Any) -> dict[str, Any]:
    """The data of an answer without errors."""
    answer = answered(client, query, **variables)
    assert "errors" not in answer, answer["errors"]
    found: dict[str, Any] = answer["data"]
    return found


def answered(client: Client, query: str, **variables: Any) -> dict[str, Any]:
    """The whole answer."""
    answer = client.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(client: Client, query: str, **variables: Any) -> dict[str, Any]:
    """The one error of an answer."""
    [error] = answered(client, query, **variables)["errors"]
    found: dict[str, Any] = error
    return found


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that is executed in the block."""
    found: list[str] = []
    plain = psycopg.Cursor.execute

    def execute(self: Any, query: Any, *rest: Any, **more: Any) -> Any:
        found.append(" ".join(str(query).split())[:100])
        return plain(self, query, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", execute)
        yield found


def declare_chain(client: Client, tasks: int, environment: str = "dev") -> None:
    """Tasks that each wait for the one before and read and write a table; of each a day that succeeded or failed."""
    names = [f"task{number:03}" for number in range(tasks)]
    declared = [
        {
            "namespace": "ns",
            "name": name,
            "owner": f"team{number % 3}@example.com",
            "partitioning": {"kind": "daily", "start": "2026-11-01"},
            "consumes": [{"task": {"namespace": "ns", "name": names[number - 1]}}] if number else [],
            "produces": [{"namespace": "db", "name": f"table{number}"}],
        }
        for number, name in enumerate(names)
    ]
    answer = client.put(
        f"/api/v1/{environment}/definitions/chain", json={"source": "chain", "tasks": declared, "datasets": []}
    )
    assert answer.status_code == 200, answer.text
    events = [
        _event(name, day, minute, state, number)
        for number, name in enumerate(names)
        for day in ("2026-11-01", "2026-11-02")
        for minute, state in ((0, "running"), (5, "failed" if number % 5 == 3 and day.endswith("2") else "succeeded"))
    ]
    recorded = client.post(f"/api/v1/{environment}/events", json=events)
    assert recorded.json()["rejected"] == [], recorded.text


def load_shop(client: Client, environment: str) -> None:
    """The fortnight of the example, as its platforms recorded it, and what is declared of it."""
    definitions = yaml.safe_load((_SHOP / "definitions.yaml").read_text())
    declared = client.put(f"/api/v1/{environment}/definitions/shop", content=json.dumps(definitions, default=str))
    assert declared.status_code == 200, declared.text
    for file in sorted((_SHOP / "events").glob("*.jsonl")):
        events = [json.loads(line) for line in file.read_text().splitlines()]
        if "eventType" in events[0]:
            recorded = client.post(f"/api/v1/{environment}/lineage/batch", json=events).json()
            assert recorded["status"] == "success", recorded["summary"]
        else:
            recorded = client.post(f"/api/v1/{environment}/events", json=events).json()
            assert recorded["rejected"] == [], recorded["rejected"][:3]


def _event(name: str, day: str, minute: int, state: str, number: int) -> dict[str, Any]:
    touched = {
        "inputs": [{"namespace": "db", "name": f"table{number - 1}", "partition": day}] if number else [],
        "outputs": [{"namespace": "db", "name": f"table{number}", "partition": day, "rows": 2**40}],
    }
    return {
        "time": f"2026-11-03T06:{minute:02}:{number % 60:02}Z",
        "task": {"namespace": "ns", "name": name},
        "partition": day,
        "run": f"{name}-{day}",
        "state": state,
        **(touched if state != "running" else {}),
    }
