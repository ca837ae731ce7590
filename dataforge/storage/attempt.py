"""Attempts: the facts of every try of every run, and where each stands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from psycopg import Connection

from dataforge.model.attempt import Attempt, AttemptKey, Interval, RunPointer, Touch
from dataforge.model.reference import TaskRef
from dataforge.model.run import Ancestor, Belief, Standing
from dataforge.model.state import Evidence, RunKind, RunState, Statement
from dataforge.storage import touch as touches
from dataforge.storage.record_set import Added, Row, add, keys, spread
from dataforge.storage.run_part import part_of
from dataforge.storage.touch import AttemptName

RunKey = tuple[int, str]  # task id, run


class StoredAttempt(msgspec.Struct, frozen=True):
    """An attempt's facts, and where it stood when it was last settled."""

    attempt: Attempt
    ancestor: Ancestor  # what its children take from it
    ordinal: int
    stored: tuple[int, Ancestor]  # number and ancestor as the table has them: otherwise only where it was just saved
    part: int  # where it lies: dataforge.storage.run_part
    new: bool = False  # whether it has just been saved for the first time


Attempts = Sequence[StoredAttempt]  # all of one run
Placed = Mapping[AttemptKey, tuple[str, ...]]  # the partitions of attempts that name none, by their interval
NEVER = 0  # the ordinal of an attempt that was not settled yet
_NOTHING = Ancestor(Belief(RunState.UNKNOWN, Evidence.INFERRED), None, ())


def saved(attempt: Attempt, known: StoredAttempt | None, placed: Placed, last_part: int) -> StoredAttempt:
    """An attempt as it is to be saved; `known` is what is stored, if anything is."""
    if known is None:
        part = min(part_of(attempt.last_word), last_part)
        return StoredAttempt(attempt, _NOTHING, NEVER, _alone(attempt, placed), part, new=True)
    return replace(known, attempt=attempt, stored=_alone(attempt, placed))


def _alone(attempt: Attempt, placed: Placed) -> tuple[int, Ancestor]:
    """Where an attempt stands as far as it tells itself, which is where most stand: its number, and what children take
    from it. It is saved so, and written again only where its run, its parent or its task's partitioning say more."""
    said = attempt.statement
    partitions = (attempt.partition,) if attempt.partition else placed.get(attempt.key, ())
    number = 1 if attempt.number is None else attempt.number
    return number, Ancestor(Belief(said.state, said.evidence), attempt.interval, partitions)


_COLUMNS = """
select t.namespace, t.name, a.run, a.attempt_id, a.kind, a.platform, a.said_evidence, a.said_state, a.said_at,
       a.said_by, a.external_run, a.group_run, a.map_index, a.number, a.incarnation, a.completed, a.started_at,
       a.ended_at, a.interval_start, a.interval_end, a.partition, p.namespace, p.name, a.parent_run,
       r.namespace, r.name, a.root_run, a.error, a.source, a.state, a.evidence, a.ordinal, a.span_start,
       a.span_end, a.partitions, a.task_version, a.heard_at, a.part, a.task_id
from {}
cross join lateral (
    select namespace, name from task where environment = a.environment and id = a.task_id offset 0
) t
left join lateral (
    select namespace, name from task where environment = a.environment and id = a.parent_task_id offset 0
) p on true
left join lateral (
    select namespace, name from task where environment = a.environment and id = a.root_task_id offset 0
) r on true
"""
# Each key is looked up by itself (`offset 0` keeps the planner from joining the tables whole, as it would for the row
# that it expects of each part): how many rows a batch finds does not depend on how old the tables' statistics are.
# The environment is a sub-select here and in all that folding reads: as a value the planner would look it up in its
# statistics and take one that is not in them, a new one or the one in which the state is rebuilt, for empty, and then
# any index that begins with it for as good as the right one. A batch of 500 events took half a minute so.
OF_RUNS = _COLUMNS.format(
    """
unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select * from attempt
    where environment = (select %(environment)s::smallint) and task_id = wanted.task_id and run = wanted.run offset 0
) a"""
)


