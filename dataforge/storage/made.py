"""What was made of partitions around a time, by which runs.

Guarantees a number of queries that does not grow with the number of partitions, and that each reads a bounded range of
an index for every one of them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.freshness import RunKey
from dataforge.storage.parameter import texts
from dataforge.storage.readiness import Place


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
# earlier attempt of it had succeeded the partition was there, too. What a watermark has passed was there from then on,
# and was made again when the first data came late for it.
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
        (select task_id, run, attempt_id, case when attempt_id = '~watermark' then run else group_run end as group_run,
            producer_task_id, producer_run, status, run_state, started_at, since, version
         from write
         where environment = %(environment)s and node_kind = w.kind and node_id = member.id
            and partition = w.partition and started_at <= w.ended
         order by started_at desc nulls last limit %(before)s)
        union all
        (select task_id, run, attempt_id, case when attempt_id = '~watermark' then run else group_run end as group_run,
            producer_task_id, producer_run, status, run_state, started_at, since, version
         from write
         where environment = %(environment)s and node_kind = w.kind and node_id = member.id
            and partition = w.partition and started_at > w.ended
         order by started_at nulls first limit %(after)s)
    ) c
), earlier as (
    select c.place, c.id, e.task_id, e.run, min(e.done) as done, min(e.started_at) as started_at
    from (select distinct place, kind, id, task_id, run, attempt_id from claim where attempt_id <> '~watermark') c
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
        where environment = %(environment)s and task_id = g.task_id and group_run = g.group_run
            and (run = g.group_run or run <> group_run) offset 0
    ) m
    left join earlier e on e.place = g.place and e.id = g.id and e.task_id = m.task_id and e.run = m.run
    where m.node_kind = g.kind and m.node_id = g.id and m.partition = g.partition and not m.past
    group by 1, 2, 3
), made as (
    select place, t.at, started_at, task_id, run, group_run, producer_task_id, producer_run, version,
        run_state <> 'unknown' as certain, false as mapped
    from claim cross join lateral unnest(case
        when status = 'stale' then array[started_at, since]
        when status = 'ready' or run_state = 'unknown' then array[since]
        else array[null::timestamptz] end) as t (at)
    where run = group_run
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
        "partitions": texts(place[2] for place, _ in asked),
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
        select status, started_at, since from write
        where environment = %(environment)s and node_kind = w.kind and node_id = member.id
            and partition = p.partition and started_at is not null
        order by started_at nulls first limit 10
    ) c
    where case c.status when 'ready' then c.since when 'stale' then c.started_at end <= w.at)
"""


def earlier_keys(connection: Connection, environment: int, asked: Sequence[tuple[Place, datetime]]) -> list[list[str]]:
    """For each partition the keys before its own, at most 20, that had been made by a time."""
    found: list[list[str]] = [[] for _ in asked]
    parameters = {
        "environment": environment,
        "kinds": [place[0] for place, _ in asked],
        "nodes": [place[1] for place, _ in asked],
        "partitions": texts(place[2] for place, _ in asked),
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
