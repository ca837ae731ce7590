"""The graph as a whole, for the copy of it in memory, and what an answer shows of each of its nodes."""

from collections.abc import Iterable, Sequence
from typing import LiteralString, NamedTuple

import msgspec
from psycopg import Connection, sql

from dataforge.storage import edge
from dataforge.storage.columns import FLAGS, NUMBER, Columns, columns

SNAPSHOT = "set transaction isolation level repeatable read, read only"


def hold_snapshot(connection: Connection) -> None:
    """Lets the transaction, which has just begun, see one state of the database from here to its end."""
    connection.execute(SNAPSHOT)


STEPS = "select id from task where environment = {} and kind = 'step'"
STANDING_FOR = "select id, canonical_id from dataset where environment = {} and canonical_id <> id"


class Read(NamedTuple):
    """All edges of an environment, column by column; which tasks are steps; which dataset stands for another name."""

    edges: Columns
    steps: Columns
    aliases: Columns


def edges(connection: Connection, environment: int) -> Read:
    """The whole graph, datasets under the names that the edges give them."""
    here = sql.Literal(environment)
    return Read(
        edge.all_ends(connection, environment),
        columns(connection, sql.SQL(STEPS).format(here), (("id", NUMBER),)),
        columns(connection, sql.SQL(STANDING_FOR).format(here), (("id", NUMBER), ("canonical", NUMBER))),
    )


class Changes(NamedTuple):
    """What became of the graph: edges that came (`added`) or went; tasks that became steps or are none any more, and
    datasets that stand under another name, as they stand now; and all edges of these as they are now."""

    edges: Columns
    steps: Columns
    names: Columns
    around: Columns


CHANGED_EDGES = """
select task, node, (kind + case change when 'added' then 8 else 0 end)::int2
from graph_log cross join unnest(tasks, nodes, flags) as moved (task, node, kind)
where environment = {environment} and version > {after} and change in ('added', 'removed')
"""
CHANGED_STEPS = """
select id, (kind = 'step')::int::int2 from task where environment = {environment} and id in (
    select unnest(nodes) from graph_log
    where environment = {environment} and version > {after} and change = 'step')
"""
CHANGED_NAMES = """
select id, canonical_id from dataset where environment = {environment} and id in (
    select unnest(nodes) from graph_log
    where environment = {environment} and version > {after} and change = 'name')
"""


def changes(connection: Connection, environment: int, after: int) -> Changes:
    """What became of the graph after this version, as the log has it, which must reach back so far."""

    def read(query: LiteralString, fields: Sequence[tuple[str, str]]) -> Columns:
        said = sql.SQL(query).format(environment=sql.Literal(environment), after=sql.Literal(after))
        return columns(connection, said, fields)

    edges = read(CHANGED_EDGES, edge.FIELDS)
    added = (edges["flags"] & 8) > 0
    steps = read(CHANGED_STEPS, (("id", NUMBER), ("step", FLAGS)))
    names = read(CHANGED_NAMES, (("id", NUMBER), ("canonical", NUMBER)))
    around = edge.ends_around(connection, environment, steps["id"].tolist(), names["id"].tolist())
    return Changes({**edge.told(edges), "added": added}, steps, names, around)


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