def of_runs(connection: Connection, environment: int, runs: Sequence[RunKey]) -> list[StoredAttempt]:
    """Every attempt of these runs, with what it touched."""
    rows = connection.execute(OF_RUNS, {"environment": environment, **keys(runs)}).fetchall()
    touched = touches.of_runs(connection, environment, ((row[38], row[2], row[37]) for row in rows)) if rows else {}
    return [_stored(row, touched) for row in rows]


OF_EXTERNAL = _COLUMNS.format(
    """
unnest(%(external)s::text[]) as wanted (external_run)
cross join lateral (
    select * from attempt
    where environment = (select %(environment)s::smallint) and external_run = wanted.external_run offset 0
) a"""
)


def by_run(attempts: Iterable[StoredAttempt]) -> dict[RunKey, Attempts]:
    """The same attempts by their run."""
    found: dict[RunKey, list[StoredAttempt]] = {}
    for each in attempts:
        found.setdefault((each.attempt.key.task.id, each.attempt.key.run), []).append(each)
    return dict(found)


def of_external_runs(connection: Connection, environment: int, external: Iterable[str]) -> list[StoredAttempt]:
    """The attempts that children name as their parents, without what they touched."""
    parameters = {"environment": environment, "external": sorted(set(external))}
    rows = connection.execute(OF_EXTERNAL, parameters).fetchall()
    return [_stored(row, {}) for row in rows]


def _stored(row: Sequence[Any], touched: dict[AttemptName, list[Touch]]) -> StoredAttempt:
    task = TaskRef(row[0], row[1])
    key = AttemptKey(task, row[2], row[3])
    span = Interval(row[32], row[33]) if row[32] is not None else None
    found = sorted(touched.get((task.id, key.run, key.attempt_id), ()), key=lambda touch: touch.key)
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
        task_version=row[35],
        touches=tuple(found),
        heard_at=row[36],
    )
    ancestor = Ancestor(Belief(RunState(row[29]), Evidence.of(row[30])), span, tuple(row[34]))
    return StoredAttempt(attempt, ancestor, row[31], (row[31], ancestor), row[37])


# The columns of an attempt's facts, and where it stands alone. What is new is added without asking whether it is
# there: asking costs a look-up and another record in the server's log for each row.
_INSERT = """
insert into attempt (environment, task_id, run, attempt_id, kind, platform, said_evidence, said_state, said_at,
    said_by, external_run, group_run, map_index, number, incarnation, completed, started_at, ended_at,
    interval_start, interval_end, partition, parent_task_id, parent_run, root_task_id, root_run, error, source,
    task_version, state, evidence, ordinal, span_start, span_end, partitions, heard_at, part)
select %s, * from json_to_recordset(%s::json) as said (task_id bigint, run text, attempt_id text, kind run_kind,
    platform text, said_evidence evidence, said_state run_state, said_at timestamptz, said_by bytea,
    external_run text, group_run text, map_index integer, number integer, incarnation timestamptz, completed boolean,
    started_at timestamptz, ended_at timestamptz, interval_start timestamptz, interval_end timestamptz,
    partition text, parent_task_id bigint, parent_run text, root_task_id bigint, root_run text, error text,
    source jsonb, task_version text, state run_state, evidence evidence, ordinal integer, span_start timestamptz,
    span_end timestamptz, partitions text[], heard_at timestamptz, part smallint)
"""
ADD = Added(
    insert=_INSERT,
    copy="""
copy attempt (environment, task_id, run, attempt_id, kind, platform, said_evidence, said_state, said_at, said_by,
    external_run, group_run, map_index, number, incarnation, completed, started_at, ended_at, interval_start,
    interval_end, partition, parent_task_id, parent_run, root_task_id, root_run, error, source, task_version, state,
    evidence, ordinal, span_start, span_end, partitions, heard_at, part)
from stdin (format binary)
""",
    types=(
        *("int8", "text", "text", "text", "text", "text", "text", "timestamptz", "bytea", "text", "text", "int4"),
        *("int4", "timestamptz", "bool", "timestamptz", "timestamptz", "timestamptz", "timestamptz", "text", "int8"),
        *("text", "int8", "text", "text", "jsonb", "text", "text", "text", "int4", "timestamptz", "timestamptz"),
        *("text[]", "timestamptz", "int2"),
    ),
)
SAVE = (
    _INSERT
    + """
on conflict (environment, task_id, run, attempt_id, part) do update set
    kind = excluded.kind, platform = excluded.platform, said_evidence = excluded.said_evidence,
    said_state = excluded.said_state, said_at = excluded.said_at, said_by = excluded.said_by,
    external_run = excluded.external_run, group_run = excluded.group_run, map_index = excluded.map_index,
    number = excluded.number, incarnation = excluded.incarnation, completed = excluded.completed,
    started_at = excluded.started_at, ended_at = excluded.ended_at, interval_start = excluded.interval_start,
    interval_end = excluded.interval_end, partition = excluded.partition,
    parent_task_id = excluded.parent_task_id, parent_run = excluded.parent_run,
    root_task_id = excluded.root_task_id, root_run = excluded.root_run, error = excluded.error,
    source = excluded.source, task_version = excluded.task_version, heard_at = excluded.heard_at,
    state = excluded.state,
    evidence = excluded.evidence, ordinal = excluded.ordinal, span_start = excluded.span_start,
    span_end = excluded.span_end, partitions = excluded.partitions
"""
)


