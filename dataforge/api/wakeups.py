"""Wake-ups over HTTP: what to claim next, for workers that ask."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated

from litestar import get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from dataforge.api.operation import EnvironmentName, answers
from dataforge.dispatch.waiting import waiting
from dataforge.model.catalog import NodeName
from dataforge.model.wakeup import MOST_WAKEUPS, Queue, WakeupItem, Wakeups
from dataforge.storage.database import Database

_PAUSE = 0.2  # seconds between two looks of one who waits
_LONGEST_WAIT = 30.0  # seconds; proxies cut what is silent for a minute
_EXAMPLE = WakeupItem(
    task=NodeName("shell", "orders.export"),
    partition="2026-11-01",
    since=datetime(2026, 11, 2, 0, 9, tzinfo=UTC),
    priority=10,
    pools={"warehouse": 1},
    owner="team-orders@example.com",
    platform="shell",
    backfill=None,
)


@get(
    "/{env:str}/wakeups",
    responses=answers(Wakeups, Wakeups((_EXAMPLE,)), "What to claim next."),
    summary="List what may run now",
)
async def list_wakeups(
    database: NamedDependency[Database],
    env: EnvironmentName,
    limit: Annotated[int, QueryParameter(description="How many at most.", ge=1, le=MOST_WAKEUPS)] = 100,
    queue: Annotated[
        Queue, QueryParameter(description="What is live, what backfills have released, or all of it.")
    ] = "all",
    wait: Annotated[
        float,
        QueryParameter(description="Seconds to wait for the first one, where there is none.", ge=0, le=_LONGEST_WAIT),
    ] = 0.0,
) -> Wakeups:
    """Partitions of tasks that may run and that nobody has claimed, as far as pools have room: what is live before what
    backfills have released, then the greatest priority, then the longest wait. Each is listed again until it is claimed
    or may not run any more."""
    until = monotonic() + wait
    while True:
        found = await sync_to_thread(waiting, database, env, limit, datetime.now(UTC), queue)
        if found.items or monotonic() >= until:
            return found
        await asyncio.sleep(_PAUSE)
