"""From partitions to what they make and to what waits for it: one step downstream, by the exact mappings of the edges.

Guarantees two queries for a step, however many partitions it starts from. Where a mapping cannot be told the step is
left out with a line in the log; the verdict on whoever asks names it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from dataforge.ledger.need import cut_of, mapping_of
from dataforge.model.downstream import downstream_keys
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import produced_keys
from dataforge.storage import reach as storage
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Node, Place
from dataforge.storage.wakeup import TaskPartition

_log = logging.getLogger(__name__)


def waiting_for(connection: Connection, environment: int, places: Iterable[Place], now: datetime) -> set[TaskPartition]:
    """The partitions of tasks that need one of these partitions (of datasets by canonical id)."""
    keys: dict[Node, set[str]] = {}
    for kind, node, partition in places:
        keys.setdefault((kind, node), set()).add(partition)
    found: set[TaskPartition] = set()
    for reader in storage.readers(connection, environment, keys) if keys else ():
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
