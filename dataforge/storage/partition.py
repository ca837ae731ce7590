"""Partition states: the claims that runs have on a partition, and which of them is believed. Derived."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.model.run import Belief
from dataforge.model.state import PartitionStatus
from dataforge.storage.attempt import RunKey

Place = tuple[NodeKind, int, str]  # kind, node id, partition


class Claim(msgspec.Struct, frozen=True):
    """What one attempt of a run makes of one partition."""

    node_kind: NodeKind
    node_id: int
    partition: str
    run: RunKey
    attempt_id: str
    group_run: str
    producer: RunKey
    status: PartitionStatus
    belief: Belief
    started_at: datetime | None
    since: datetime | None
    version: str | None = None
    rows: int | None = None


WITHDRAW = """
delete from write using unnest(%(tasks)s::bigint[], %(runs)s::text[]) as gone (task_id, run)
where environment = %(environment)s and write.task_id = gone.task_id and write.run = gone.run
returning write.node_kind, write.node_id, write.partition
"""


def withdraw(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[Place]:
    """Removes every claim of these runs, and returns the places they were on."""
    parameters = {"environment": environment, "tasks": [r[0] for r in runs], "runs": [r[1] for r in runs]}
    return {(row[0], row[1], row[2]) for row in connection.execute(WITHDRAW, parameters)}


CLAIM = """
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run,
    producer_task_id, producer_run, status, run_state, evidence, started_at, since, version, rows)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def claim(connection: Connection, environment: int, claims: Iterable[Claim]) -> set[Place]:
    """Stores claims, and returns the places they are on."""
    claims = list(claims)
    rows = [
        (environment, c.node_kind, c.node_id, c.partition, *c.run, c.attempt_id, c.group_run, *c.producer)
        + (c.status, c.belief.state, c.belief.evidence.label, c.started_at, c.since, c.version, c.rows)
        for c in claims
    ]
    connection.cursor().executemany(CLAIM, rows)
    return {(c.node_kind, c.node_id, c.partition) for c in claims}


PLACES_OF_DATASETS = """
select distinct partition from write
where environment = %s and node_kind = 'dataset' and node_id = any(%s)
"""


def partitions_of(connection: Connection, environment: int, datasets: Iterable[int]) -> set[str]:
    """Every partition of these datasets that a run has a claim on."""
    return {row[0] for row in connection.execute(PLACES_OF_DATASETS, [environment, list(datasets)])}


CANONICAL = "select id, canonical_id from dataset where environment = %s and id = any(%s) and id <> canonical_id"


def canonical(connection: Connection, environment: int, places: set[Place]) -> set[Place]:
    """The same places, each dataset under the name that stands for it."""
    ids = [node for kind, node, _ in places if kind == "dataset"]
    stands = dict(connection.execute(CANONICAL, [environment, ids]).fetchall()) if ids else {}
    return {(kind, stands.get(node, node) if kind == "dataset" else node, key) for kind, node, key in places}


CLEAR = """
delete from partition_state s
using unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
where s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node and s.partition = w.partition
"""
# Between runs of one partition the later started wins, then the run's identity. Mapped instances of one task are
# one run here: it is ready when all of them are. `claimed` sees a dataset's claims under all of its names.
RESOLVE = """
with wanted (kind, node, partition) as (
    select * from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[])
), named (kind, node, partition, member) as (
    select kind, node, partition, node from wanted where kind = 'task'
    union all
    select w.kind, w.node, w.partition, d.id from wanted w
    join dataset d on d.environment = %(environment)s and d.canonical_id = w.node where w.kind = 'dataset'
), latest as (
    select distinct on (n.kind, n.node, n.partition) n.kind, n.node, n.partition, c.task_id, c.group_run
    from named n cross join lateral (
        select task_id, run, group_run, started_at from write c
        where c.environment = %(environment)s and c.node_kind = n.kind and c.node_id = n.member
          and c.partition = n.partition
        order by started_at desc nulls last, task_id, run desc limit 1
    ) c
    order by n.kind, n.node, n.partition, c.started_at desc nulls last, c.task_id, c.run desc
), believed as (
    select l.kind, l.node, l.partition, l.task_id, l.group_run,
        case when bool_or(c.status = 'failed') then 'failed'
             when bool_or(c.status = 'running') then 'running'
             when bool_and(c.status = 'skipped') then 'skipped' else 'ready' end::partition_status as status,
        case when bool_or(c.status = 'failed') then max(c.run_state)
             when bool_or(c.status = 'running') then min(c.run_state)
             when bool_and(c.status = 'skipped') then 'skipped' else 'succeeded' end::run_state as run_state,
        min(c.evidence) as evidence, max(c.since) as since, max(c.version) as version,
        min(c.producer_task_id) as producer_task_id, min(c.producer_run) as producer_run
    from latest l
    join named n on n.kind = l.kind and n.node = l.node and n.partition = l.partition
    join write c on c.environment = %(environment)s and c.node_kind = n.kind and c.node_id = n.member
      and c.partition = n.partition and c.task_id = l.task_id and c.group_run = l.group_run
    group by l.kind, l.node, l.partition, l.task_id, l.group_run
), succeeded as (
    select distinct on (n.kind, n.node, n.partition) n.kind, n.node, n.partition, c.*
    from named n cross join lateral (
        select producer_task_id, producer_run, since, version, started_at, task_id, run from write c
        where c.environment = %(environment)s and c.node_kind = n.kind and c.node_id = n.member
          and c.partition = n.partition and c.status = 'ready' and not exists (
            select from write other where other.environment = c.environment and other.node_kind = c.node_kind
              and other.node_id = c.node_id and other.partition = c.partition and other.task_id = c.task_id
              and other.group_run = c.group_run and other.status in ('failed', 'running'))
        order by started_at desc nulls last, task_id, run desc limit 1
    ) c
    order by n.kind, n.node, n.partition, c.started_at desc nulls last, c.task_id, c.run desc
)
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, since,
    task_id, run, version, ready_task_id, ready_run, ready_since, ready_version)
select %(environment)s, b.kind, b.node, b.partition, b.status, b.run_state, b.evidence, b.since,
    b.producer_task_id, b.producer_run, b.version, s.producer_task_id, s.producer_run, s.since, s.version
from believed b
left join succeeded s on s.kind = b.kind and s.node = b.node and s.partition = b.partition
"""


def resolve(connection: Connection, environment: int, places: set[Place]) -> None:
    """Makes the states of these partitions anew from the claims on them. Datasets are given by canonical id."""
    ordered = sorted(places)
    parameters = {
        "environment": environment,
        "kinds": [place[0] for place in ordered],
        "nodes": [place[1] for place in ordered],
        "partitions": [place[2] for place in ordered],
    }
    connection.execute(CLEAR, parameters)
    connection.execute(RESOLVE, parameters)
