"""What may run because it is declared otherwise: nothing upstream has flipped then that would have announced it.

Guarantees a number of queries that does not grow with what is declared, and a bounded number of partitions of each
upstream.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime

from dataforge.ledger.need import cut_of, mapping_of, used_edges
from dataforge.ledger.reach import waiting_for
from dataforge.model.edge import Fixed
from dataforge.storage import partition as partitions
from dataforge.storage import reach as storage
from dataforge.storage import readiness
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection
from dataforge.storage.readiness import EdgeRow, Place
from dataforge.storage.wakeup import TaskPartition

MOST_RECENT = 30  # partitions of each upstream, the last by their keys: a month of days


def around_declared(
    connection: Connection, environment: int, tasks: Set[int], datasets: Set[int], now: datetime
) -> set[TaskPartition]:
    """The partitions to be decided on because these tasks, or datasets that others read, are declared otherwise: what
    waits already, and of what is not done what needs one of the last `MOST_RECENT` partitions of an upstream or one
    that its edge names; and all of what is not cut by time."""
    found: set[TaskPartition] = set()
    if tasks:
        edges = _consumed(connection, environment, tasks)
        recent = storage.recent(connection, environment, {edge.node for edge in edges}, MOST_RECENT)
        named: set[Place] = {(*edge.node, key) for edge in edges if (key := _named(edge)) is not None}
        found |= waiting_for(connection, environment, recent | named, now, only=tasks)
        found |= _untimed(connection, environment, {edge.task_id for edge in edges})
    if datasets:
        names = partitions.names(connection, environment, [("dataset", each, "") for each in datasets])
        recent = storage.recent(connection, environment, {("dataset", each) for each in names.members}, MOST_RECENT)
        found |= waiting_for(connection, environment, recent, now)
    wanted = storage.wanted(connection, environment, sorted(found))
    return wanted | (wakeups.listed(connection, environment, tasks) if tasks else set())


def _consumed(connection: Connection, environment: int, tasks: Set[int]) -> list[EdgeRow]:
    """What these tasks wait for."""
    found = readiness.edges(connection, environment, tasks)
    return [edge for edges in found.values() for edge in used_edges(edges)]


def _named(edge: EdgeRow) -> str | None:
    """The one partition that an edge names, which may be older than the last ones."""
    mapping = mapping_of(edge.mapping)
    return mapping.key if isinstance(mapping, Fixed) else None


def _untimed(connection: Connection, environment: int, tasks: Set[int]) -> set[TaskPartition]:
    """All partitions of those of these tasks that have none, or static ones."""
    found: set[TaskPartition] = set()
    for task_id, subject in readiness.subjects(connection, environment, tasks).items():
        cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
        if cut is None or cut.kind in ("none", "static"):
            found |= {(task_id, key) for key in (cut.keys if cut is not None else ()) or ("",)}
    return found
