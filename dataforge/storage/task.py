"""Tasks as they were observed: their registers, and the columns that follow from definition and observation."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model import partition
from dataforge.model.partition import NONE, Partitioning
from dataforge.model.reference import TaskRef
from dataforge.model.schedule import NO_INTERVAL
from dataforge.model.state import RunKind
from dataforge.storage.record_set import spread

Registers = dict[str, list[Any]]  # {field: [event time, event id, value]}


class ObservedTask(msgspec.Struct, frozen=True):
    """What events have said of a task so far."""

    task: TaskRef
    kind: RunKind
    platform: str
    seen: bool
    grains: int
    registers: Registers


ENSURE = """
insert into task (environment, id, namespace, name)
select %s, * from unnest(%s::bigint[], %s::text[], %s::text[])
on conflict (environment, id) do nothing
"""


def ensure(connection: Connection, environment: int, tasks: Iterable[TaskRef]) -> None:
    """Makes sure that each named task has a row to point at."""
    if asked := list(tasks):
        connection.execute(ENSURE, [environment, *_columns(asked)])


def _columns(tasks: Iterable[TaskRef]) -> list[list[Any]]:
    ordered = sorted(set(tasks), key=lambda task: task.id)
    return [[t.id for t in ordered], [t.namespace for t in ordered], [t.name for t in ordered]]


# A statement does not see what it inserts itself: of what is new nothing is known.
KNOWN = (
    "with ensured as ("  # both are literals
    + ENSURE
    + """)
select id, kind, observed_platform, seen, grains, observed from task where environment = %s and id = any(%s)
"""
)


def known(
    connection: Connection, environment: int, named: Iterable[TaskRef], asked: Iterable[TaskRef]
) -> dict[int, ObservedTask]:
    """Makes sure that each named task has a row to point at, and returns what is known by observation of those asked
    for, by id."""
    parameters = [environment, *_columns(named), environment]
    found = {
        task.id: ObservedTask(task, RunKind.TASK, "", seen=False, grains=NO_INTERVAL, registers={}) for task in asked
    }
    for task_id, kind, platform, seen, grains, registers in connection.execute(KNOWN, [*parameters, list(found)]):
        found[task_id] = ObservedTask(found[task_id].task, RunKind(kind), platform, seen, grains, registers)
    return found


SAVE = """
update task set kind = said.kind, observed_platform = said.platform, seen = said.seen, grains = said.grains,
    observed = said.observed
from json_to_recordset(%s::json) as said
    (id bigint, kind run_kind, platform text, seen boolean, grains smallint, observed jsonb)
where task.environment = %s and task.id = said.id
"""


def save(connection: Connection, environment: int, tasks: Iterable[ObservedTask]) -> None:
    """Replaces what was observed of the tasks."""
    rows = [
        {"id": t.task.id, "kind": t.kind, "platform": t.platform, "seen": t.seen, "grains": t.grains}
        | {"observed": t.registers}
        for t in tasks
    ]
    if rows:
        connection.execute(SAVE, [spread(rows), environment])


class TaskBasis(msgspec.Struct, frozen=True):
    """What the effective columns of a task follow from, and the partitioning it has now."""

    id: int
    platform: str
    grains: int
    registers: Registers
    definition: Mapping[str, Any] | None
    partitioning: Mapping[str, Any]
    partitioning_origin: str
    declared_by: str | None = None


def unknown(task_id: int) -> TaskBasis:
    """What is known of a task that has no row."""
    return TaskBasis(task_id, "", NO_INTERVAL, {}, None, partition.to_json(NONE), "observed")


# Without the edges of the definition: they decide over no column, and may be most of it.
BASIS = """
select id, observed_platform, grains, observed, definition - '{consumes,produces}'::text[], partitioning,
    partitioning_origin, declared_by
from task where environment = (select %s::smallint) and id = any(%s) order by id
"""


def basis(connection: Connection, environment: int, ids: Iterable[int]) -> list[TaskBasis]:
    """What the effective columns of these tasks follow from."""
    asked = list(ids)
    rows = connection.execute(BASIS, [environment, asked]).fetchall() if asked else ()
    return [TaskBasis(*row) for row in rows]


CUTS = "select id, partitioning from task where environment = (select %s::smallint) and id = any(%s)"


def cuts(connection: Connection, environment: int, ids: Iterable[int]) -> dict[int, Partitioning]:
    """How these tasks are cut."""
    rows = connection.execute(CUTS, [environment, list(ids)]).fetchall()
    return {task_id: partition.from_json(cut) for task_id, cut in rows}


SHARDS = """
select id, jsonb_build_object('shards', definition -> 'shards') from task
where environment = (select %s::smallint) and id = any(%s) and definition ? 'shards'
"""


def shards(connection: Connection, environment: int, ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
    """Of those of these tasks that are declared to work in shards, what their definitions say of them."""
    asked = list(ids)
    return dict(connection.execute(SHARDS, [environment, asked]).fetchall()) if asked else {}


class EffectiveTask(msgspec.Struct, frozen=True):
    """The columns of a task that follow from its definition and from what was observed."""

    id: int
    platform: str
    owner: str | None
    domain: str | None
    partitioning: dict[str, Any]
    partitioning_origin: str


SET_EFFECTIVE = """
update task set platform = said.platform, owner = said.owner, domain = said.domain,
    partitioning = said.partitioning, partitioning_origin = said.partitioning_origin
from json_to_recordset(%(tasks)s::json) as said
    (id bigint, platform text, owner text, domain text, partitioning jsonb, partitioning_origin origin)
where task.environment = %(environment)s and task.id = said.id
"""


def set_effective(connection: Connection, environment: int, tasks: Iterable[EffectiveTask]) -> None:
    """Stores the effective columns."""
    rows = [msgspec.structs.asdict(task) for task in tasks]
    if rows:
        connection.execute(SET_EFFECTIVE, {"environment": environment, "tasks": spread(rows)})
