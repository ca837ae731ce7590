"""Shards: what events say of the parts of runs, kept.

Guarantees that no run has more of them than its limit: the event that would bring it above that is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.event import Event
from dataforge.model.shard import MOST_SHARDS, Shard
from dataforge.storage import shard as storage
from dataforge.storage.attempt import RunKey
from dataforge.storage.database import Connection


def fold(connection: Connection, environment: int, events: Iterable[Event]) -> None:
    """Keeps what events say of shards. Raises InvalidInput where a run would have more than 1,000,000."""
    said: dict[RunKey, list[Shard]] = {}
    for event in events:
        for fact in event.facts.shards:
            said.setdefault((fact.task.id, fact.run), []).extend(fact.shards)
    if not said:
        return
    storage.fold(connection, environment, said)
    for (_, run), tally in storage.tallies(connection, environment, sorted(said)).items():
        if tally.counts.total > MOST_SHARDS:
            expected = f"at most {MOST_SHARDS:,} shards of one run, and with these {run!r} has {tally.counts.total:,}"
            problem = FieldError("shards", len(said), expected)
            raise InvalidInput(f"shards: expected {expected}", [problem])
