"""Marks: what people said of runs, the latest of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import Connection

from dataforge.model.event import Mark
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunState
from dataforge.storage.attempt import RunKey
from dataforge.storage.record_set import Row, keys, spread

FOLD = """
insert into mark as known (environment, task_id, run, state, partition, at, said_by, marked_by, reason)
select %s, task_id, run, state, partition, at, said_by, marked_by, reason
from json_to_recordset(%s::json) as said (task_id bigint, run text, state run_state, partition text, at timestamptz,
    said_by bytea, marked_by text, reason text)
on conflict (environment, task_id, run) do update set
    state = excluded.state, partition = excluded.partition, at = excluded.at, said_by = excluded.said_by,
    marked_by = excluded.marked_by, reason = excluded.reason
where (known.at, known.said_by) < (excluded.at, excluded.said_by)
"""


def fold(connection: Connection, environment: int, marks: Iterable[Mark]) -> set[RunKey]:
    """Keeps these marks where no later one stands; returns the runs that they are of."""
    found: dict[RunKey, Mark] = {}
    for mark in sorted(marks, key=lambda each: each.precedence):
        found[mark.task.id, mark.run] = mark
    if found:
        connection.execute(FOLD, [environment, spread(_row(found[key]) for key in sorted(found))])
    return set(found)


def _row(mark: Mark) -> Row:
    return {
        "task_id": mark.task.id,
        "run": mark.run,
        "state": mark.state,
        "partition": mark.partition,
        "at": mark.at,
        "said_by": mark.event,
        "marked_by": mark.by,
        "reason": mark.reason,
    }


LOAD = """
select t.namespace, t.name, m.run, m.state, m.at, m.said_by, m.marked_by, m.reason, m.partition
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select * from mark
    where environment = (select %(environment)s::smallint) and task_id = wanted.task_id and run = wanted.run offset 0
) m
join task t on t.environment = m.environment and t.id = m.task_id
"""


def of_runs(connection: Connection, environment: int, runs: Sequence[RunKey]) -> dict[RunKey, Mark]:
    """What people said of these runs."""
    found = {}
    for namespace, name, run, state, *rest in connection.execute(
        LOAD, {"environment": environment, **keys(runs)}
    ).fetchall():
        mark = Mark(TaskRef(namespace, name), run, RunState(state), *rest)
        found[mark.task.id, run] = mark
    return found


INSTANCES = """
select task_id, instance from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select a.run as instance from attempt a
    where a.environment = (select %(environment)s::smallint) and a.task_id = wanted.task_id
        and a.group_run = wanted.run and a.map_index >= 0 offset 0
) instances
"""


def instances(connection: Connection, environment: int, runs: Iterable[RunKey]) -> set[RunKey]:
    """The mapped instances of these runs."""
    parameters = {"environment": environment, **keys(sorted(runs))}
    return {(row[0], row[1]) for row in connection.execute(INSTANCES, parameters).fetchall()}


DECIDING = """
select coalesce(s.group_run, s.run) from partition_state s
where s.environment = %s and s.node_kind = 'task' and s.node_id = %s and s.partition = %s
"""


def deciding(connection: Connection, environment: int, task_id: int, partition: str) -> str | None:
    """The run that decides a partition of a task; of a mapped one all instances together. None where there is none."""
    row = connection.execute(DECIDING, [environment, task_id, partition]).fetchone()
    return str(row[0]) if row else None
