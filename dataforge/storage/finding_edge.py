"""Edges that are declared and were never observed, and edges that were observed and nobody declared.

Guarantees that a page looks at a bounded number of declared tasks, and at their edges and their last runs by index.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec
from psycopg import Connection

from dataforge.model.event import Relation
from dataforge.model.reference import NodeKind, TaskRef

# The tasks by their id, which is a hash, so that a page is a range of the primary key. Of what runs a task (Airflow a
# Spark application) the declared edges speak for it as well.
DECLARED_TASKS = """
select id, namespace, name, owner, declared_by, observed ? 'upstreams', v.declared_at, t.definition is not null
from (
    select * from task
    where environment = %(environment)s and id >= %(from)s
    order by id limit %(most)s
) t
left join lateral (
    select declared_at from task_version
    where environment = %(environment)s and task_id = t.id and version = t.version offset 0
) v on true
order by id
"""


class DeclaredTask(msgspec.Struct, frozen=True):
    """A task, and who declares it since when; nobody where `source` is none."""

    id: int
    namespace: str
    name: str
    owner: str | None
    source: str | None
    lists_upstreams: bool  # its platform says which tasks come before it
    since: datetime | None
    declared: bool

    @property
    def ref(self) -> TaskRef:
        return TaskRef(self.namespace, self.name)


def tasks(connection: Connection, environment: int, begin: int, most: int) -> list[DeclaredTask]:
    """The tasks from this id on, in the order of their ids, declared or not."""
    parameters = {"environment": environment, "from": begin, "most": most}
    return [DeclaredTask(*row) for row in connection.execute(DECLARED_TASKS, parameters)]


class EdgeSeen(msgspec.Struct, frozen=True):
    """An edge of a task as declared or as observed; a dataset stands under its canonical id."""

    task_id: int
    relation: Relation
    node_kind: NodeKind
    node_id: int
    declared: bool
    required: bool
    by: int  # the task that it is an edge of: the task itself, or one that runs it or that it runs
    first_at: datetime | None
    last_at: datetime | None


# An edge of a task itself; declared, of what runs it; observed, of what it runs.
EDGES = """
with family as (
    select w.id, w.id as member, 'self' as role from unnest(%(tasks)s::bigint[]) as w (id)
    union
    select w.id, e.task_id, 'parent' from unnest(%(tasks)s::bigint[]) as w (id)
    cross join lateral (
        select task_id, relation from edge
        where environment = %(environment)s and node_kind = 'task' and node_id = w.id offset 0
    ) e
    where e.relation = 'runs'
    union
    select w.id, e.node_id, 'child' from unnest(%(tasks)s::bigint[]) as w (id)
    cross join lateral (
        select node_id, relation from edge where environment = %(environment)s and task_id = w.id offset 0
    ) e
    where e.relation = 'runs'
)
select f.id, e.relation, e.node_kind, coalesce(d.canonical_id, e.node_id), e.origin = 'declared', e.required, f.member,
    e.first_at, e.last_at
from family f
cross join lateral (select * from edge where environment = %(environment)s and task_id = f.member offset 0) e
left join lateral (
    select canonical_id from dataset where environment = %(environment)s and id = e.node_id offset 0
) d on e.node_kind = 'dataset'
where e.relation in ('consumes', 'produces')
    and (f.role = 'self' or (f.role = 'parent') = (e.origin = 'declared'))
order by f.id, e.relation, e.node_kind, 4, e.first_at, f.member
"""


def edges(connection: Connection, environment: int, tasks: Iterable[int]) -> list[EdgeSeen]:
    """The edges of these tasks, the declared ones of what runs them, and the observed ones of what they run."""
    parameters = {"environment": environment, "tasks": list(tasks)}
    return [EdgeSeen(*row) for row in connection.execute(EDGES, parameters)]


# The last successes of a task since it was declared, and of these those that told of data: which read or wrote any, or
# had something below them that did. Of the last fifty runs no more than that are counted.
TELLING = """
select w.id, count(*), max(r.started_at)
from unnest(%(tasks)s::bigint[], %(since)s::timestamptz[]) as w (id, since)
cross join lateral (
    select * from run
    where environment = %(environment)s and task_id = w.id and started_at >= w.since
    order by started_at desc nulls last, run limit 50
) r
left join lateral (
    select * from attempt
    where environment = %(environment)s and task_id = r.task_id and run = r.run and attempt_id = r.attempt_id offset 0
) own on true
where r.state = 'succeeded' and (
    exists (
        select from touch t where t.environment = %(environment)s and t.task_id = r.task_id and t.run = r.run
            and t.attempt_id = r.attempt_id offset 0)
    or exists (
        select from (
            select * from attempt where environment = %(environment)s and parent_run = own.external_run offset 0
        ) child
        where child.parent_task_id = own.task_id and child.kind <> 'dag' and (
            exists (
                select from touch t where t.environment = %(environment)s and t.task_id = child.task_id
                    and t.run = child.run and t.attempt_id = child.attempt_id offset 0)
            or exists (
                select from (
                    select * from attempt
                    where environment = %(environment)s and parent_run = child.external_run offset 0
                ) step
                join touch t on t.environment = %(environment)s and t.task_id = step.task_id and t.run = step.run
                    and t.attempt_id = step.attempt_id
                where step.parent_task_id = child.task_id))))
group by w.id
"""


class Telling(NamedTuple):
    """How many of a task's last runs told of data, and when the latest of them began."""

    runs: int
    last_at: datetime


def telling(connection: Connection, environment: int, asked: Iterable[tuple[int, datetime]]) -> dict[int, Telling]:
    """Of each task the successes since a time which told of data; none for a task without any."""
    ordered = sorted(asked)
    parameters = {
        "environment": environment,
        "tasks": [task_id for task_id, _ in ordered],
        "since": [since for _, since in ordered],
    }
    rows = connection.execute(TELLING, parameters) if ordered else ()
    return {row[0]: Telling(*cast("tuple[int, datetime]", row[1:])) for row in rows}


# Platforms that list upstream tasks do so at each DAG run's end; so many runs of the task have then been told of.
SUCCEEDED = """
select w.id, count(*), max(r.started_at)
from unnest(%(tasks)s::bigint[], %(since)s::timestamptz[]) as w (id, since)
cross join lateral (
    select * from run
    where environment = %(environment)s and task_id = w.id and started_at >= w.since
    order by started_at desc nulls last, run limit 50
) r
where r.state = 'succeeded'
group by w.id
"""


def succeeded(connection: Connection, environment: int, asked: Iterable[tuple[int, datetime]]) -> dict[int, Telling]:
    """Of each task its successes since a time, whatever they told of."""
    ordered = sorted(asked)
    parameters: dict[str, Any] = {
        "environment": environment,
        "tasks": [task_id for task_id, _ in ordered],
        "since": [since for _, since in ordered],
    }
    rows = connection.execute(SUCCEEDED, parameters) if ordered else ()
    return {row[0]: Telling(*cast("tuple[int, datetime]", row[1:])) for row in rows}
