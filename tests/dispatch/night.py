"""A small night of work: extract, then load of what it wrote, then report; and what people order about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import verdict
from dataforge.model import definition
from dataforge.model.claim import Claiming, Ended, Granted, Outcome, Said
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

DAY = "2026-11-05"
NOW = datetime(2026, 11, 6, 5, 0, tzinfo=UTC)
DAILY = {"kind": "daily", "start": "2026-01-01"}
LAKE = "s3://lake"


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def task(name: str, *upstreams: str, **more: Any) -> dict[str, Any]:
    consumes = [{"task": {"namespace": "ns", "name": upstream}} for upstream in upstreams]
    return {"namespace": "ns", "name": name, "partitioning": DAILY, "consumes": consumes, **more}


def declared(database: Database, *tasks: dict[str, Any], **more: Any) -> None:
    declare(database, "dev", definition.parse({"source": "night", "tasks": list(tasks), **more}))


def recorded(database: Database, *events: dict[str, Any]) -> None:
    result = record_native(database, "dev", [json.dumps(event).encode() for event in events], NOTHING)
    assert result.rejected == []


def said(name: str, state: str, minutes: float, **more: Any) -> dict[str, Any]:
    return {
        "time": at(minutes).isoformat(),
        "task": {"namespace": "ns", "name": name},
        "partition": DAY,
        "state": state,
    } | more


def ordered(verb: str, minutes: float, name: str | None = None, **more: Any) -> dict[str, Any]:
    about = {"task": {"namespace": "ns", "name": name}} if name else {}
    return {"time": at(minutes).isoformat(), "control": verb, "by": "anna@example.com", **about, **more}


def asked(database: Database, name: str, minutes: float = 60) -> Verdict:
    return verdict(database, "dev", Named(name, None, DAY), at(minutes))


def codes(answer: Verdict) -> list[str]:
    return [reason.code.value for reason in answer.reasons]


def claimed(database: Database, name: str, minutes: float = 60, seconds: int = 600, worker: str = "w") -> Granted:
    wanted = Claiming(name=name, partition=DAY, worker=worker, lease_seconds=seconds)
    return dispatch.claim(database, "dev", wanted, at(minutes))


def ended(database: Database, granted: Granted, ending: Said, minutes: float, **outcome: Any) -> Ended:
    return leases.end(database, "dev", UUID(granted.claim), ending, Outcome(**outcome), at(minutes))
