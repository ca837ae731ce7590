"""Swapping a rebuilt state in: the live rows become those that were rebuilt, in the caller's one transaction.

Guarantees that only what differs is written, so whoever reads sees the state before or the state after and nothing
between, and the feed of changes and the outbox have exactly the partitions that are otherwise than they were.
"""

from collections.abc import Mapping

from dataforge.ledger.verify import Comparison
from dataforge.storage import difference as differences
from dataforge.storage import environment as environments
from dataforge.storage import rebuilt as rebuilds
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection
from dataforge.storage.difference import EVERYTHING, Scope

_GRAPH = frozenset({"task", "dataset", "alias", "edge"})


def swap(
    connection: Connection, live: int, rebuilt: int, found: Comparison, scope: Mapping[str, Scope] | None = None
) -> None:
    """Makes the live state the rebuilt one, or the part of it that was compared. The caller holds the environment's
    lock, has compared, and commits."""
    differing = [table for table in rebuilds.STATE if table.name in found.counts]
    within = scope or {}
    for table in differing:
        differences.wake(connection, table, live, rebuilt, within.get(table.name, EVERYTHING))
    if "control" in found.counts:
        wakeups.put(connection, live, [], everything=True)
    for table in reversed(differing):
        differences.remove_extra(connection, table, live, rebuilt, within.get(table.name, EVERYTHING))
    for table in differing:
        differences.write_different(connection, table, live, rebuilt, within.get(table.name, EVERYTHING))
    if _GRAPH & found.counts.keys():
        environments.advance_graph(connection, live)
