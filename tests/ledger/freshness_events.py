"""Events of a small lake, in which clean makes orders of raw, which extract writes; and what is asked of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.freshness import freshness
from dataforge.model import definition
from dataforge.model.freshness import Freshness, FreshnessAnswers, FreshnessQuestion
from dataforge.model.reference import NodeKind
from dataforge.storage.database import Database

DAY = "2026-11-05"
BEGIN = datetime(2026, 11, 6, 5, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
Event = dict[str, Any]
NEWER = ("stale", [("upstream_stale", "raw", DAY)])  # what is shown of the orders once the raw ones were written again


def at(minutes: int) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def run(task: str, begun: int, ended: int, state: str = "succeeded", key: str = DAY, **more: Any) -> list[Event]:
    """The two events of a run, the start and the end in minutes."""
    said = {"task": {"namespace": "ns", "name": task}, "partition": key, "run": f"{key}@{begun}"}
    start = {**said, "time": at(begun).isoformat(), "state": "running"}
    return [start, {**said, "time": at(ended).isoformat(), "state": state, **more}]


def named(name: str) -> dict[str, str]:
    return {"namespace": "s3://lake", "name": name}


def data(name: str, key: str = DAY, **more: Any) -> dict[str, Any]:
    return {"namespace": "s3://lake", "name": name, "partition": key, **more}


def extract(begun: int, ended: int, state: str = "succeeded", **version: Any) -> list[Event]:
    return run("extract", begun, ended, state, outputs=[data("raw", **version)] if state == "succeeded" else [])


def clean(begun: int, ended: int, **version: Any) -> list[Event]:
    return run("clean", begun, ended, inputs=[data("raw", **version)], outputs=[data("orders")])


def record(database: Database, *groups: list[Event]) -> None:
    bodies: list[object] = [json.dumps(event).encode() for group in groups for event in group]
    assert record_any(database, "dev", bodies, NOTHING).rejected == []


def ask(database: Database, *names: str, key: str = DAY, kind: NodeKind = "dataset") -> FreshnessAnswers:
    return freshness(database, "dev", [FreshnessQuestion(name=name, partition=key, kind=kind) for name in names], NOW)


def one(database: Database, name: str = "orders", key: str = DAY, kind: NodeKind = "dataset") -> Freshness:
    return ask(database, name, key=key, kind=kind).items[0]


def shown(item: Freshness) -> tuple[str, list[tuple[str, str | None, str | None]]]:
    return item.status.value, [
        (r.code.value, r.upstream.name if r.upstream else None, r.partition) for r in item.reasons
    ]


def declared(database: Database, *tasks: dict[str, Any], datasets: Sequence[dict[str, Any]] = ()) -> None:
    daily = {"kind": "daily", "start": "2026-11-01"}
    full = [{"namespace": "ns", "partitioning": daily, "owner": f"team-{task['name']}", **task} for task in tasks]
    declare(database, "dev", definition.parse({"tasks": full, "datasets": list(datasets)}, "test"))


def raw(**more: Any) -> dict[str, Any]:
    return {"dataset": {"namespace": "s3://lake", "name": "raw"}, **more}