def save(
    connection: Connection,
    environment: int,
    attempts: Sequence[StoredAttempt],
    known: Mapping[AttemptKey, StoredAttempt],
) -> None:
    """Adds these attempts, and of those that are known replaces the facts by the given ones, which are merged from
    what was there."""
    add(connection, environment, ADD, [_row(each) for each in attempts if each.new])
    if merged := [_row(each) for each in attempts if not each.new]:
        connection.execute(SAVE, [environment, spread(merged)])
    before = {key: each.attempt.touches for key, each in known.items()}
    kept = ((each.attempt, each.part, before.get(each.attempt.key, ())) for each in attempts)
    touches.save(connection, environment, kept)


def _row(stored: StoredAttempt) -> Row:
    attempt, (number, alone) = stored.attempt, stored.stored
    said, interval, parent, root = attempt.statement, attempt.interval, attempt.parent, attempt.root
    span = (interval.start, interval.end) if interval else (None, None)
    return {
        **_key(attempt.key),
        "kind": attempt.kind,
        "platform": attempt.platform,
        "said_evidence": said.evidence.label,
        "said_state": said.state,
        "said_at": said.at,
        "said_by": said.event,
        "external_run": attempt.external_run,
        "group_run": attempt.group_run,
        "map_index": attempt.map_index,
        "number": attempt.number,
        "incarnation": attempt.incarnation,
        "completed": attempt.completed,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "interval_start": span[0],
        "interval_end": span[1],
        "partition": attempt.partition,
        "parent_task_id": parent.task.id if parent else None,
        "parent_run": parent.external_run if parent else None,
        "root_task_id": root.task.id if root else None,
        "root_run": root.external_run if root else None,
        "error": attempt.error,
        "source": attempt.source,
        "task_version": attempt.task_version,
        "state": said.state,
        "evidence": said.evidence.label,
        "ordinal": number,
        "span_start": span[0],
        "span_end": span[1],
        "partitions": list(alone.partitions),
        "heard_at": attempt.heard_at,
        "part": stored.part,
    }


def _key(key: AttemptKey) -> Row:
    return {"task_id": key.task.id, "run": key.run, "attempt_id": key.attempt_id}


