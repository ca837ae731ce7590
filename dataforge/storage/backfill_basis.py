"""What plans of backfills are made from: how partitions stand, what runs what, and what runs took of late."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.storage.parameter import texts
from dataforge.storage.readiness import Node, Place, by_node
from dataforge.storage.wakeup import TaskPartition

# Many nodes are asked about by the same keys: those are passed once, and each node with the number of its set of them.
# The keys of a node are looked for together, as an array: since 17 PostgreSQL finds those that lie beside each other in
# the index by one descent, not by one each, which halves the time.
STATUSES = """
select w.kind, w.node, s.status, s.partitions
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(sets)s::int[]) as w (kind, node, set)
join (
    select set, array_agg(partition) as partitions
    from unnest(%(set)s::int[], %(partitions)s::text[]) as k (set, partition) group by set
) k using (set)
cross join lateral (
    select status, array_agg(partition) as partitions from partition_state
    where environment = %(environment)s and node_kind = w.kind and node_id = w.node and partition = any (k.partitions)
    group by status
) s
"""


def standing(
    connection: Connection, environment: int, of: Mapping[Node, Collection[str]]
) -> Iterator[tuple[Node, str, list[str]]]:
    """How these partitions stand, those of a node that stand alike together; what nothing has happened to is left
    out."""
    for kind, node, status, keys in connection.execute(STATUSES, of_nodes(environment, of)):
        yield (kind, node), status, keys


def of_nodes(environment: int, of: Mapping[Node, Collection[str]]) -> dict[str, Any]:
    """What to ask for these partitions: each set of keys once, and each node with the number of its set."""
    numbers: dict[frozenset[str], int] = {}
    sets = [numbers.setdefault(frozenset(keys), len(numbers)) for keys in of.values()]
    return {
        "environment": environment,
        "kinds": [kind for kind, _ in of],
        "nodes": [node for _, node in of],
        "sets": sets,
        "set": [number for keys, number in numbers.items() for _ in keys],
        "partitions": texts(key for keys in numbers for key in keys),
    }


def statuses(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, str]:
    """The same of each of a few partitions."""
    found = standing(connection, environment, by_node(places))
    return {(*node, key): status for node, status, keys in found for key in keys}


ERRORS = """
select w.task_id, w.partition, r.error
from unnest(%(tasks)s::bigint[], %(partitions)s::text[]) as w (task_id, partition)
cross join lateral (
    select task_id, run from partition_state
    where environment = %(environment)s and node_kind = 'task' and node_id = w.task_id and partition = w.partition
    offset 0
) s
cross join lateral (
    select error from run where environment = %(environment)s and task_id = s.task_id and run = s.run offset 0
) r
where r.error is not null
"""


def errors(connection: Connection, environment: int, places: Sequence[TaskPartition]) -> dict[TaskPartition, str]:
    """What the runs that decide these partitions of tasks said was wrong."""
    rows = connection.execute(ERRORS, of_tasks(environment, places))
    return {(task, key): error for task, key, error in rows}


def of_tasks(environment: int, places: Sequence[TaskPartition]) -> dict[str, Any]:
    """The parameters of a query on these partitions of tasks."""
    return {
        "environment": environment,
        "tasks": [task for task, _ in places],
        "partitions": [key for _, key in places],
    }


RUN_BY = """
select asked.id, e.task_id
from unnest(%(tasks)s::bigint[]) as asked (id)
cross join lateral (
    select task_id from edge
    where environment = %(environment)s and node_kind = 'task' and node_id = asked.id and relation = 'runs' offset 0
) e
join task t on t.environment = %(environment)s and t.id = e.task_id and t.kind = 'task'
order by asked.id, e.task_id
"""


def run_by(connection: Connection, environment: int, tasks: Iterable[int]) -> dict[int, list[int]]:
    """Of those of these tasks that others run, such as a Spark application that Airflow submits, by which."""
    found: dict[int, list[int]] = {}
    parameters = {"environment": environment, "tasks": sorted(set(tasks))}
    for task, parent in connection.execute(RUN_BY, parameters):
        found.setdefault(task, []).append(parent)
    return found


class Counted(msgspec.Struct, frozen=True):
    """What of a task counts for caps and budgets."""

    task_id: int
    name: str
    domain: str | None
    cost: float  # of a run
    pools: list[str]


COUNTED = """
select id, name, domain, coalesce((definition -> 'cost')::double precision, 1),
    array(select jsonb_object_keys(coalesce(definition -> 'pools', '{}')))
from task where environment = %(environment)s and id = any(%(tasks)s)
"""


def counted(connection: Connection, environment: int, tasks: Iterable[int]) -> dict[int, Counted]:
    """The same of each of these tasks."""
    rows = connection.execute(COUNTED, {"environment": environment, "tasks": sorted(set(tasks))})
    return {row[0]: Counted(*row) for row in rows}


# The median of the last 20 successes.
RECENT = """
select asked.id, r.seconds
from unnest(%(tasks)s::bigint[]) as asked (id)
cross join lateral (
    select percentile_cont(0.5) within group (order by extract(epoch from ended_at - started_at)) as seconds
    from (
        select started_at, ended_at from run
        where environment = %(environment)s and task_id = asked.id and state = 'succeeded' and ended_at >= started_at
        order by started_at desc nulls last, run limit 20
    ) as last
) r
where r.seconds is not null
"""


def recent(connection: Connection, environment: int, tasks: Iterable[int]) -> dict[int, float]:
    """How many seconds a run of each of these tasks took of late; those without a success are left out."""
    rows = connection.execute(RECENT, {"environment": environment, "tasks": sorted(set(tasks))})
    return {task: float(seconds) for task, seconds in rows}
