"""From what somebody asks to have built to the partitions of tasks that build it.

Guarantees that each target is known, and that what is named of it exists; what is not is refused by its field.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from dataforge.ledger.need import cut_of, makers
from dataforge.ledger.partition_set import completed
from dataforge.model.backfill import Target
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.key_range import between, listed, since_start, whole
from dataforge.model.partition import Partitioning, has_ended
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import environment as environments
from dataforge.storage import readiness as storage
from dataforge.storage import reference
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Node, NodeRow, Producer
from dataforge.storage.wakeup import TaskPartition


def start(connection: Connection, environment: int, targets: Sequence[Target], now: datetime) -> set[TaskPartition]:
    """The partitions of tasks that make the targets. Raises InvalidInput or NotFound."""
    nodes = reference.resolve_nodes(connection, environment, [(each.namespace, each.name) for each in targets])
    kinds: list[Node] = [("task" if isinstance(node, TaskRef) else "dataset", node.id) for node in nodes]
    rows = storage.nodes(connection, environment, kinds)
    writers = storage.producers(connection, environment, [node for kind, node in kinds if kind == "dataset"])
    known_from = environments.states_known_from(connection, environment)
    found: set[TaskPartition] = set()
    for at, (target, node) in enumerate(zip(targets, nodes, strict=True)):
        field = f"targets[{at}]"
        row = rows["task" if isinstance(node, TaskRef) else "dataset", node.id]
        keys = _living(target, _keys(target, _cut(connection, environment, row), now, field), known_from, field)
        if isinstance(node, DatasetRef):
            found |= _made(writers.get(node.id, []), keys, now)
            if node.id not in writers:
                raise _unmade(field, target)
        else:
            found |= {(node.id, key) for key in keys}
    if not found:
        raise _nothing(targets)
    return found


def _cut(connection: Connection, environment: int, row: NodeRow) -> Partitioning | None:
    full = completed(connection, environment, [row.partitioning])
    shape = row.partitioning
    return cut_of(full.get(shape, shape) if shape else None, declared=row.declared_cut)


def _keys(target: Target, cut: Partitioning | None, now: datetime, field: str) -> Sequence[str]:
    if target.first is not None:
        return between(cut, target.first, target.last, now, field)
    if target.missed:
        return since_start(cut, now, f"{field}.missed")
    if target.partitions:
        return listed(cut, target.partitions, f"{field}.partitions")
    return whole(cut, f"{field}.partitions")


def _living(target: Target, keys: Sequence[str], known_from: str, field: str) -> Sequence[str]:
    """The keys that have not ended. What names one that has is refused; all that there are begin where that ends."""
    named = "first" if target.first is not None else "partitions" if target.partitions else None
    gone = [key for key in keys if has_ended(key, known_from)] if known_from else []
    if gone and named is not None:
        expected = f"windows from {known_from} on: the detail of older ones has ended"
        wrong = FieldError(f"{field}.{named}", gone[0], expected)
        raise InvalidInput(f"{wrong.field} is {gone[0]!r}: expected {expected}", [wrong])
    return [key for key in keys if key not in set(gone)] if gone else keys


def _made(writers: Iterable[Producer], keys: Iterable[str], now: datetime) -> set[TaskPartition]:
    """The partitions of those who write these partitions of a dataset."""
    return {(each.task_id, each.partition) for writer in writers for key in keys for each in makers(writer, key, now)}


def _unmade(field: str, target: Target) -> InvalidInput:
    expected = "what a task makes: nobody is known to write it"
    return InvalidInput(
        f"{field}.name is {target.name!r}: expected {expected}", [FieldError(f"{field}.name", target.name, expected)]
    )


def _nothing(targets: Sequence[Target]) -> InvalidInput:
    expected = "partitions whose windows have ended by now, and that a task makes"
    return InvalidInput(f"targets: expected {expected}", [FieldError("targets", len(targets), expected)])