STAND = """
update attempt set state = stood.state, evidence = stood.evidence, ordinal = stood.ordinal,
    span_start = stood.span_start, span_end = stood.span_end, partitions = stood.partitions
from json_to_recordset(%s::json) as stood (task_id bigint, run text, attempt_id text, state run_state,
    evidence evidence, ordinal integer, span_start timestamptz, span_end timestamptz, partitions text[],
    part smallint)
where attempt.environment = %s and attempt.task_id = stood.task_id and attempt.run = stood.run
  and attempt.attempt_id = stood.attempt_id and attempt.part = stood.part
"""


def set_standing(connection: Connection, environment: int, stood: Iterable[tuple[Standing, Ancestor, int]]) -> None:
    """Stores where attempts stand, and what their children take from them; of each with the part that it lies in."""
    rows = [
        {
            **_key(standing.attempt.key),
            "state": taken.belief.state,
            "evidence": taken.belief.evidence.label,
            "ordinal": standing.ordinal,
            "span_start": taken.interval.start if taken.interval else None,
            "span_end": taken.interval.end if taken.interval else None,
            "partitions": taken.partitions,
            "part": part,
        }
        for standing, taken, part in stood
    ]
    if rows:
        connection.execute(STAND, [spread(rows), environment])


# Only runs that take something from the run above them: Spark's outcome, a missing data interval.
CHILDREN = """
select child.task_id, child.run from unnest(%(external)s::text[]) as above (run) cross join lateral (
    select task_id, run, platform, interval_start, partition from attempt
    where environment = (select %(environment)s::smallint) and parent_run = above.run
    union all
    select task_id, run, platform, interval_start, partition from attempt
    where environment = (select %(environment)s::smallint) and root_run = above.run
    offset 0
) child
where child.platform = 'spark' or (child.interval_start is null and child.partition is null)
"""


def children(connection: Connection, environment: int, external: Iterable[str]) -> set[RunKey]:
    """The runs whose parent or root is one of these, and which depend on it."""
    parameters = {"environment": environment, "external": sorted(set(external))}
    return {(row[0], row[1]) for row in connection.execute(CHILDREN, parameters).fetchall()}


MAPPED = """
select task_id, run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select from attempt a where a.environment = (select %(environment)s::smallint) and a.task_id = wanted.task_id
      and a.group_run = wanted.run and a.map_index >= 0 limit 1
) mapped
"""


def mapped(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[RunKey]:
    """Those of these runs that have mapped instances: what is said of the task as a whole decides none of them."""
    parameters = {"environment": environment, **keys(runs)}
    return {(row[0], row[1]) for row in connection.execute(MAPPED, parameters).fetchall()}


OPEN_INSTANCES = """
select task_id, instance from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select a.run as instance from attempt a where a.environment = (select %(environment)s::smallint)
      and a.task_id = wanted.task_id
      and a.group_run = wanted.run and a.map_index >= 0
      and (a.said_state in ('unknown', 'queued', 'running', 'up_for_retry') or a.interval_start is null
        or a.started_at is null)
) open
"""


def open_instances(connection: Connection, environment: int, runs: Iterable[RunKey]) -> set[RunKey]:
    """The mapped instances of these runs with an attempt that said no end of the instance, or no begin."""
    parameters = {"environment": environment, **keys(sorted(runs))}
    return {(row[0], row[1]) for row in connection.execute(OPEN_INSTANCES, parameters).fetchall()}


OF_TASKS = """
select task_id, run from attempt where environment = (select %(environment)s::smallint) and task_id = any(%(tasks)s)
union select task_id, group_run from outcome
where environment = (select %(environment)s::smallint) and task_id = any(%(tasks)s)
"""


def runs_of_tasks(connection: Connection, environment: int, tasks: Iterable[int]) -> set[RunKey]:
    """Every run of these tasks."""
    parameters = {"environment": environment, "tasks": sorted(tasks)}
    return {(row[0], row[1]) for row in connection.execute(OF_TASKS, parameters).fetchall()}
