"""History that is imported after the fact, while live events come in: it is as if it had been lived through."""

from __future__ import annotations

import json
from datetime import date, timedelta
from itertools import count
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.storage.database import Database

FIRST, MONTHS = date(2025, 10, 1), 13
_environments = count()


def _new_environment(database: Database) -> str:
    name = f"history-{next(_environments)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    tasks = [
        {
            "namespace": "ns",
            "name": name,
            "partitioning": {"kind": "daily", "start": FIRST.isoformat()},
            "consumes": [{"dataset": {"namespace": "lake", "name": read}} for read in reads],
            "produces": [{"namespace": "lake", "name": written}],
        }
        for name, reads, written in (("extract", [], "raw"), ("clean", ["raw"], "orders"))
    ]
    declare(database, name, definition.parse({"tasks": tasks}, "test"))
    return name


def _lived(random: Random) -> list[dict[str, Any]]:
    """A day of each month and the days around it: runs, failures, tries again and re-runs of old days, as they came."""
    days = [FIRST + timedelta(days=30 * month + random.randrange(20)) for month in range(MONTHS)]
    events: list[dict[str, Any]] = []
    for place, day in enumerate(days):
        events += _run("extract", day, day, random)
        events += _run("clean", day, day, random)
        if place and random.random() < 0.5:
            events += _run("extract", random.choice(days[:place]), day + timedelta(days=1), random)
    return events


def _run(task: str, day: date, on: date, random: Random) -> list[dict[str, Any]]:
    said = {"task": {"namespace": "ns", "name": task}, "partition": day.isoformat(), "run": f"{task} {day} on {on}"}
    hour = 1 + 2 * (task == "clean")
    start = {**said, "time": f"{on}T{hour:02}:00:00Z", "state": "running"}
    state = random.choice(["succeeded", "succeeded", "succeeded", "failed"])
    written = {"namespace": "lake", "name": "raw" if task == "extract" else "orders", "partition": day.isoformat()}
    version = random.choice([{}, {"version": "a"}, {"version": "b"}])
    done = {"outputs": [{**written, **version}]} if state == "succeeded" else {}
    return [start, {**said, "time": f"{on}T{hour:02}:40:00Z", "state": state, **done}]


def _record(database: Database, environment: str, events: list[dict[str, Any]]) -> None:
    bodies: list[object] = [json.dumps(event).encode() for event in events]
    assert record_native(database, environment, bodies, NOTHING).rejected == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), live_months=st.integers(1, 3), most=st.integers(1, 40))
def test_thirteen_months_imported_in_any_order_among_live_events_are_as_if_lived_through(
    module_database: Database, seed: int, live_months: int, most: int
) -> None:
    random = Random(seed)
    events = _lived(random)
    lived, imported = _new_environment(module_database), _new_environment(module_database)
    for begin in range(0, len(events), 3):
        _record(module_database, lived, events[begin : begin + 3])
    border = (FIRST + timedelta(days=30 * (MONTHS - live_months))).isoformat()
    live = [event for event in events if event["time"] >= border]
    history = [event for event in events if event["time"] < border]
    random.shuffle(history)
    while live or history:
        source = live if live and (not history or random.random() < 0.3) else history
        size = random.randint(1, 2 if source is live else most)
        _record(module_database, imported, source[:size])
        del source[:size]
    assert digest(module_database, imported) == digest(module_database, lived)
