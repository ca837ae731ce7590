"""The graph as it was at a moment: the edges of the versions that held then, and what had been observed by then.

Guarantees that a step through the past reads the edges of the nodes it is asked about and no others. Datasets stand
under the canonical names of today, as in the graph of now, so that the two can be compared.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from psycopg import Connection

from dataforge.model.event import Relation
from dataforge.model.reference import NodeKind
from dataforge.storage.graph import Description, holder

PastEdge = tuple[int, Relation, NodeKind, int, bool]  # task, relation, kind and id of the other end, declared

# Of a task the version that stood (dataforge.model.version), and the last list of upstream tasks that its
# platform had given, as far as the first and the last time of each list tell. Steps are parts of a task and no nodes.
OF_TASKS = """
select wanted.id, e.relation, e.node_kind, coalesce(dataset.canonical_id, e.node_id), e.declared
from unnest(%(tasks)s::bigint[]) as wanted (id)
join task on task.environment = %(environment)s and task.id = wanted.id and task.kind <> 'step'
cross join lateral (
    select relation, node_kind, unnest(nodes) as node_id, true as declared from version_edge
    where environment = %(environment)s and task_id = wanted.id and version = (
        select version from definition_span
        where environment = %(environment)s and node_kind = 'task' and node_id = wanted.id
            and valid_from <= %(at)s and coalesce(valid_to, 'infinity') > %(at)s
        order by valid_from desc, source limit 1)
    union all
    select relation, node_kind, node_id, false from edge
    where environment = %(environment)s and task_id = wanted.id and origin = 'observed' and first_at <= %(at)s
        and not (relation = 'consumes' and node_kind = 'task' and exists (
            select from upstream_list l where l.environment = %(environment)s and l.task_id = wanted.id))
    union all
    select 'consumes', 'task', unnest(upstreams), false from (
        select upstreams from upstream_list
        where environment = %(environment)s and task_id = wanted.id and first_at <= %(at)s
        order by case when last_at <= %(at)s then last_at else first_at end desc, list limit 1) listed
    offset 0
) e
left join task other
    on e.node_kind = 'task' and other.environment = %(environment)s and other.id = e.node_id
left join dataset
    on e.node_kind = 'dataset' and dataset.environment = %(environment)s and dataset.id = e.node_id
