"""The edges of tasks that lie on loops together, and which of those that were observed lead back to earlier partitions.

Guarantees that only the edges of the tasks asked for are read, and of each observed edge the last runs alone.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.event import Relation
from dataforge.model.reference import NodeKind
from dataforge.storage.readiness import Node


class LoopEdge(msgspec.Struct, frozen=True):
    """An edge, with the dataset under the name that it gives it."""

    seen: tuple[datetime, datetime] | None  # of an observed edge, from when until when
    task_id: int
    relation: Relation
    node_kind: NodeKind
    node_id: int
    canonical_id: int  # of a dataset; of a task its own id
    mapping: str  # JSON
    waits: bool  # for partitions, and not for updates alone
    triggers: bool

    @property
    def node(self) -> Node:
        """What it leads to; a dataset under its canonical id."""
        return (self.node_kind, self.canonical_id)

    @property
    def ends(self) -> tuple[Node, Node]:
        """Which comes first, and which after it."""
        task: Node = ("task", self.task_id)
        return (self.node, task) if self.relation == "consumes" else (task, self.node)


EDGES = """
select e.first_at, e.last_at, e.task_id, e.relation, e.node_kind, e.node_id, coalesce(d.canonical_id, e.node_id),
    e.mapping::text, e.condition ->> 'kind' <> 'trigger', e.triggers
from unnest(%(tasks)s::bigint[]) as t (id)
cross join lateral (select * from edge where environment = %(environment)s and task_id = t.id offset 0) e
left join lateral (
    select canonical_id from dataset where environment = %(environment)s and id = e.node_id offset 0
) d on e.node_kind = 'dataset'
where e.relation in ('consumes', 'produces')
order by e.task_id, e.relation, e.node_kind, e.node_id, e.origin
"""


def edges(connection: Connection, environment: int, tasks: Iterable[int]) -> list[LoopEdge]:
    """What these tasks consume and produce, declared or observed, in an order of its own."""
    parameters = {"environment": environment, "tasks": sorted(tasks)}
    rows = connection.execute(EDGES, parameters).fetchall()
    return [LoopEdge((first, last) if first and last else None, *row) for first, last, *row in rows]


# Keys of one granularity are as long as each other, and those of time are ordered as text.
LAGGING = """
select w.task, w.dataset
from unnest(%(tasks)s::bigint[], %(datasets)s::bigint[]) as w (task, dataset)
cross join lateral (
    select bool_and(t.partition ~ '^\\d{4}-\\d\\d' and cardinality(r.partitions) > 0
        and t.partition < all (r.partitions)
        and length(t.partition) = all (select length(key) from unnest(r.partitions) as own (key))) as earlier
    from (
        select task_id, run, attempt_id, partitions from run
        where environment = %(environment)s and task_id = w.task
        order by started_at desc nulls last, run limit 50
    ) r
    join touch t on t.environment = %(environment)s and t.task_id = r.task_id and t.run = r.run
        and t.attempt_id = r.attempt_id
    where t.direction = 'input' and t.dataset_id = w.dataset
) read
where read.earlier
"""


def lagging(connection: Connection, environment: int, reads: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those pairs of a task and a dataset of which the last fifty runs read only partitions of earlier times than their
    own."""
    ordered = sorted(reads)
    parameters = {
        "environment": environment,
        "tasks": [task for task, _ in ordered],
        "datasets": [dataset for _, dataset in ordered],
    }
    return {(row[0], row[1]) for row in connection.execute(LAGGING, parameters)} if ordered else set()
