"""Attempts: the facts of every try of every run, and where each stands."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.types.json import Jsonb

from dataforge.model.attempt import Attempt, AttemptKey, Interval, RunPointer, Touch
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.run import Ancestor, Belief, Standing
from dataforge.model.state import Evidence, RunKind, RunState, Statement

RunKey = tuple[int, str]  # task id, run


class StoredAttempt(msgspec.Struct, frozen=True):
    """An attempt's facts, and where it stood when it was last settled."""

    attempt: Attempt
    ancestor: Ancestor  # what its children take from it
    ordinal: int


_COLUMNS = """
select t.namespace, t.name, a.run, a.attempt_id, a.kind, a.platform, a.said_evidence, a.said_state, a.said_at,
       a.said_by, a.external_run, a.group_run, a.map_index, a.number, a.incarnation, a.completed, a.started_at,
       a.ended_at, a.interval_start, a.interval_end, a.partition, p.namespace, p.name, a.parent_run,
       r.namespace, r.name, a.root_run, a.error, a.source, a.state, a.evidence, a.ordinal, a.span_start,
       a.span_end, a.partitions
from attempt a
join task t on t.environment = a.environment and t.id = a.task_id
left join task p on p.environment = a.environment and p.id = a.parent_task_id
left join task r on r.environment = a.environment and r.id = a.root_task_id
"""
OF_RUNS = (
    _COLUMNS
    + """
join unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
  on wanted.task_id = a.task_id and wanted.run = a.run
where a.environment = %(environment)s
"""
)


def of_runs(connection: Connection, environment: int, runs: Sequence[RunKey]) -> list[StoredAttempt]:
    """Every attempt of these runs, with what it touched."""
    parameters = {"environment": environment, "tasks": [r[0] for r in runs], "runs": [r[1] for r in runs]}
    rows = connection.execute(OF_RUNS, parameters).fetchall()
    touched = _touches(connection, parameters)
    return [_stored(row, touched) for row in rows]


OF_EXTERNAL = _COLUMNS + "where a.environment = %s and a.external_run = any(%s)"


def of_external_runs(connection: Connection, environment: int, external: Iterable[str]) -> list[StoredAttempt]:
    """The attempts that children name as their parents, without what they touched."""
    rows = connection.execute(OF_EXTERNAL, [environment, sorted(set(external))]).fetchall()
    return [_stored(row, {}) for row in rows]


TOUCHES = """
select x.task_id, x.run, x.attempt_id, x.direction, d.namespace, d.name, x.partition, x.first_at, x.last_at,
       x.version, x.version_at, x.rows, x.measured, x.change
from touch x
join unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
  on wanted.task_id = x.task_id and wanted.run = x.run
join dataset d on d.environment = x.environment and d.id = x.dataset_id
where x.environment = %(environment)s
"""
TouchKey = tuple[int, str, str]


def _touches(connection: Connection, parameters: dict[str, Any]) -> dict[TouchKey, list[Touch]]:
    found: dict[TouchKey, list[Touch]] = {}
    for task_id, run, attempt_id, direction, namespace, name, *rest in connection.execute(TOUCHES, parameters):
        touch = Touch(direction, DatasetRef(namespace, name), *rest)
        found.setdefault((task_id, run, attempt_id), []).append(touch)
    return found


def _stored(row: Sequence[Any], touched: dict[TouchKey, list[Touch]]) -> StoredAttempt:
    task = TaskRef(row[0], row[1])
    key = AttemptKey(task, row[2], row[3])
    span = Interval(row[32], row[33]) if row[32] is not None else None
    touches = sorted(touched.get((task.id, key.run, key.attempt_id), ()), key=lambda touch: touch.key)
    attempt = Attempt(
        key=key,
        kind=RunKind(row[4]),
        platform=row[5],
        statement=Statement(Evidence.of(row[6]), RunState(row[7]), row[8], row[9]),
        external_run=row[10],
        group_run=row[11],
        map_index=row[12],
        number=row[13],
        incarnation=row[14],
        completed=row[15],
        started_at=row[16],
        ended_at=row[17],
        interval=Interval(row[18], row[19]) if row[18] is not None else None,
        partition=row[20],
        parent=RunPointer(TaskRef(row[21], row[22]), row[23]) if row[23] is not None else None,
        root=RunPointer(TaskRef(row[24], row[25]), row[26]) if row[26] is not None else None,
        error=row[27],
        source=row[28],
        touches=tuple(touches),
    )
    ancestor = Ancestor(Belief(RunState(row[29]), Evidence.of(row[30])), span, tuple(row[34]))
    return StoredAttempt(attempt, ancestor, row[31])


