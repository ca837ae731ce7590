"""What may run now and waits for somebody to claim it, as far as the pools have room."""

from datetime import datetime

from dataforge.model.catalog import NodeName
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.wakeup import MOST_WAKEUPS, Queue, WakeupItem, Wakeups, with_room
from dataforge.storage import environment as environments
from dataforge.storage import lease as leases
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Database
from dataforge.storage.wakeup import Waiting

_LOOKED_AT = 10_000  # that wait, the first in order: behind full pools there may be others with room


def waiting(database: Database, environment: str, limit: int, now: datetime, queue: Queue = "all") -> Wakeups:
    """The first `limit` partitions to claim, in their order: what backfills have released comes behind all that is
    live, and each can be had by itself. They stay listed until they are claimed."""
    if not 1 <= limit <= MOST_WAKEUPS:
        expected = f"a number from 1 to {MOST_WAKEUPS:,}"
        raise InvalidInput(f"limit is {limit}: expected {expected}", [FieldError("limit", limit, expected)])
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        live, released = queue != "backfill", queue != "live"
        found = wakeups.waiting(connection, here.id, _LOOKED_AT, live=live, backfills=released)
        pools = leases.pools(connection, here.id, {pool for each in found for pool in each.pools}, now)
    free = {name: slots - taken for name, (slots, taken) in pools.items()}
    return Wakeups(with_room(map(_item, found), free, limit))


def _item(found: Waiting) -> WakeupItem:
    return WakeupItem(
        task=NodeName(found.namespace, found.name),
        partition=found.partition or None,
        since=found.since,
        priority=found.priority,
        pools=found.pools,
        owner=found.owner,
        platform=found.platform,
        backfill=found.backfill,
    )
