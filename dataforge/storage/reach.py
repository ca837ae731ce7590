"""From a partition to those that wait for it: the edges to follow, with how both of their ends are cut."""

from collections.abc import Iterable, Sequence

import msgspec
from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.storage.readiness import Node, Place, by_kind


class Reader(msgspec.Struct, frozen=True):
    """An edge by which a task waits for a node that changed, with how both ends are cut (JSON); or, of a dataset whose
    updates trigger the task, one that leads to its next run, which is for all that it waits for besides."""

    task_id: int
    node_kind: NodeKind
    node_id: int  # of a dataset the canonical one
    mapping: str
    task_cut: str
    task_cut_declared: bool
    node_cut: str | None
    node_cut_declared: bool
    triggers: bool

    @property
    def node(self) -> Node:
        return (self.node_kind, self.node_id)


# A task that declares what it consumes waits for nothing else that it was seen to read.
READERS = """
with changed (kind, id, canonical) as (
    select 'task'::node_kind, id, id from unnest(%(tasks)s::bigint[]) as t (id)
    union all
    select 'dataset', d.id, d.canonical_id from dataset d
    where d.environment = %(environment)s and d.canonical_id = any(%(datasets)s)
)
select distinct e.task_id, c.kind, c.canonical, e.mapping::text, t.partitioning::text,
    t.partitioning_origin = 'declared', coalesce(u.partitioning, d.partitioning)::text,
    case when c.kind = 'task' then u.partitioning_origin = 'declared' else d.partitioning is not null end,
    e.triggers
from changed c
join edge e on e.environment = %(environment)s and e.node_kind = c.kind and e.node_id = c.id and e.relation = 'consumes'
join task t on t.environment = %(environment)s and t.id = e.task_id
left join task u on c.kind = 'task' and u.environment = %(environment)s and u.id = c.id
left join dataset d on c.kind = 'dataset' and d.environment = %(environment)s and d.id = c.canonical
where e.origin = 'declared' or not exists (
    select from edge other where other.environment = %(environment)s and other.task_id = e.task_id
      and other.relation = 'consumes' and other.origin = 'declared')
"""


def readers(connection: Connection, environment: int, nodes: Iterable[Node]) -> list[Reader]:
    """The edges that lead from these tasks and datasets (by canonical id) to those who wait for them."""
    parameters = {"environment": environment, **by_kind(nodes)}
    return [Reader(*row) for row in connection.execute(READERS, parameters)]


class Product(msgspec.Struct, frozen=True):
    """An edge by which a task writes a dataset, with how both ends are cut (JSON)."""

    task_id: int
    dataset_id: int  # the canonical one
    mapping: str
    task_cut: str
    task_cut_declared: bool
    dataset_cut: str | None


# A task that declares what it produces is taken at its word.
PRODUCTS = """
select distinct e.task_id, c.id, e.mapping::text, t.partitioning::text, t.partitioning_origin = 'declared',
    c.partitioning::text
from edge e
join task t on t.environment = e.environment and t.id = e.task_id
join dataset d on d.environment = e.environment and d.id = e.node_id
join dataset c on c.environment = e.environment and c.id = d.canonical_id
where e.environment = %(environment)s and e.task_id = any(%(tasks)s) and e.relation = 'produces'
  and (e.origin = 'declared' or not exists (
    select from edge other where other.environment = e.environment and other.task_id = e.task_id
      and other.relation = 'produces' and other.origin = 'declared'))
"""


def products(connection: Connection, environment: int, tasks: Iterable[int]) -> list[Product]:
    """The edges by which these tasks write datasets."""
    parameters = {"environment": environment, "tasks": sorted(set(tasks))}
    return [Product(*row) for row in connection.execute(PRODUCTS, parameters)]


RECENT = """
select n.kind, n.id, s.partition from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[]) as n (kind, id)
cross join lateral (
    select partition from partition_state
    where environment = %(environment)s and node_kind = n.kind and node_id = n.id
    order by partition desc limit %(most)s
) s
"""


def recent(connection: Connection, environment: int, nodes: Iterable[Node], most: int) -> set[Place]:
    """The last partitions of each of these nodes that anything has happened to, in the order of their keys."""
    ordered = sorted(set(nodes))
    parameters = {
        "environment": environment,
        "kinds": [kind for kind, _ in ordered],
        "nodes": [node for _, node in ordered],
        "most": most,
    }
    return {(row[0], row[1], row[2]) for row in connection.execute(RECENT, parameters)}


# What is done is not wanted again, unless somebody has ordered it.
WANTED = """
select w.task_id, w.partition from unnest(%(tasks)s::bigint[], %(partitions)s::text[]) as w (task_id, partition)
left join lateral (
    select status from partition_state
    where environment = (select %(environment)s::smallint) and node_kind = 'task' and node_id = w.task_id
        and partition = w.partition offset 0
) s on true
left join lateral (
    select true as ordered from control
    where environment = (select %(environment)s::smallint) and scope = 'task' and subject_id = w.task_id
        and partition = w.partition and kind = 'rerun' limit 1
) c on true
left join lateral (
    select definition ? 'trigger' as triggered from task
    where environment = (select %(environment)s::smallint) and id = w.task_id offset 0
) t on true
where s.status is null or s.status not in ('ready', 'skipped', 'quarantined') or c.ordered or t.triggered
"""


def wanted(connection: Connection, environment: int, places: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of these partitions of tasks that are not done, are to be run again, or that updates trigger."""
    parameters = {
        "environment": environment,
        "tasks": [task for task, _ in places],
        "partitions": [key for _, key in places],
    }
    return {(row[0], row[1]) for row in connection.execute(WANTED, parameters)}