SAVE = """
insert into attempt (environment, task_id, run, attempt_id, kind, platform, said_evidence, said_state, said_at,
    said_by, external_run, group_run, map_index, number, incarnation, completed, started_at, ended_at,
    interval_start, interval_end, partition, parent_task_id, parent_run, root_task_id, root_run, error, source)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (environment, task_id, run, attempt_id) do update set
    kind = excluded.kind, platform = excluded.platform, said_evidence = excluded.said_evidence,
    said_state = excluded.said_state, said_at = excluded.said_at, said_by = excluded.said_by,
    external_run = excluded.external_run, group_run = excluded.group_run, map_index = excluded.map_index,
    number = excluded.number, incarnation = excluded.incarnation, completed = excluded.completed,
    started_at = excluded.started_at, ended_at = excluded.ended_at, interval_start = excluded.interval_start,
    interval_end = excluded.interval_end, partition = excluded.partition,
    parent_task_id = excluded.parent_task_id, parent_run = excluded.parent_run,
    root_task_id = excluded.root_task_id, root_run = excluded.root_run, error = excluded.error,
    source = excluded.source
"""


def save(connection: Connection, environment: int, attempts: Sequence[Attempt]) -> None:
    """Replaces the facts of these attempts by the given ones, which are merged from what was there."""
    connection.cursor().executemany(SAVE, [_row(environment, attempt) for attempt in attempts])
    _save_touches(connection, environment, attempts)


def _row(environment: int, attempt: Attempt) -> tuple[Any, ...]:
    key, said, interval = attempt.key, attempt.statement, attempt.interval
    parent, root = attempt.parent, attempt.root
    return (
        *(environment, key.task.id, key.run, key.attempt_id, attempt.kind, attempt.platform),
        *(said.evidence.label, said.state, said.at, said.event, attempt.external_run, attempt.group_run),
        *(attempt.map_index, attempt.number, attempt.incarnation, attempt.completed, attempt.started_at),
        *(attempt.ended_at, interval.start if interval else None, interval.end if interval else None),
        *(attempt.partition, parent.task.id if parent else None, parent.external_run if parent else None),
        *(root.task.id if root else None, root.external_run if root else None, attempt.error),
        Jsonb(attempt.source),
    )


SAVE_TOUCH = """
insert into touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at,
    version, version_at, rows, measured, change)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (environment, task_id, run, attempt_id, direction, dataset_id, partition) do update set
    first_at = excluded.first_at, last_at = excluded.last_at, version = excluded.version,
    version_at = excluded.version_at, rows = excluded.rows, measured = excluded.measured, change = excluded.change
"""


def _save_touches(connection: Connection, environment: int, attempts: Sequence[Attempt]) -> None:
    rows = [
        (environment, a.key.task.id, a.key.run, a.key.attempt_id, t.direction, t.dataset.id, t.partition, t.first_at)
        + (t.last_at, t.version, t.version_at, t.rows, t.measured, t.change)
        for a in attempts
        for t in a.touches
    ]
    connection.cursor().executemany(SAVE_TOUCH, rows)


STAND = """
update attempt set state = %s, evidence = %s, ordinal = %s, span_start = %s, span_end = %s, partitions = %s
where environment = %s and task_id = %s and run = %s and attempt_id = %s
"""


def set_standing(connection: Connection, environment: int, rows: Iterable[tuple[Standing, Ancestor]]) -> None:
    """Stores where attempts stand, and what their children take from them."""
    values = []
    for standing, taken in rows:
        key, span = standing.attempt.key, taken.interval
        values.append(
            (taken.belief.state, taken.belief.evidence.label, standing.ordinal)
            + (span.start if span else None, span.end if span else None, list(taken.partitions))
            + (environment, key.task.id, key.run, key.attempt_id)
        )
    connection.cursor().executemany(STAND, values)


# Only runs that take something from the run above them: Spark's outcome, a missing data interval.
CHILDREN = """
select distinct task_id, run from attempt
where environment = %(environment)s and (parent_run = any(%(external)s) or root_run = any(%(external)s))
  and (platform = 'spark' or (interval_start is null and partition is null))
"""


def children(connection: Connection, environment: int, external: Iterable[str]) -> set[RunKey]:
    """The runs whose parent or root is one of these, and which depend on it."""
    parameters = {"environment": environment, "external": sorted(set(external))}
    return {(row[0], row[1]) for row in connection.execute(CHILDREN, parameters)}


MAPPED = """
select distinct a.task_id, a.group_run from attempt a
join unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
  on wanted.task_id = a.task_id and wanted.run = a.group_run
where a.environment = %(environment)s and a.map_index >= 0
"""


def mapped(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[RunKey]:
    """Those of these runs that have mapped instances: what is said of the task as a whole decides none of them."""
    parameters = {"environment": environment, "tasks": [r[0] for r in runs], "runs": [r[1] for r in runs]}
    return {(row[0], row[1]) for row in connection.execute(MAPPED, parameters)}


OF_TASKS = """
select task_id, run from attempt where environment = %(environment)s and task_id = any(%(tasks)s)
union select task_id, group_run from outcome where environment = %(environment)s and task_id = any(%(tasks)s)
"""


def runs_of_tasks(connection: Connection, environment: int, tasks: Iterable[int]) -> set[RunKey]:
    """Every run of these tasks."""
    parameters = {"environment": environment, "tasks": sorted(tasks)}
    return {(row[0], row[1]) for row in connection.execute(OF_TASKS, parameters)}
