"""What findings about runs are judged by: the runs, what each was seen to read, and what was made of that and when.

Guarantees a number of queries that does not grow with the number of runs, and that each reads a bounded range of an
index for every run or partition it is asked about.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.attempt import Interval
from dataforge.model.freshness import RunKey
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunState
from dataforge.storage.readiness import Place


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


class MadeThen(msgspec.Struct, frozen=True, kw_only=True):
    """That a run came to an end on a partition, or (`at` is none) has not succeeded on it."""

    at: datetime | None
    begun: datetime | None
    by: RunKey
    group_run: str
    producer: RunKey
    version: str | None
    certain: bool
    mapped: bool
    source: dict[str, Any] | None  # what its platform calls that run


# Around the time of reading: the last claims that began before its end, and the first ones after. Mapped instances are
# one run, which is done when all are. A run that was cleared and ran again has one claim, of its last attempt; when an
# earlier attempt of it had succeeded the partition was there, too.
MADE = """
with asked as (
    select * from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[],
        %(untils)s::timestamptz[]) with ordinality as w (kind, node, partition, ended, place)
), claim as (
    select w.place, w.kind, w.partition, member.id, c.*
    from asked w
    cross join lateral (
        select w.node as id where w.kind = 'task'
        union all
        select d.id from dataset d
        where w.kind = 'dataset' and d.environment = %(environment)s and d.canonical_id = w.node
    ) member
    cross join lateral (
        (select task_id, run, attempt_id, group_run, producer_task_id, producer_run, status, run_state, started_at,
            since, version
         from write
         where environment = %(environment)s and node_kind = w.kind and node_id = member.id
            and partition = w.partition and started_at <= w.ended
         order by started_at desc nulls last limit %(before)s)
        union all
        (select task_id, run, attempt_id, group_run, producer_task_id, producer_run, status, run_state, started_at,
            since, version
         from write
         where environment = %(environment)s and node_kind = w.kind and node_id = member.id
            and partition = w.partition and started_at > w.ended
         order by started_at nulls first limit %(after)s)
    ) c
), earlier as (
    select c.place, c.id, e.task_id, e.run, min(e.done) as done, min(e.started_at) as started_at
    from (select distinct place, kind, id, task_id, run, attempt_id from claim) c
    cross join lateral (
        select a.task_id, a.run, a.started_at,
            case when a.said_state = 'succeeded' then a.said_at else a.ended_at end as done
        from (
            select * from attempt
            where environment = %(environment)s and task_id = c.task_id and run = c.run
            order by attempt_id limit 50  -- the order of the primary key, or one that ends with another column is taken
        ) a
        where a.attempt_id <> c.attempt_id and a.state = 'succeeded' and a.kind = 'task'
            and (c.kind = 'task' or exists (
                select from touch t
                where t.environment = %(environment)s and t.task_id = a.task_id and t.run = a.run
                    and t.attempt_id = a.attempt_id and t.direction = 'output' and t.dataset_id = c.id offset 0))
    ) e
    group by 1, 2, 3, 4
), instances as (
    select g.place, g.task_id, g.group_run, bool_and(m.status = 'ready') as ready, min(m.started_at) as started_at,
        max(least(m.since, e.done)) as first_at, max(m.since) as last_at, max(m.version) as version
    from (select distinct place, kind, partition, id, task_id, group_run from claim where run <> group_run) g
    cross join lateral (
        select * from write
        where environment = %(environment)s and task_id = g.task_id and group_run = g.group_run offset 0
    ) m
    left join earlier e on e.place = g.place and e.id = g.id and e.task_id = m.task_id and e.run = m.run
    where m.node_kind = g.kind and m.node_id = g.id and m.partition = g.partition and not m.past
    group by 1, 2, 3
), made as (
    select place, case when status = 'ready' or run_state = 'unknown' then since end as at, started_at, task_id, run,
        group_run, producer_task_id, producer_run, version, run_state <> 'unknown' as certain, false as mapped
    from claim where run = group_run
    union all
    select c.place, e.done, e.started_at, c.task_id, c.run, c.group_run, c.producer_task_id, c.producer_run, null, true,
        false
    from claim c join earlier e on e.place = c.place and e.id = c.id and e.task_id = c.task_id and e.run = c.run
    where c.run = c.group_run
    union all
    select i.place, case when i.ready then at end, i.started_at, i.task_id, i.group_run, i.group_run, i.task_id,
        i.group_run, i.version, true, true
    from instances i cross join lateral (select distinct at from unnest(array[i.first_at, i.last_at]) as times (at)) t
)
select m.*, r.source
from made m
left join lateral (
    select source from run where environment = %(environment)s and task_id = m.task_id and run = m.run offset 0
) r on true
"""
_BEFORE, _AFTER = 40, 10  # claims of one partition that are looked at: those before the end of reading, and after


def made_of(environment: int, asked: Sequence[tuple[Place, datetime]]) -> dict[str, Any]:
    """The parameters of `made`."""
    return {
        "environment": environment,
        "kinds": [place[0] for place, _ in asked],
        "nodes": [place[1] for place, _ in asked],
        "partitions": [place[2].replace("\0", "\ufffd") for place, _ in asked],
        "untils": [until for _, until in asked],
        "before": _BEFORE,
        "after": _AFTER,
    }


def made(connection: Connection, environment: int, asked: Sequence[tuple[Place, datetime]]) -> list[list[MadeThen]]:
    """For each partition what was made of it around a time, the end of when it was read."""
    found: list[list[MadeThen]] = [[] for _ in asked]
    for place, at, begun, *row in connection.execute(MADE, made_of(environment, asked)) if asked else ():
        task_id, run, group_run, producer_task, producer_run, version, certain, mapped, source = row
        found[place - 1].append(
            MadeThen(
                at=at,
                begun=begun,
                by=(task_id, run),
                group_run=group_run,
                producer=(producer_task, producer_run),
                version=version,
                certain=certain,
                mapped=mapped,
                source=source,
            )
        )
    return found


# Of the last keys before one those that had been made by a time, as the first claims on each tell.
EARLIER_KEYS = """
select w.place, p.partition
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[], %(times)s::timestamptz[])
    with ordinality as w (kind, node, partition, at, place)
