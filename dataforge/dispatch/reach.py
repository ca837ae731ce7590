"""From partitions to what they make and to what waits for it: one step downstream, by the exact mappings of the edges.

Guarantees two queries for a step, however many partitions it starts from. Where a mapping cannot be told the step is
left out with a line in the log; the verdict on whoever asks names it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Set
from datetime import datetime
from functools import partial

from dataforge.ledger.need import cut_of, mapping_of, used_edges
from dataforge.model.downstream import downstream_keys
from dataforge.model.edge import Fixed
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import produced_keys
from dataforge.storage import partition as partitions
from dataforge.storage import reach as storage
from dataforge.storage import readiness
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection
from dataforge.storage.readiness import EdgeRow, Node, Place
from dataforge.storage.wakeup import TaskPartition

MOST_RECENT = 30  # partitions of each upstream, the last by their keys: a month of days
_log = logging.getLogger(__name__)


def waiting_for(
    connection: Connection,
    environment: int,
    places: Iterable[Place],
    now: datetime,
    *,
    only: Set[int] | None = None,
) -> set[TaskPartition]:
    """The partitions of tasks that need one of these partitions (of datasets by canonical id); of these tasks alone,
    where some are given."""
    keys: dict[Node, set[str]] = {}
    for kind, node, partition in places:
        keys.setdefault((kind, node), set()).add(partition)
    found: set[TaskPartition] = set()
    for reader in storage.readers(connection, environment, keys) if keys else ():
        if only is not None and reader.task_id not in only:
            continue
        if reader.triggers:
            found.add((reader.task_id, ""))
            continue
        ours = cut_of(reader.task_cut, declared=reader.task_cut_declared)
        theirs = cut_of(reader.node_cut, declared=reader.node_cut_declared)
        mapping = mapping_of(reader.mapping)
        for key in keys[reader.node]:
            woken = _told(reader.task_id, key, partial(downstream_keys, mapping, key, ours, theirs, now))
            found |= {(reader.task_id, own) for own in woken}
    return found


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
        read = partitions.canonical(connection, environment, {("dataset", each, "") for each in datasets})
        recent = storage.recent(connection, environment, {place[:2] for place in read}, MOST_RECENT)
        found |= waiting_for(connection, environment, recent, now)
    wanted = storage.wanted(connection, environment, sorted(found))
    return wanted | (wakeups.listed(connection, environment, tasks) if tasks else set())


def _consumed(connection: Connection, environment: int, tasks: Set[int]) -> list[EdgeRow]:
    """What these tasks wait for."""
    found: dict[int, list[EdgeRow]] = {}
    for edge in readiness.edges(connection, environment, tasks):
        found.setdefault(edge.task_id, []).append(edge)
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


def made_by(connection: Connection, environment: int, runs: Iterable[TaskPartition], now: datetime) -> set[Place]:
    """The partitions of datasets that these tasks' runs for these partitions write."""
    keys: dict[int, set[str]] = {}
    for task_id, partition in runs:
        keys.setdefault(task_id, set()).add(partition)
    found: set[Place] = set()
    for product in storage.products(connection, environment, keys) if keys else ():
        ours = cut_of(product.task_cut, declared=product.task_cut_declared)
        theirs = cut_of(product.dataset_cut, declared=True)
        mapping = mapping_of(product.mapping)
        for key in keys[product.task_id]:
            made = _told(product.task_id, key, partial(produced_keys, mapping, key, ours, theirs, now))
            found |= {("dataset", product.dataset_id, each) for each in made}
    return found


def _told(task_id: int, key: str, keys: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    try:
        return keys()
    except InvalidInput as error:
        _log.debug("where the partition %r leads by an edge of the task %d cannot be told: %s", key, task_id, error)
        return ()
