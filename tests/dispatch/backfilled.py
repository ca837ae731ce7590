"""A chain of tasks over some days, its backfills, and workers that do what is released."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from dataforge.dispatch import backfill as dispatch
from dataforge.dispatch import claim as claims
from dataforge.dispatch import lease as leases
from dataforge.dispatch.announce import announce
from dataforge.dispatch.release import tend
from dataforge.dispatch.waiting import waiting
from dataforge.ledger.backfill_list import detail, items
from dataforge.model.backfill import Backfilling, ItemFilter, Plan, Target
from dataforge.model.claim import Claiming, Outcome
from dataforge.storage.database import Database
from tests.dispatch.night import NOW, at, declared, task

DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")
LAKE = "s3://lake"
ORDERS = {"namespace": LAKE, "name": "orders"}
CLEAN = {"namespace": LAKE, "name": "orders/clean"}


def chain(database: Database, **more: Any) -> None:
    """load writes orders, clean reads it and writes clean, report comes after clean; all of it daily."""
    declared(
        database,
        task("load", produces=[ORDERS], **more),
        task("clean", consumes=[{"dataset": ORDERS}], produces=[CLEAN]),
        task("report", consumes=[{"dataset": CLEAN}]),
    )


def wanted(*names: str, days: tuple[str, ...] = DAYS, **more: Any) -> Backfilling:
    targets = tuple(Target(name=name, first=days[0], last=days[-1]) for name in names)
    return Backfilling(targets=targets, **{"reason": "a late file", "by": "anna@example.com", **more})


def planned(database: Database, *names: str, minutes: float = 0, **more: Any) -> Plan:
    return dispatch.preview(database, "dev", wanted(*names, **more), at(minutes))


def begun(database: Database, *names: str, minutes: float = 0, **more: Any) -> UUID:
    plan = dispatch.begin(database, "dev", wanted(*names, **more), at(minutes))
    assert plan.id is not None
    return UUID(plan.id)


def to_build(plan: Plan) -> list[tuple[int | None, str, str | None]]:
    return [(item.wave, item.task.name, item.partition) for item in plan.items if item.state == "planned"]


def tended(database: Database, minutes: float) -> int:
    """One look of the worker; how many partitions it has moved on."""
    moved = tend(database, "dev", at(minutes))
    while announce(database, "dev", at(minutes)):
        pass
    return moved


def offered(database: Database, minutes: float) -> list[tuple[str, str | None]]:
    """What the backfills have released and nobody has claimed."""
    found = waiting(database, "dev", 1_000, at(minutes), "backfill").items
    return [(item.task.name, item.partition) for item in found]


OUTPUTS = {"load": (ORDERS,), "clean": (CLEAN,), "report": ()}


def run(database: Database, name: str, day: str | None, minutes: float, *, fails: bool = False) -> None:
    """A worker claims a partition, and its run ends a minute later."""
    wanted = Claiming(name=name, partition=day or "", worker="w", lease_seconds=600)
    granted = claims.claim(database, "dev", wanted, at(minutes))
    outputs = [] if fails else [{**each, "partition": day} for each in OUTPUTS.get(name, ())]
    outcome = Outcome(outputs=outputs, error="no space left" if fails else None)
    end = NOW + timedelta(minutes=minutes + 0.5)
    leases.end(database, "dev", UUID(granted.claim), "failed" if fails else "completed", outcome, end)


def worked_off(database: Database, backfill: UUID, minutes: float = 1, most: int = 60) -> float:
    """Lets workers do what is released until nothing is; returns when that was."""
    for step in range(most):
        moved, now = tended(database, minutes + step), offered(database, minutes + step)
        for name, day in now:
            run(database, name, day, minutes + step + 0.1)
        if not moved and not now:
            return minutes + step
    raise AssertionError(f"it has not ended: {counts(database, backfill)}")


def counts(database: Database, backfill: UUID, minutes: float = 1_000) -> dict[str, int]:
    return detail(database, "dev", backfill, at(minutes)).counts


def states(database: Database, backfill: UUID) -> dict[tuple[str, str | None], str]:
    found = items(database, "dev", backfill, ItemFilter(limit=1_000)).items
    return {(item.task.name, item.partition): item.state for item in found}