cross join lateral (
    select partition from partition_state
    where environment = %(environment)s and node_kind = w.kind and node_id = w.node and partition < w.partition
    order by partition desc limit 20
) p
where exists (
    select from (
        select w.node as id where w.kind = 'task'
        union all
        select d.id from dataset d
        where w.kind = 'dataset' and d.environment = %(environment)s and d.canonical_id = w.node
    ) member
    cross join lateral (
        select status, since from write
        where environment = %(environment)s and node_kind = w.kind and node_id = member.id
            and partition = p.partition and started_at is not null
        order by started_at nulls first limit 10
    ) c
    where c.status = 'ready' and c.since <= w.at)
"""


def earlier_keys(connection: Connection, environment: int, asked: Sequence[tuple[Place, datetime]]) -> list[list[str]]:
    """For each partition the keys before its own, at most 20, that had been made by a time."""
    found: list[list[str]] = [[] for _ in asked]
    parameters = {
        "environment": environment,
        "kinds": [place[0] for place, _ in asked],
        "nodes": [place[1] for place, _ in asked],
        "partitions": [place[2].replace("\0", "\ufffd") for place, _ in asked],
        "times": [at for _, at in asked],
    }
    for place, partition in connection.execute(EARLIER_KEYS, parameters) if asked else ():
        found[place - 1].append(partition)
    return found


FIRST_STARTS = """
select w.id, r.started_at
from unnest(%(tasks)s::bigint[]) as w (id)
cross join lateral (
    select started_at from run
    where environment = %(environment)s and task_id = w.id and started_at is not null
    order by started_at nulls first, run desc limit 1
) r
"""


def first_starts(connection: Connection, environment: int, tasks: Iterable[int]) -> dict[int, datetime]:
    """When each of these tasks was first seen to run."""
    parameters = {"environment": environment, "tasks": sorted(set(tasks))}
    return dict(connection.execute(FIRST_STARTS, parameters).fetchall()) if parameters["tasks"] else {}


class Output(msgspec.Struct, frozen=True):
    """A partition that a run made, datasets by canonical id; `standing` where its last success is still that run's."""

    place: Place
    at: datetime
    standing: bool


