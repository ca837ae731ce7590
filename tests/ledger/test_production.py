"""What a declaration settles again: what follows from it, in portions, and nothing that does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import settle as settling
from dataforge.ledger import settle_runs
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.manifest import Manifest
from dataforge.storage.database import Database

DAYS = [f"2026-{month:02}-{day:02}" for month in range(1, 5) for day in range(1, 26)]
ORDERS = {"namespace": "lake", "name": "orders"}
DAILY = {"kind": "daily", "start": "2026-01-01"}
Shape = dict[str, Any]


def shape() -> Shape:
    """Load and fill write orders; enrich updates it in place, after load; bills are another's."""
    load = {"namespace": "ns", "name": "load", "partitioning": DAILY, "produces": [dict(ORDERS)]}
    enrich = {**load, "name": "enrich", "consumes": [{"dataset": ORDERS}]}
    bill = {**load, "name": "bill", "produces": [{"namespace": "lake", "name": "bills"}]}
    datasets = [{**ORDERS, "partitioning": DAILY}, {"namespace": "lake", "name": "bills", "partitioning": DAILY}]
    return {"source": "s", "tasks": [load, {**load, "name": "fill"}, enrich, bill], "datasets": datasets}


def read(shape: Shape) -> Manifest:
    return definition.parse(json.loads(json.dumps(shape)))


def ran(name: str, day: str, minute: int, **more: Any) -> Shape:
    written = {"namespace": "lake", "name": "bills"} if name == "bill" else ORDERS
    said = {"task": {"namespace": "ns", "name": name}, "partition": day, "state": "succeeded", "outputs": [written]}
    return {"time": f"2026-11-08T01:{minute:02}:00Z", **said, **more}


def record(database: Database, environment: str, days: list[str]) -> None:
    names = ("load", "fill", "enrich", "bill")
    events = [ran(name, day, minute) for day in days for minute, name in enumerate(names)]
    events.append(ran("load", days[0], 0, run="files", shards=[{"key": "a", "state": "failed"}]))
    assert record_native(database, environment, events, NOTHING).rejected == []


@pytest.fixture
def filled(database: Database) -> Database:
    declare(database, "dev", read(shape()))
    record(database, "dev", DAYS[:3])
    return database


def settled(database: Database) -> tuple[set[str], set[str]]:
    """Which transactions have written the runs of tasks and the claims on partitions that are there."""
    with database.transaction() as connection:
        runs = connection.execute("select xmin::text from run").fetchall()
        claims = connection.execute("select xmin::text from write").fetchall()
    return {row[0] for row in runs}, {row[0] for row in claims}


UNRELATED: dict[str, Callable[[Shape], Any]] = {
    "an owner": lambda shape: shape["datasets"][0].update(owner="team-orders"),
    "a domain": lambda shape: shape["tasks"][0].update(domain="sales"),
    "a version policy": lambda shape: shape["datasets"][0].update(version="content"),
    "what else a task waits for": lambda shape: shape["tasks"][3].update(consumes=[{"dataset": ORDERS}]),
    "a task more": lambda shape: shape["tasks"].append({"namespace": "ns", "name": "more"}),
    "a dataset more": lambda shape: shape["datasets"].append({"namespace": "lake", "name": "more"}),
}
PRODUCTION: dict[str, Callable[[Shape], Any]] = {
    "a mapping": lambda shape: shape["tasks"][0]["produces"][0].update(mapping={"kind": "window", "from": -1, "to": 0}),
    "a producer more": lambda shape: shape["tasks"][3]["produces"].append(ORDERS),
    "a producer less": lambda shape: shape["tasks"].pop(1),
    "when it is complete": lambda shape: shape["datasets"][0].update(complete_when="any_producer"),
    "how it is cut": lambda shape: shape["datasets"][0]["partitioning"].update(start="2025-12-01"),
    "no dataset": lambda shape: shape["datasets"].pop(0),
    "how a task is cut": lambda shape: shape["tasks"][0]["partitioning"].update(time_zone="Europe/Berlin"),
    "another name of it": lambda shape: shape["datasets"][0].update(aliases=[{"namespace": "glue", "name": "orders"}]),
    "failed shards": lambda shape: shape["tasks"][0].update(shards={"allow_failed": 1}),
    "the order of stages": lambda shape: shape["tasks"][2]["consumes"].append(
        {"task": {"namespace": "ns", "name": "fill"}}
    ),
}


@pytest.mark.parametrize("change", UNRELATED)
def test_what_decides_over_no_run_settles_none(filled: Database, change: str) -> None:
    before, changed = settled(filled), shape()
    UNRELATED[change](changed)
    answer = declare(filled, "dev", read(changed))
    assert answer.created + answer.changed == 1
    assert settled(filled) == before
    assert verify(filled, "dev").difference is None


@pytest.mark.parametrize("change", PRODUCTION)
def test_what_is_produced_otherwise_is_as_if_it_had_been_declared_first(filled: Database, change: str) -> None:
    changed = shape()
    PRODUCTION[change](changed)
    declare(filled, "dev", read(changed))
    live = digest(filled, "dev")
    assert verify(filled, "dev").difference is None
    declare(filled, "prod", read(changed))
    record(filled, "prod", DAYS[:3])
    assert digest(filled, "prod") == live


def test_several_hundred_runs_are_settled_a_few_at_a_time_to_the_same_state(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    level = settle_runs._settle_level

    def counting(connection: Any, environment: int, keys: Any) -> Any:
        sizes.append(len(keys))
        return level(connection, environment, keys)

    monkeypatch.setattr(settle_runs, "_settle_level", counting)
    for environment in ("dev", "prod"):
        declare(database, environment, read(shape()))
        record(database, environment, DAYS)
    changed = shape()
    PRODUCTION["a mapping"](changed)
    declare(database, "prod", read(changed))
    assert max(sizes) > 300  # all that wrote orders at once, where they are few
    sizes.clear()
    monkeypatch.setattr(settle_runs, "MOST_RUNS", 70)
    monkeypatch.setattr(settling, "MOST_PLACES", 30)
    declare(database, "dev", read(changed))
    assert max(sizes) == 70
    assert digest(database, "dev") == digest(database, "prod")
