"""Which of many partitions were ever made, and which of them later than somebody began who may have read them.

Guarantees one query however many partitions are asked about, each row of which is found by an index.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.storage.readiness import Node

# Places of one kind, key and time travel as their nodes alone: of hundreds most are alike. As subqueries, so that their
# number decides no plan: to plan it anew each time costs as much as to execute it.
MADE = """
with made as materialized (
    select w.place, alike.begun < case
        when s.status in ('ready', 'stale') then greatest(s.ready_since, s.since) else s.ready_since
    end as later
    from unnest((select %(nodes)s::bigint[]), (select %(groups)s::integer[])) with ordinality as w (node, number, place)
    join unnest((select %(kinds)s::node_kind[]), (select %(partitions)s::text[]), (select %(begun)s::timestamptz[]))
        with ordinality as alike (kind, partition, begun, number) using (number)
    cross join lateral (
        select status, since, ready_since, ready_run from partition_state
        where environment = %(environment)s and node_kind = alike.kind and node_id = w.node
            and partition = alike.partition
        offset 0
    ) s
    where s.ready_run is not null
)
select array(select place from made), array(select place from made where later)
"""


Nodes = dict[str, set[Node]]  # by key: the partitions of these nodes


def made(
    connection: Connection, environment: int, places: Mapping[str, Collection[Node]], begun: Mapping[str, datetime]
) -> tuple[Nodes, Nodes]:
    """Those of these partitions that were ever made; and of them those whose last success is later than the time of
    their key."""
    ordered = [(node, key) for key, nodes in places.items() for node in nodes]
    row = connection.execute(MADE, columns(environment, ordered, begun)).fetchone() if ordered else None
    ever, later = row if row is not None else ((), ())
    return by_key(ordered[number - 1] for number in ever), by_key(ordered[number - 1] for number in later)


def columns(environment: int, places: Iterable[tuple[Node, str]], begun: Mapping[str, datetime]) -> dict[str, Any]:
    """The parameters of the query."""
    alike: dict[tuple[NodeKind, str], int] = {}
    nodes, groups = [], []
    for (kind, node), key in places:
        nodes.append(node)
        groups.append(alike.setdefault((kind, key), len(alike) + 1))
    return {
        "environment": environment,
        "nodes": nodes,
        "groups": groups,
        "kinds": [kind for kind, _ in alike],
        "partitions": [key for _, key in alike],
        "begun": [begun[key] for _, key in alike],
    }


def by_key(places: Iterable[tuple[Node, str]]) -> Nodes:
    """The nodes of partitions, by key."""
    found: Nodes = {}
    for node, key in places:
        found.setdefault(key, set()).add(node)
    return found
