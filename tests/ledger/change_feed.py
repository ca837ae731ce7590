"""Events, and whoever follows the feed of what they change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog
from dataforge.ledger.change import changes
from dataforge.model.change import Change
from dataforge.model.filter import PartitionFilter
from dataforge.model.state import PartitionStatus
from dataforge.storage.database import Database

START = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = [f"2026-11-{day:02}" for day in range(1, 31)]
Mirror = dict[tuple[str, str, str, str | None], Change]
_numbers = count()


def event(state: str, minute: int = 0, name: str = "load", **more: Any) -> dict[str, Any]:
    at = (START + timedelta(minutes=minute)).isoformat()
    return {"time": at, "task": {"namespace": "ns", "name": name}, "state": state, **more}


def send(database: Database, *events: dict[str, Any], environment: str = "dev") -> None:
    result = record_native(database, environment, [json.dumps(each).encode() for each in events], NOTHING)
    assert result.rejected == []


def new_environment(database: Database) -> str:
    name = f"env{next(_numbers)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    return name


def follow(
    database: Database,
    mirror: Mirror,
    after: str | None = None,
    environment: str = "dev",
    sizes: Sequence[int] = (100,),
) -> str:
    """Reads to the end, in pages of these sizes in turn; keeps the mirror as a reader does."""
    turn = 0
    while True:
        page = changes(database, environment, after, sizes[turn % len(sizes)])
        assert len(page.items) <= sizes[turn % len(sizes)]
        keep(mirror, page.items)
        after, turn = page.position, turn + 1
        if not page.more:
            return after


def keep(mirror: Mirror, items: Sequence[Change]) -> None:
    for item in items:
        place = (item.kind, item.namespace, item.name, item.partition)
        mirror.pop(place, None)
        if item.status is not PartitionStatus.MISSING:
            mirror[place] = item


def mirrored(database: Database, environment: str = "dev") -> Mirror:
    mirror: Mirror = {}
    follow(database, mirror, environment=environment)
    return mirror


def agrees(database: Database, mirror: Mirror, environment: str = "dev") -> bool:
    """Whether a mirror shows what the list of partitions shows: an independent way to the same states."""
    listed = catalog.partitions(database, environment, PartitionFilter(limit=1_000), datetime.now(UTC)).items
    return {(i.kind, i.namespace, i.name, i.partition): _shown(i) for i in listed} == {
        place: _mirrored(item) for place, item in mirror.items()
    }


def _shown(item: Any) -> tuple[Any, ...]:
    ready = item.last_ready
    success = (ready.since, ready.version, ready.run.name, ready.run.run) if ready else None
    return item.state, item.since, item.evidence, item.run.name, item.run.run, item.version, success


def _mirrored(item: Change) -> tuple[Any, ...]:
    assert item.producer is not None
    ready = item.ready
    success = (ready.since, ready.version, ready.producer.task.name, ready.producer.run) if ready else None
    return item.status, item.since, item.evidence, item.producer.task.name, item.producer.run, item.version, success
