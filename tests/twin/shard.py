"""The twin of shards, by docs/dynamic.md: whether a run that says that it succeeded has done all of its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tests.twin.run import Event

_BETTER = ("failed", "skipped", "succeeded")  # of two ends for one time the first stands


def is_short(events: Iterable[Event], allowed: int) -> bool:
    """Whether more shards of a run have failed or are missing than its task allows."""
    ends: dict[str, set[tuple[datetime, int]]] = {}
    for event in events:
        for shard in event.get("shards", ()):
            known = ends.setdefault(shard["key"], set())
            if shard.get("state", "pending") != "pending":
                known.add((datetime.fromisoformat(event["time"]), -_BETTER.index(shard["state"])))
    undone = [key for key, told in ends.items() if not told or max(told)[1] == -_BETTER.index("failed")]
    return len(undone) > allowed
