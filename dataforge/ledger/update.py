"""Triggered tasks: what is queued for the next run of each, and which updates a run consumed."""

from collections.abc import Mapping

import msgspec

from dataforge.ledger.surroundings import Surroundings
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.trigger import Awaited, Queue, Trigger, before, latest
from dataforge.model.verdict import NodeRef
from dataforge.storage import reference
from dataforge.storage import update as storage
from dataforge.storage.database import Connection
from dataforge.storage.update import Latest
from dataforge.storage.update_list import Span

_NOTHING = Span(None, None)


def queues(connection: Connection, environment: int, known: Surroundings) -> dict[int, Queue]:
    """What the next run of each triggered task among these depends on, by task."""
    triggers = {
        task_id: msgspec.json.decode(subject.trigger, type=Trigger)
        for task_id, subject in known.subjects.items()
        if subject.trigger is not None
    }
    if not triggers:
        return {}
    named = {ref for trigger in triggers.values() for ref in trigger.datasets}
    updates = storage.latest(connection, environment, named)
    starts = storage.starts(connection, environment, triggers, None)
    return {
        task_id: Queue(
            trigger,
            latest(starts.get(task_id, ())),
            {ref: _awaited(known, ref, updates) for ref in trigger.datasets},
        )
        for task_id, trigger in triggers.items()
    }


def _awaited(known: Surroundings, ref: DatasetRef, updates: Mapping[int, Latest]) -> Awaited:
    found = updates[ref.id]
    node = known.nodes["dataset", found.canonical_id]  # whatever a trigger names is an edge of its task
    written = found.update is not None or bool(known.writers(node))
    return Awaited(NodeRef("dataset", node.namespace, node.name), known.owner(node), written, found.update)


def consumed(connection: Connection, environment: int, task: TaskRef, run: str | None) -> tuple[Trigger, Span | None]:
    """What triggers a task, and the time whose updates of it a run consumed (None: of none), or without a run the time
    since its last run began. Raises InvalidInput for a task without a trigger, and NotFound for a run nobody knows."""
    trigger = storage.trigger_of(connection, environment, task.id)
    if trigger is None:
        problem = FieldError("name", task.name, "a task that declares a trigger")
        raise InvalidInput(f"{task.name} declares no trigger, so no updates are queued for it", [problem])
    return trigger, _span(connection, environment, task, run)


def _span(connection: Connection, environment: int, task: TaskRef, run: str | None) -> Span | None:
    if run is None:
        last = latest(storage.starts(connection, environment, [task.id], None).get(task.id, ()))
        return Span(last.began, None) if last else _NOTHING
    known = storage.began(connection, environment, task.id, run)
    if known is None:
        raise reference.no_such_run(connection, environment, task, run)
    group, began = known
    if began is None:
        return None
    around = storage.starts(connection, environment, [task.id], began).get(task.id, [])
    return Span(before(around, began), began) if any(start.run == group for start in around) else None