# A run makes what it claims itself, and what the runs below it claim, two levels of them: of an Airflow task the Spark
# application, and of that its jobs.
OUTPUTS = """
with asked as (
    select w.place, w.task_id, w.run, a.external_run
    from unnest(%(tasks)s::bigint[], %(runs)s::text[]) with ordinality as w (task_id, run, place)
    cross join lateral (
        select attempt_id from run
        where environment = %(environment)s and task_id = w.task_id and run = w.run offset 0
    ) r
    left join lateral (
        select external_run from attempt
        where environment = %(environment)s and task_id = w.task_id and run = w.run and attempt_id = r.attempt_id
        offset 0
    ) a on true
), child as (
    select w.place, c.task_id, c.run, c.external_run
    from asked w
    cross join lateral (
        select * from attempt where environment = %(environment)s and parent_run = w.external_run offset 0
    ) c
    where c.parent_task_id = w.task_id and c.kind <> 'dag'
), maker as (
    select place, task_id, run from asked
    union
    select place, task_id, run from child
    union
    select w.place, c.task_id, c.run
    from child w
    cross join lateral (
        select * from attempt where environment = %(environment)s and parent_run = w.external_run offset 0
    ) c
    where c.parent_task_id = w.task_id and c.kind <> 'dag'
)
select distinct m.place, c.node_kind, coalesce(d.canonical_id, c.node_id), c.partition, c.since,
    s.ready_task_id = c.producer_task_id and s.ready_run = c.producer_run
from maker m
cross join lateral (
    select * from write where environment = %(environment)s and task_id = m.task_id and run = m.run offset 0
) c
left join lateral (
    select canonical_id from dataset where environment = %(environment)s and id = c.node_id offset 0
) d on c.node_kind = 'dataset'
left join lateral (
    select ready_task_id, ready_run from partition_state
    where environment = %(environment)s and node_kind = c.node_kind
        and node_id = coalesce(d.canonical_id, c.node_id) and partition = c.partition offset 0
) s on true
where c.status = 'ready' and c.since is not null
"""


def outputs(connection: Connection, environment: int, runs: Iterable[RunKey]) -> dict[RunKey, list[Output]]:
    """What each of these runs has made."""
    ordered = sorted(set(runs))
    parameters = {
        "environment": environment,
        "tasks": [task_id for task_id, _ in ordered],
        "runs": [run for _, run in ordered],
    }
    found: dict[RunKey, list[Output]] = {}
    for place, kind, node, partition, at, standing in connection.execute(OUTPUTS, parameters) if ordered else ():
        found.setdefault(ordered[place - 1], []).append(Output((kind, node, partition), at, bool(standing)))
    return found


# Two branches, each by its own index: a dataset's edges stand under any of its names.
CONSUMERS = """
select w.kind, w.node, e.task_id
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[]) as w (kind, node)
cross join lateral (
    select w.node as id where w.kind = 'task'
    union all
    select d.id from dataset d
    where w.kind = 'dataset' and d.environment = %(environment)s and d.canonical_id = w.node
) member
cross join lateral (
    select distinct task_id from edge
    where environment = %(environment)s and node_kind = w.kind and node_id = member.id and relation = 'consumes'
) e
"""


def consumers(
    connection: Connection, environment: int, nodes: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], set[int]]:
    """The tasks that consume these tasks and datasets, as declared or observed."""
    ordered = sorted(set(nodes))
    parameters = {
        "environment": environment,
        "kinds": [kind for kind, _ in ordered],
        "nodes": [node for _, node in ordered],
    }
    found: dict[tuple[str, int], set[int]] = {}
    for kind, node, task_id in connection.execute(CONSUMERS, parameters) if ordered else ():
        found.setdefault((kind, node), set()).add(task_id)
    return found
