"""One step up the graph, by ids alone: which tasks bring what other tasks read."""

from collections.abc import Iterable

from psycopg import Connection

# What is declared and what was observed both lead up: more is found than a task waits for, never less. A task that
# reads what it writes itself comes before nobody.
ABOVE = """
with reading as (
    select t.id, e.node_kind, e.node_id from unnest(%(tasks)s::bigint[]) as t (id)
    cross join lateral (
        select node_kind, node_id, relation from edge
        where environment = %(environment)s and task_id = t.id offset 0
    ) e
    where e.relation = 'consumes'
)
select id, node_id from reading where node_kind = 'task'
union
select r.id, e.task_id from reading r
cross join lateral (
    select canonical_id from dataset where environment = %(environment)s and id = r.node_id offset 0
) d
cross join lateral (
    select id from dataset where environment = %(environment)s and canonical_id = d.canonical_id offset 0
) named
cross join lateral (
    select task_id, relation from edge
    where environment = %(environment)s and node_kind = 'dataset' and node_id = named.id offset 0
) e
where r.node_kind = 'dataset' and e.relation = 'produces' and e.task_id <> r.id
"""


def above(connection: Connection, environment: int, tasks: Iterable[int]) -> list[tuple[int, int]]:
    """Each of these tasks with each task that it comes after: one that it consumes, or that writes what it reads."""
    return connection.execute(ABOVE, {"environment": environment, "tasks": list(tasks)}).fetchall()
