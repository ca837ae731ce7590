"""Running again what is done: an order for one partition of a task, or with what was built from it downstream.

Guarantees that the order is recorded with its reason, all of it or none, and that what it names comes in the order of
its dependence: each waits until what it needs has been made again. Nothing is run here, and what downstream reads stays
ready until a new run has begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from dataforge.ingest import native
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.reach import made_by, waiting_for
from dataforge.ledger.record import record
from dataforge.model.catalog import NodeName
from dataforge.model.errors import Conflict, FieldError, InvalidInput
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.rerun import MOST_RERUNS, Downstream, RerunItem, Rerunning, Reruns
from dataforge.model.state import PartitionStatus
from dataforge.storage import environment as environments
from dataforge.storage import readiness as storage
from dataforge.storage import reference
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import Place
from dataforge.storage.wakeup import TaskPartition

_UNDONE = frozenset({PartitionStatus.MISSING, PartitionStatus.RUNNING})


def rerun(
    database: Database,
    environment: str,
    wanted: Rerunning,
    now: datetime,
    *,
    redaction: Redaction = NOTHING,
    dry_run: bool = False,
) -> Reruns:
    """Orders the partition to be run again, and with `downstream` what was built from it: directly, or in any number of
    steps. With `dry_run` only says which partitions that would be.

    Raises NotFound for a task nobody knows, Conflict for a partition that is not done, InvalidInput for more than
    MOST_RERUNS partitions or an order without a reason.
    """
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        task = reference.resolve_task(connection, here.id, wanted.namespace, wanted.name)
        start = (task.id, wanted.partition)
        if not _done(connection, here, [start]):
            named = f"{task.name} for {wanted.partition}" if wanted.partition else task.name
            raise Conflict(f"{named} is not done, so there is nothing to run again: `dataforge why` says how it stands")
        found = [start, *sorted(_behind(connection, here, start, wanted.downstream, now))]
        names = reference.names(connection, here.id, "task", {task_id for task_id, _ in found})
        if not dry_run:
            order(connection, here, found, Saying("rerun", wanted.by, wanted.reason), now, redaction)
    return Reruns(tuple(RerunItem(NodeName(*names[task_id]), key or None) for task_id, key in found))


def _behind(
    connection: Connection, here: Environment, start: TaskPartition, downstream: Downstream, now: datetime
) -> set[TaskPartition]:
    """What was built downstream: what never was has nothing to be run again."""
    found: set[TaskPartition] = set()
    new = {start} if downstream != "none" else set()
    while new:
        ended: set[Place] = {("task", *each) for each in new} | made_by(connection, here.id, new, now)
        reached = waiting_for(connection, here.id, ended, now) - found - {start}
        new = _done(connection, here, reached)
        found |= new
        if len(found) >= MOST_RERUNS:
            expected = f"an order of at most {MOST_RERUNS:,} partitions: order fewer steps, or plan a backfill"
            raise InvalidInput(
                f"more than {MOST_RERUNS:,} partitions lie downstream: expected {expected}",
                [FieldError("downstream", downstream, expected)],
            )
        if downstream == "direct":
            break
    return found


def _done(connection: Connection, here: Environment, wanted: Iterable[TaskPartition]) -> set[TaskPartition]:
    places: list[Place] = [("task", *each) for each in wanted]
    states = storage.states(connection, here.id, places) if places else {}
    return {(node, key) for (_, node, key), state in states.items() if state.status not in _UNDONE}


class Saying(NamedTuple):
    """What is said of partitions, by whom and why."""

    verb: Literal["rerun", "withdraw"]
    by: str
    reason: str


def order(
    connection: Connection,
    here: Environment,
    partitions: Sequence[TaskPartition],
    said: Saying,
    now: datetime,
    redaction: Redaction = NOTHING,
) -> None:
    """Orders that these partitions of tasks be run again, and so what they make, or withdraws that, which leaves alone
    what a run has begun for since; the caller holds the environment's lock."""
    names = reference.names(connection, here.id, "task", {task_id for task_id, _ in partitions})
    documents = [_document("task", TaskRef(*names[task_id]), key, said, now) for task_id, key in partitions]
    made = sorted(made_by(connection, here.id, partitions, now))
    datasets = reference.names(connection, here.id, "dataset", {node for _, node, _ in made})
    documents += [_document("dataset", DatasetRef(*datasets[node]), key, said, now) for _, node, key in made]
    record(connection, here, [native.parse(document, redaction) for document in documents])


def _document(kind: str, ref: TaskRef | DatasetRef, key: str, said: Saying, now: datetime) -> dict[str, Any]:
    found: dict[str, Any] = {
        "time": now.isoformat(),
        "control": said.verb,
        kind: {"namespace": ref.namespace, "name": ref.name},
        "by": said.by,
        "reason": said.reason,
    }
    return found | ({"partition": key} if key else {})
