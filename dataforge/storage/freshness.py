"""What the ledger knows of when partitions were made and from what, read for many of them at once.

Guarantees a number of queries that does not grow with the number of partitions: each takes arrays and finds every
row by an index.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.freshness import RunKey, Success
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.model.upstream import State
from dataforge.storage.readiness import Name, Place, asked, columns

# Two branches, each by its own index, as of tasks; an alias means the dataset that it stands for.
RESOLVE = """
with asked (place, namespace, name) as (
    select * from unnest(%(places)s::int[], %(namespaces)s::text[], %(names)s::text[])
)
select distinct found.place, c.namespace, c.name
from (
    select a.place, d.canonical_id from asked a
    join dataset d on d.environment = %(environment)s and d.namespace = a.namespace and d.name = a.name
    union all
    select a.place, d.canonical_id from asked a
    cross join lateral (
        select canonical_id from dataset d
        where d.environment = %(environment)s and d.name = a.name order by namespace limit 6
    ) d
    where a.namespace is null
) found
join dataset c on c.environment = %(environment)s and c.id = found.canonical_id
order by 1, 2, 3
"""


def resolve(connection: Connection, environment: int, names: Sequence[Name]) -> list[list[DatasetRef]]:
    """For each name the datasets it may mean, under their canonical names, at most six."""
    found: list[list[DatasetRef]] = [[] for _ in names]
    for place, namespace, name in connection.execute(RESOLVE, asked(environment, names)).fetchall():
        found[place].append(DatasetRef(namespace, name))
    return found


class Built(msgspec.Struct, frozen=True):
    """The last success of a partition, with what is known of the run that made it."""

    success: Success
    task: TaskRef
    partitions: tuple[str, ...]  # of the run, where it is not the only one
    parent_task_id: int | None  # of the run above it
    late: bool  # whether data came for it after its watermark had passed it


# Whether data came late is told by the state itself, or by the claim of the last success where a later run decides.
BUILT = """
select w.kind, w.node, w.partition, s.ready_task_id, s.ready_run, s.ready_began,
    case when s.status in ('ready', 'stale') then greatest(s.ready_since, s.since) else s.ready_since end,
    s.ready_version, t.namespace, t.name, coalesce(nullif(s.ready_made_for, '{""}'), '{}'), s.ready_parent_task_id,
    s.status = 'stale' or coalesce(claim.late, false)
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
join partition_state s on s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node
    and s.partition = w.partition and (s.partition = '' or s.partition between %(first)s and %(last)s)
join task t on t.environment = %(environment)s and t.id = s.ready_task_id
left join lateral (
    select bool_or(c.status = 'stale') as late
    from (
        select w.node as id where w.kind = 'task'
        union all
        select d.id from dataset d
        where w.kind = 'dataset' and d.environment = %(environment)s and d.canonical_id = w.node
    ) member
    cross join lateral (
        select c.started_at, c.attempt_id, c.status from write c
        where c.environment = %(environment)s and c.node_kind = w.kind and c.node_id = member.id
            and c.partition = w.partition and c.status in ('ready', 'stale') and c.producer_task_id = s.ready_task_id
            and c.producer_run = s.ready_run
        order by c.started_at desc nulls last limit 1
    ) c
    where s.status not in ('ready', 'stale')
) claim on true
"""


def built(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, Built]:
    """Of each of these partitions that was ever made, its last success."""
    found: dict[Place, Built] = {}
    for kind, node, partition, *row in connection.execute(BUILT, columns(environment, places)).fetchall():
        task_id, run, started_at, ended_at, version, namespace, name, partitions, parent, late = row
        success = Success(by=(task_id, run), started_at=started_at, ended_at=ended_at, version=version)
        found[kind, node, partition] = Built(success, TaskRef(namespace, name), tuple(partitions), parent, late)
    return found


class Standing(msgspec.Struct, frozen=True):
    """How an upstream partition stands: what is believed of it, by which run, and its last success."""

    state: State
    run: str
    success: Success | None


STANDING = """
select w.kind, w.node, w.partition, s.status, s.run_state, s.evidence, s.since, s.run, s.ready_task_id, s.ready_run,
    case when s.status in ('ready', 'stale') then greatest(s.ready_since, s.since) else s.ready_since end,
    s.ready_version
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
join partition_state s on s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node
    and s.partition = w.partition and (s.partition = '' or s.partition between %(first)s and %(last)s)
"""


def standing(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, Standing]:
    """How these partitions stand; those that nothing has happened to are left out."""
    found: dict[Place, Standing] = {}
    for kind, node, partition, *row in connection.execute(STANDING, columns(environment, places)).fetchall():
        status, run_state, evidence, since, run, task_id, ready_run, ended_at, version = row
        state = State(
            status=PartitionStatus(status), run_state=RunState(run_state), evidence=Evidence.of(evidence), since=since
        )
        success = Success(by=(task_id, ready_run), ended_at=ended_at, version=version) if ready_run else None
        found[kind, node, partition] = Standing(state, run, success)
    return found


# What a run read is said by its own last attempt, and of a Spark application by its jobs. What was read only after
# the success it is asked for (by a later try) made nothing of it.
READS = """
select w.task_id, w.run, d.canonical_id, t.partition, t.version
from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(until)s::timestamptz[]) as w (task_id, run, until)
join run r on r.environment = %(environment)s and r.task_id = w.task_id and r.run = w.run
join attempt own on own.environment = %(environment)s and own.task_id = r.task_id and own.run = r.run
    and own.attempt_id = r.attempt_id
cross join lateral (
    select own.task_id, own.run, own.attempt_id
    union all
    select job.task_id, job.run, job.attempt_id from attempt job
    where job.environment = %(environment)s and job.parent_run = own.external_run and job.parent_task_id = own.task_id
) a
cross join lateral (
    select t.dataset_id, t.partition, t.version, t.first_at from touch t
    where t.environment = %(environment)s and t.task_id = a.task_id and t.run = a.run and t.attempt_id = a.attempt_id
        and t.direction = 'input' and t.version is not null and (w.until is null or t.first_at <= w.until)
) t
join dataset d on d.environment = %(environment)s and d.id = t.dataset_id
order by w.task_id, w.run, t.first_at desc, t.version desc
"""


def reads(
    connection: Connection, environment: int, successes: Iterable[Success]
) -> dict[RunKey, dict[tuple[int, str], str]]:
    """The versions that these runs recorded of their inputs, the first where they read several, by dataset and
    partition ('' where the run named none)."""
    parameters = _runs(environment, successes)
    rows = connection.execute(READS, parameters) if parameters["runs"] else ()
    found: dict[RunKey, dict[tuple[int, str], str]] = {}
    for task_id, run, dataset, partition, version in rows:  # the first that was read comes last, and stays
        found.setdefault((task_id, run), {})[dataset, partition] = version
    return found


def _runs(environment: int, successes: Iterable[Success]) -> dict[str, Any]:
    """Each run once, until the last of the successes that it is asked for."""
    by_run: dict[RunKey, list[Success]] = {}
    for success in successes:
        by_run.setdefault(success.by, []).append(success)
    ends = {run: [each.ended_at for each in found if each.ended_at] for run, found in by_run.items()}
    ordered = sorted(by_run)
    return {
        "environment": environment,
        "tasks": [task_id for task_id, _ in ordered],
        "runs": [run for _, run in ordered],
        "until": [max(ends[key], default=None) for key in ordered],
    }
