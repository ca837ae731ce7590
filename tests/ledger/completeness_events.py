"""Tasks that produce the dataset orders together, what their runs say, and what is answered of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import verdict
from dataforge.model.definition import parse
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

NOW = datetime(2026, 11, 9, tzinfo=UTC)
DAY = "2026-11-03"
DAILY = {"kind": "daily", "start": "2026-10-01"}
REGIONS = {"kind": "static", "keys": ["eu", "us"]}
ORDERS = {"namespace": "s3", "name": "orders"}
GLUE = {"namespace": "glue", "name": "lake.orders"}


def task(name: str, *, cut: Any = DAILY, mapping: Any = None, reads: bool = False, after: str = "") -> dict[str, Any]:
    """A producer of orders; with `reads` it updates them in place."""
    consumes: list[dict[str, Any]] = [{"dataset": ORDERS}] if reads else []
    if after:
        consumes.append({"task": {"namespace": "ns", "name": after}})
    produced = {**ORDERS, **({"mapping": mapping} if mapping else {})}
    owned = {"namespace": "ns", "name": name, "owner": f"team-{name}", "partitioning": cut}
    return {**owned, "consumes": consumes, "produces": [produced]}


REPORT = {"namespace": "ns", "name": "report", "partitioning": DAILY, "consumes": [{"dataset": ORDERS}]}


def declare_orders(database: Database, *tasks: dict[str, Any], when: Any = None, cut: Any = DAILY) -> None:
    orders = {**ORDERS, "partitioning": cut, **({"complete_when": when} if when else {})}
    declare(database, "dev", parse({"source": "dags", "tasks": [*tasks, REPORT], "datasets": [orders]}))


def say(database: Database, name: str, state: str = "succeeded", key: str = DAY, hour: int = 1, **more: Any) -> None:
    event = {"time": f"2026-11-08T{hour:02}:30:00Z", "task": {"namespace": "ns", "name": name}, "partition": key}
    started = {**event, "time": f"2026-11-08T{hour:02}:00:00Z", "state": "running"}
    said = [
        {**each, "run": f"{key}-{hour}", "outputs": [ORDERS], **more} for each in (started, {**event, "state": state})
    ]
    assert record_native(database, "dev", said, NOTHING).rejected == []


def ask(database: Database, name: str = "report", day: str = DAY) -> Verdict:
    return verdict(database, "dev", Named(name, "ns", day), NOW)


def named(answer: Verdict) -> list[tuple[str, str | None]]:
    return [(reason.code.value, reason.upstream.name if reason.upstream else None) for reason in answer.reasons]