where e.relation = any(%(relations)s::edge_relation[]) and other.kind is distinct from 'step'
order by 1, 2, 3, 4, 5 limit %(most)s
"""


def of_tasks(
    connection: Connection,
    environment: int,
    at: datetime,
    tasks: Iterable[int],
    relations: Collection[Relation],
    most: int,
) -> list[PastEdge]:
    """The edges of these tasks at a moment, at most so many."""
    parameters = {"environment": environment, "at": at, "most": most, "relations": list(relations)}
    return list(connection.execute(OF_TASKS, {**parameters, "tasks": list(tasks)}))


# Whoever has ever named one of these is looked at, and kept if what stood of it then does.
OF_NODES = """
select e.task_id, e.relation, %(kind)s, wanted.stands, e.declared
from unnest(%(stands)s::bigint[], %(ids)s::bigint[]) as wanted (stands, id)
cross join lateral (
    select task_id, relation, true as declared from version_edge v
    where environment = %(environment)s and node_kind = %(kind)s::node_kind and nodes @> array[wanted.id]
        and version = (
        select version from definition_span s
        where s.environment = %(environment)s and s.node_kind = 'task' and s.node_id = v.task_id
            and s.valid_from <= %(at)s and coalesce(s.valid_to, 'infinity') > %(at)s
        order by s.valid_from desc, s.source limit 1)
    union all
    select task_id, relation, false from edge
    where environment = %(environment)s and node_kind = %(kind)s::node_kind and node_id = wanted.id
        and origin = 'observed' and first_at <= %(at)s
        and not (relation = 'consumes' and node_kind = 'task' and exists (
            select from upstream_list l where l.environment = %(environment)s and l.task_id = edge.task_id))
    union all
    select task_id, 'consumes', false from upstream_list u
    where %(kind)s::node_kind = 'task' and environment = %(environment)s and upstreams @> array[wanted.id]
        and list = (
            select list from upstream_list l
            where l.environment = %(environment)s and l.task_id = u.task_id and l.first_at <= %(at)s
            order by case when l.last_at <= %(at)s then l.last_at else l.first_at end desc, l.list limit 1)
    offset 0
) e
join task on task.environment = %(environment)s and task.id = e.task_id and task.kind <> 'step'
where e.relation = any(%(relations)s::edge_relation[])
order by 1, 2, 4, 5 limit %(most)s
"""


def of_nodes(
    connection: Connection,
    environment: int,
    at: datetime,
    nodes: tuple[NodeKind, Sequence[tuple[int, int]]],
    relations: Collection[Relation],
    most: int,
) -> list[PastEdge]:
    """The edges that led to or from these at a moment, at most so many; each node by the id that stands for it, and
    the id that an edge names."""
    kind, named = nodes
    parameters = {
        "environment": environment,
        "at": at,
        "most": most,
        "kind": kind,
        "stands": [stands for stands, _ in named],
        "ids": [node_id for _, node_id in named],
        "relations": list(relations),
    }
    return list(connection.execute(OF_NODES, parameters))


NAMES = "select canonical_id, id from dataset where environment = %s and canonical_id = any(%s)"


def names(connection: Connection, environment: int, datasets: Iterable[int]) -> list[tuple[int, int]]:
    """Canonical datasets, each with every name that stands for it."""
    return [(row[0], row[1]) for row in connection.execute(NAMES, [environment, list(datasets)])]


# Declared then, else observed: of an observation only the last is known.
TASKS = """
select t.id, t.namespace, t.name, coalesce(v.definition ->> 'owner', t.observed -> 'owner' ->> 2),
    coalesce(v.definition ->> 'platform', t.observed_platform)
from task t
left join task_version v on v.environment = t.environment and v.task_id = t.id and v.version = (
    select version from definition_span s
    where s.environment = t.environment and s.node_kind = 'task' and s.node_id = t.id
        and s.valid_from <= %(at)s and coalesce(s.valid_to, 'infinity') > %(at)s
    order by s.valid_from desc, s.source limit 1)
where t.environment = %(environment)s and t.id = any(%(ids)s)
"""


def tasks(connection: Connection, environment: int, at: datetime, ids: Iterable[int]) -> dict[int, Description]:
    """Tasks by id, as they were declared at a moment."""
    rows = connection.execute(TASKS, {"environment": environment, "at": at, "ids": list(ids)})
    return {row[0]: Description(*row[1:]) for row in rows}


# Whose statement of a dataset stands is told by dataforge.model.declaration.holder; a bare name has no owner to tell.
DATASETS = """
select canonical.id, canonical.namespace, canonical.name, (
    select coalesce(v.definition ->> 'owner', d.observed -> 'owner' ->> 2)
    from dataset d
    left join definition_span s on s.environment = d.environment and s.node_kind = 'dataset' and s.node_id = d.id
        and s.valid_from <= %(at)s and coalesce(s.valid_to, 'infinity') > %(at)s
    left join dataset_version v on v.environment = d.environment and v.dataset_id = d.id and v.version = s.version
    where d.environment = canonical.environment and d.canonical_id = canonical.id
        and coalesce(v.definition ->> 'owner', d.observed -> 'owner' ->> 2) is not null
    order by d.id <> canonical.id, d.namespace, d.name, v.definition ->> 'owner' is null, s.source limit 1)
from dataset canonical where environment = %(environment)s and id = any(%(ids)s)
"""


def datasets(connection: Connection, environment: int, at: datetime, ids: Iterable[int]) -> dict[int, Description]:
    """Datasets by id, as they were declared at a moment."""
    rows = connection.execute(DATASETS, {"environment": environment, "at": at, "ids": list(ids)})
    return {
        dataset_id: Description(namespace, name, owner, holder(namespace))
        for dataset_id, namespace, name, owner in rows
    }
