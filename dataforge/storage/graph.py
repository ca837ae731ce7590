"""The graph as a whole, for the copy of it in memory, and what an answer shows of each of its nodes."""

from collections.abc import Iterable

import msgspec
from psycopg import Connection

SNAPSHOT = "set transaction isolation level repeatable read, read only"


def hold_snapshot(connection: Connection) -> None:
    """Lets the transaction, which has just begun, see one state of the database from here to its end."""
    connection.execute(SNAPSHOT)


# A dataset stands under its canonical id. Steps are parts of a task and no nodes.
EDGES = """
select
    (relation = 'consumes' and node_kind = 'dataset')::int,
    case relation when 'consumes' then coalesce(dataset.canonical_id, node_id) else task_id end,
    (relation = 'produces')::int,
    case relation when 'consumes' then task_id else coalesce(dataset.canonical_id, node_id) end,
    (origin = 'declared')::int
from edge
join task on task.environment = edge.environment and task.id = edge.task_id and task.kind <> 'step'
left join task other
    on node_kind = 'task' and other.environment = edge.environment and other.id = edge.node_id
left join dataset
    on node_kind = 'dataset' and dataset.environment = edge.environment and dataset.id = edge.node_id
where edge.environment = %s and other.kind is distinct from 'step'
"""


def edges(connection: Connection, environment: int) -> list[tuple[int, ...]]:
    """Every edge from upstream to downstream: (upstream is a dataset, its id, downstream is a dataset, its id,
    whether it is declared)."""
    return connection.execute(EDGES, [environment], binary=True).fetchall()


class Description(msgspec.Struct, frozen=True):
    """What an answer shows of a node."""

    namespace: str
    name: str
    owner: str | None
    platform: str


TASKS = "select id, namespace, name, owner, platform from task where environment = %s and id = any(%s)"


def tasks(connection: Connection, environment: int, ids: Iterable[int]) -> dict[int, Description]:
    """Tasks by id."""
    rows = connection.execute(TASKS, [environment, list(ids)])
    return {row[0]: Description(*row[1:]) for row in rows}


# The owner of a dataset may have been said under any of its names; the canonical one comes first.
DATASETS = """
select canonical.id, canonical.namespace, canonical.name,
    coalesce(canonical.owner, (
        select alias.owner from dataset alias
        where alias.environment = canonical.environment and alias.canonical_id = canonical.id
            and alias.owner is not null
        order by alias.namespace, alias.name limit 1))
from dataset canonical where environment = %s and id = any(%s)
"""


def datasets(connection: Connection, environment: int, ids: Iterable[int]) -> dict[int, Description]:
    """Datasets by id; what holds one stands in its namespace."""
    rows = connection.execute(DATASETS, [environment, list(ids)])
    return {
        dataset_id: Description(namespace, name, owner, holder(namespace))
        for dataset_id, namespace, name, owner in rows
    }


def holder(namespace: str) -> str:
    """`postgres` of postgres://db:5432, `glue` of arn:aws:glue:...; empty for a namespace of no such form."""
    if namespace.startswith("arn:"):
        return namespace.split(":")[2] if namespace.count(":") >= 2 else ""
    scheme, found, _ = namespace.partition("://")
    return scheme if found else ("file" if namespace == "file" else "")
