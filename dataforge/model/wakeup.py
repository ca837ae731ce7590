"""What may run now and waits for somebody to claim it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dataforge.model.catalog import NodeName

MOST_WAKEUPS = 1_000  # in one answer
Queue = Literal["all", "live", "backfill"]


class WakeupItem(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of a task that may run and that nobody has claimed."""

    task: Annotated[NodeName, Meta(description="The task.")]
    partition: Annotated[str | None, Meta(description="Its partition; null for what has no partitions.")]
    since: Annotated[datetime, Meta(description="Since when it may run.")]
    priority: Annotated[int, Meta(description="As declared: the greater comes first.")]
    pools: Annotated[dict[str, int], Meta(description="The slots that a claim of it takes, by pool.")]
    owner: Annotated[str | None, Meta(description="Who answers for the task.")]
    platform: Annotated[str, Meta(description="What runs it; empty where nobody has said.")]
    backfill: Annotated[str | None, Meta(description="The backfill that has released it; null of what is live.")]


class Wakeups(msgspec.Struct, frozen=True):
    """What to claim next, in this order."""

    items: Annotated[
        tuple[WakeupItem, ...],
        Meta(description="What is live first, then the greatest priority, then the longest wait."),
    ]


def with_room(waiting: Iterable[WakeupItem], free: Mapping[str, int], most: int) -> tuple[WakeupItem, ...]:
    """The first of those that wait, in their order, as far as the free slots of pools go round. A pool that is not
    among `free` has none."""
    left, found = dict(free), []
    for item in waiting:
        if all(left.get(pool, 0) >= wanted for pool, wanted in item.pools.items()):
            found.append(item)
            for pool, wanted in item.pools.items():
                left[pool] -= wanted
        if len(found) == most:
            break
    return tuple(found)
