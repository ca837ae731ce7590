"""The runs that findings are about, and what each was seen to read and write.

Guarantees a number of queries that does not grow with the number of runs, and that each reads a bounded range of an
index for every run or task it is asked about.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.attempt import Interval
from dataforge.model.freshness import RunKey
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunState


class RunPlace(msgspec.Struct, frozen=True, order=True):
    """The place of a run in the order of its start, the latest first."""

    started_at: datetime
    task_id: int = 1 - 2**63  # before every run that began then
    run: str = ""


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A run that began, as it stands after its last attempt."""

    task_id: int
    run: str
    group_run: str
    mapped: bool  # one of several instances of its task
    state: RunState
    attempt_id: str | None
    partitions: tuple[str, ...]
    started_at: datetime
    ended_at: datetime | None
    interval: Interval | None
    task: TaskRef
    owner: str | None
    declared: bool
    operator: str | None
    source: dict[str, Any]  # what its platform calls it

    @property
    def key(self) -> RunKey:
        return (self.task_id, self.run)

    @property
    def place(self) -> RunPlace:
        return RunPlace(self.started_at, self.task_id, self.run)


_COLUMNS = """r.task_id, r.run, r.group_run, r.map_index >= 0, r.state, r.attempt_id, r.partitions, r.started_at,
    r.ended_at, r.interval_start, r.interval_end, t.namespace, t.name, t.owner, t.definition is not null,
    t.observed -> 'operator' ->> 2, r.source"""
_TASK = """
cross join lateral (select * from task where environment = %(environment)s and id = r.task_id offset 0) t
"""

# The order has all of the index's columns, so that the planner is not tempted by the primary key. Planned with its
# values each time (prepare=False), since they bound the range.
STRETCH = (
    "select "  # noqa: S608  # all are literals
    + _COLUMNS
    + """
from (
    select * from run
    where environment = %(environment)s and kind = 'task' and started_at >= %(since)s
        and started_at <= %(upto)s::timestamptz
        and (started_at < %(upto)s::timestamptz or (task_id, run) > (%(after_task)s::bigint, %(after_run)s::text)
            or (%(again)s and (task_id, run) = (%(after_task)s::bigint, %(after_run)s::text)))
    order by started_at desc nulls last, task_id, run limit %(most)s
) r
"""
    + _TASK
    + "order by r.started_at desc nulls last, r.task_id, r.run"
)


def stretch(connection: Connection, given: dict[str, Any]) -> list[Ran]:
    """The runs of tasks behind a place, the latest start first; `given` is what `stretch_of` makes."""
    return [_ran(row) for row in connection.execute(STRETCH, given, prepare=False)]


def stretch_of(environment: int, since: datetime, after: RunPlace, most: int, *, again: bool = False) -> dict[str, Any]:
    """The parameters of `stretch`; with `again` it begins with the run at that place, not behind it."""
    return {
        "environment": environment,
        "since": since,
        "upto": after.started_at,
        "after_task": after.task_id,
        "after_run": after.run,
        "again": again,
        "most": most,
    }


def _ran(row: Sequence[Any]) -> Ran:
    task_id, run, group_run, mapped, state, attempt_id, partitions, started_at, ended_at, begin, end, *about = row
    namespace, name, owner, declared, operator, source = about
    return Ran(
        task_id=task_id,
        run=run,
        group_run=group_run,
        mapped=mapped,
        state=RunState(state),
        attempt_id=attempt_id,
        partitions=tuple(partitions),
        started_at=started_at,
        ended_at=ended_at,
        interval=Interval(begin, end) if begin is not None else None,
        task=TaskRef(namespace, name),
        owner=owner,
        declared=declared,
        operator=operator,
        source=source,
    )


# The runs of a task that began within a time, the first ones: what may have read what was there then.
STARTED = (
    "select w.place, "  # noqa: S608  # all are literals
    + _COLUMNS
    + """
from unnest(%(tasks)s::bigint[], %(froms)s::timestamptz[], %(untils)s::timestamptz[])
    with ordinality as w (task_id, begun, ended, place)
cross join lateral (
    select * from run
    where environment = %(environment)s and task_id = w.task_id and started_at >= w.begun and started_at < w.ended
        and kind = 'task'
    order by started_at nulls first, run desc limit %(most)s
) r
"""
    + _TASK
)


def started(
    connection: Connection, environment: int, asked: Sequence[tuple[int, datetime, datetime]], most: int
) -> list[list[Ran]]:
    """For each task and time the first `most` of its runs that began then."""
    found: list[list[Ran]] = [[] for _ in asked]
    parameters = {
        "environment": environment,
        "tasks": [each[0] for each in asked],
        "froms": [each[1] for each in asked],
        "untils": [each[2] for each in asked],
        "most": most,
    }
    for place, *row in connection.execute(STARTED, parameters) if asked else ():
        found[place - 1].append(_ran(row))
    return found


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that a run read or wrote, under its canonical id."""

    written: bool
    dataset_id: int
    partition: str
    step: bool  # one of its steps did, whose times are known
    first_at: datetime
    last_at: datetime
    version: str | None


# Of a Spark application its jobs read and write. An RDD job that never ended is mostly Spark looking at the first file
# of an input for its schema, so that nothing can be said of what it read.
TOUCHED = """
with decided as (
    select w.place, a.task_id, a.run, a.attempt_id, a.external_run
    from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(attempts)s::text[])
        with ordinality as w (task_id, run, attempt_id, place)
    cross join lateral (
        select * from attempt
        where environment = %(environment)s and task_id = w.task_id and run = w.run and attempt_id = w.attempt_id
        offset 0
    ) a
), toucher as (
    select place, task_id, run, attempt_id, false as step from decided
    union all
    select d.place, s.task_id, s.run, s.attempt_id, true
    from decided d
    cross join lateral (
        select * from attempt
        where environment = %(environment)s and parent_run = d.external_run offset 0
    ) s
    where s.parent_task_id = d.task_id and s.kind = 'step'
        and (s.completed or coalesce(s.source ->> 'job_type', '') <> 'RDD_JOB')
)
select r.place, t.direction = 'output', d.canonical_id, t.partition, r.step, t.first_at, t.last_at, t.version
from toucher r
cross join lateral (
    select * from touch
    where environment = %(environment)s and task_id = r.task_id and run = r.run and attempt_id = r.attempt_id offset 0
) t
cross join lateral (select * from dataset where environment = %(environment)s and id = t.dataset_id offset 0) d
order by r.place, t.first_at, d.canonical_id, t.partition
"""


def touched(connection: Connection, environment: int, runs: Sequence[Ran]) -> dict[RunKey, list[Touched]]:
    """What the deciding attempt of each of these runs was seen to read and write."""
    asked = [run for run in runs if run.attempt_id is not None]
    parameters = {
        "environment": environment,
        "tasks": [run.task_id for run in asked],
        "runs": [run.run for run in asked],
        "attempts": [run.attempt_id for run in asked],
    }
    found: dict[RunKey, list[Touched]] = {}
    for place, *row in connection.execute(TOUCHED, parameters) if asked else ():
        written, dataset_id, partition, step, first_at, last_at, version = row
        found.setdefault(asked[place - 1].key, []).append(
            Touched(
                written=written,
                dataset_id=dataset_id,
                partition=partition,
                step=step,
                first_at=first_at,
                last_at=last_at,
                version=version,
            )
        )
    return found
