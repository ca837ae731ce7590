"""Updates of datasets, each a success that wrote a partition; and when the runs began that they trigger."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.reference import DatasetRef
from dataforge.model.trigger import Start, Trigger, Update

MOST_STARTS = 200  # runs of a task that are looked at on either side of a moment

TRIGGER = "select definition -> 'trigger' from task where environment = %s and id = %s"


def trigger_of(connection: Connection, environment: int, task_id: int) -> Trigger | None:
    """What a task declares to be triggered by; None where it declares nothing of the kind."""
    row = connection.execute(TRIGGER, [environment, task_id]).fetchone()
    return msgspec.convert(row[0], Trigger) if row and row[0] else None


# When the first of some tries began. Where nobody told, when it ended stands for that.
_BEGUN = """min(coalesce(started_at, case
        when said_state in ('succeeded', 'skipped', 'canceled', 'upstream_failed', 'failed') then said_at
        else ended_at end))"""
# A run that is tried again, or cleared, has a later start of its own than the one that counts; so on either side of a
# moment the nearest runs are looked at and their first starts compared. Of a run that only a person has told of the
# mark counts. What a person or a clock started in Airflow takes nothing from the queue: Airflow's ids of runs say which
# those are. A run that was cleared (queued, by an operator) does not go on: it is to be run again.
STARTS = f"""
select w.task_id, r.group_run, coalesce(first.began, min(r.ended_at)) as began,
    bool_or(r.state in ('unknown', 'running', 'up_for_retry') or (r.state = 'queued' and r.evidence <> 'operator'))
from unnest(%(tasks)s::bigint[]) as w (task_id)
cross join lateral (
    (select group_run, state, evidence, source, ended_at from run
    where environment = %(environment)s and task_id = w.task_id and started_at <= %(at)s::timestamptz
    order by started_at desc nulls last, run limit %(most)s)
    union all
    (select group_run, state, evidence, source, ended_at from run
    where environment = %(environment)s and task_id = w.task_id and started_at > %(at)s::timestamptz
    order by started_at nulls first, run desc limit %(most)s)
    union all
    (select group_run, state, evidence, source, ended_at from run
    where environment = %(environment)s and task_id = w.task_id and started_at is null
        and ended_alone <= %(at)s::timestamptz
    order by ended_alone desc, run limit %(most)s)
    union all
    (select group_run, state, evidence, source, ended_at from run
    where environment = %(environment)s and task_id = w.task_id and started_at is null
        and ended_alone > %(at)s::timestamptz
    order by ended_alone, run desc limit %(most)s)
) r
cross join lateral (
    select {_BEGUN} as began
    from attempt
    where environment = %(environment)s and task_id = w.task_id and group_run = r.group_run
        and (run = r.group_run or run <> group_run)
) first
where coalesce(r.source ->> 'run_id', '') !~ '^(manual|scheduled|backfill)__'
group by w.task_id, r.group_run, first.began
having coalesce(first.began, min(r.ended_at)) is not null
"""  # noqa: S608  # both are literals


def starts(
    connection: Connection, environment: int, tasks: Iterable[int], at: datetime | None
) -> dict[int, list[Start]]:
    """When the runs of these tasks around a moment began, by task; None: the latest runs."""
    given: dict[str, Any] = {"environment": environment, "tasks": sorted(tasks), "most": MOST_STARTS}
    found: dict[int, list[Start]] = {}
    for task_id, *start in connection.execute(STARTS, {**given, "at": at or "infinity"}):
        found.setdefault(task_id, []).append(Start(*start))
    return found


BEGAN = f"""
select group_run, coalesce((
    select {_BEGUN}
    from attempt a
    where a.environment = r.environment and a.task_id = r.task_id and a.group_run = r.group_run
        and (a.run = r.group_run or a.run <> a.group_run)), ended_at)
from run r where environment = %s and task_id = %s and run = %s
"""  # noqa: S608  # both are literals


def began(connection: Connection, environment: int, task_id: int, run: str) -> tuple[str, datetime | None] | None:
    """A run without its map index, and when it began for the first time; None for a run nobody knows."""
    return connection.execute(BEGAN, [environment, task_id, run]).fetchone()


class Latest(msgspec.Struct, frozen=True):
    """The canonical id of a dataset, and its last update."""

    canonical_id: int
    update: Update | None


# What is only inferred to have succeeded updates nothing, as it satisfies nothing; nor does what a watermark has
# passed, which is no success of a run; nor any run whose partition is quarantined now, until that is released: what an
# earlier run had made of it is no longer there.
LATEST = """
select d.id, d.canonical_id, u.partition, u.since, u.producer_run
from dataset d
left join lateral (
    select c.* from dataset m cross join lateral (
        select partition, since, producer_run, task_id, run from write w
        where environment = %(environment)s and node_kind = 'dataset' and node_id = m.id and status = 'ready'
            and evidence <> 'inferred' and attempt_id <> '~watermark' and since is not null and not exists (
                select from partition_state s
                where s.environment = %(environment)s and s.node_kind = 'dataset' and s.node_id = d.canonical_id
                    and s.partition = w.partition and s.status = 'quarantined')
        order by since desc, partition desc, task_id, run limit 1
    ) c
    where m.environment = %(environment)s and m.canonical_id = d.canonical_id
    order by c.since desc, c.partition desc, c.task_id, c.run limit 1
) u on true
where d.environment = %(environment)s and d.id = any(%(datasets)s)
"""


def latest(connection: Connection, environment: int, datasets: Iterable[DatasetRef]) -> dict[int, Latest]:
    """The last update of each of these datasets, under any of its names, by the id of the name given."""
    parameters = {"environment": environment, "datasets": sorted({ref.id for ref in datasets})}
    return {
        node: Latest(canonical_id, Update(partition, at, run) if at is not None else None)
        for node, canonical_id, partition, at, run in connection.execute(LATEST, parameters)
    }
