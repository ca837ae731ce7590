"""Partitions that events name and the declared partitioning does not have: facts, which let nothing run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dataforge.dispatch.announce import announce
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import verdict
from dataforge.model import definition
from dataforge.model.filter import PartitionFilter
from dataforge.model.question import Named
from dataforge.storage.database import Database

NOW = datetime(2026, 11, 9, tzinfo=UTC)
ORDERS = {"namespace": "lake", "name": "orders"}
KEYS = ("2026-11-01", "2026-10-31", "yesterday")


def declared(database: Database, start: str = "2026-11-01") -> None:
    named = {"namespace": "ns", "partitioning": {"kind": "daily", "start": start}}
    load = {**named, "name": "load", "produces": [ORDERS]}
    report = {**named, "name": "report", "consumes": [{"dataset": ORDERS}]}
    datasets = [{**ORDERS, "partitioning": named["partitioning"]}]
    manifest: dict[str, Any] = {"source": "s", "tasks": [load, report], "datasets": datasets}
    declare(database, "dev", definition.parse(manifest))


def wrote(database: Database, *keys: str) -> None:
    task = {"namespace": "ns", "name": "load"}
    said: dict[str, Any] = {"time": "2026-11-08T01:00:00Z", "task": task, "state": "succeeded"}
    events = [
        {**said, "run": key or "whole", "outputs": [{**ORDERS, **({"partition": key} if key else {})}]} for key in keys
    ]
    events = [{**event, **({"partition": key} if key else {})} for event, key in zip(events, keys, strict=True)]
    assert record_native(database, "dev", events, NOTHING).rejected == []


def listed(database: Database) -> dict[str | None, tuple[str, str | None]]:
    items = catalog.partitions(database, "dev", PartitionFilter(name="orders"), NOW).items
    return {item.partition: (item.state.value, item.reason) for item in items}


def test_they_are_kept_as_their_runs_say_and_lists_say_that_they_are_outside(database: Database) -> None:
    declared(database)
    wrote(database, *KEYS, "")
    day = "'yesterday' is no partition of a daily partitioning: expected a daily key such as 2026-11-01"
    bound = "expected a key from 2026-11-01 on, where the partitions start"
    before = f"'2026-10-31' is no partition of a daily partitioning: {bound}"
    assert listed(database) == {
        "2026-11-01": ("ready", None),
        "2026-10-31": ("ready", before),
        "yesterday": ("ready", day),
        None: ("ready", "of no partition, and daily ones are declared"),
    }


def test_they_let_nothing_run_and_count_once_they_are_declared(database: Database) -> None:
    declared(database)
    wrote(database, *KEYS)

    def announced() -> set[str | None]:
        while announce(database, "dev", NOW):
            pass
        return {item.partition for item in waiting(database, "dev", 100, NOW).items if item.task.name == "report"}

    assert announced() == {"2026-11-01"}
    assert [each.code for each in verdict(database, "dev", Named("report", None, KEYS[1]), NOW).reasons] == [
        "no_such_partition"
    ]
    declared(database, "2026-10-01")
    assert announced() == {"2026-11-01", "2026-10-31"}
    assert verdict(database, "dev", Named("report", None, KEYS[1]), NOW).runnable
