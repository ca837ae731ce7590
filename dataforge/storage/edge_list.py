"""Edges of tasks as lists show them, of many tasks at once: what each consumes, produces or runs, as it was declared or
seen.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection

from dataforge.model.edge_item import EdgeFilter, EdgeItem
from dataforge.model.reference import NodeKind


class EdgePlace(msgspec.Struct, frozen=True, array_like=True, tag="edges"):
    """The place of an edge in the list: behind its task and relation, the rest of its key."""

    node_kind: NodeKind
    node_id: int
    origin: str
    source: str


class Found(NamedTuple):
    """An edge and its place."""

    place: EdgePlace
    item: EdgeItem


# The key's own order, so that a page is a range of it. A dataset stands under its canonical name.
LOAD = """
select asked.place, e.node_kind, e.node_id, e.origin, e.source, e.relation, coalesce(t.namespace, c.namespace),
    coalesce(t.name, c.name), e.mapping, e.condition, e.required, e.staleness, e.role, e.first_at, e.last_at
from unnest(%(tasks)s::bigint[]) with ordinality as asked (id, place)
cross join lateral (
    select * from edge
    where environment = %(environment)s and task_id = asked.id and relation = %(relation)s::edge_relation
        and (%(after_kind)s::node_kind is null or (node_kind, node_id, origin, source)
            > (%(after_kind)s::node_kind, %(after_node)s::bigint, %(after_origin)s::origin, %(after_source)s::text))
    order by node_kind, node_id, origin, source limit %(limit)s + 1
) e
left join lateral (
    select namespace, name from task
    where e.node_kind = 'task' and environment = %(environment)s and id = e.node_id offset 0
) t on true
left join lateral (
    select canonical.namespace, canonical.name from dataset named
    join dataset canonical on canonical.environment = %(environment)s and canonical.id = named.canonical_id
    where e.node_kind = 'dataset' and named.environment = %(environment)s and named.id = e.node_id offset 0
) c on true
order by asked.place, e.node_kind, e.node_id, e.origin, e.source
"""


def load(
    connection: Connection, environment: int, wanted: EdgeFilter, tasks: Sequence[int], after: EdgePlace | None
) -> list[list[Found]]:
    """Of each task its edges behind `after`, one more than the limit where there are more."""
    given = parameters(environment, wanted, after) | {"tasks": list(tasks)}
    found: list[list[Found]] = [[] for _ in tasks]
    for place, *row in connection.execute(LOAD, given, prepare=False):
        found[place - 1].append(_found(row))
    return found


def parameters(environment: int, wanted: EdgeFilter, after: EdgePlace | None) -> dict[str, Any]:
    """What the query is given, beside the tasks."""
    return {
        "environment": environment,
        "relation": wanted.relation,
        "after_kind": after.node_kind if after else None,
        "after_node": after.node_id if after else None,
        "after_origin": after.origin if after else None,
        "after_source": after.source if after else None,
        "limit": wanted.limit,
    }


def _found(row: list[Any]) -> Found:
    kind, node_id, origin, source, relation, *rest = row
    item = EdgeItem(relation, kind, rest[0], rest[1], origin, source or None, *rest[2:])
    return Found(EdgePlace(kind, node_id, origin, source), item)
