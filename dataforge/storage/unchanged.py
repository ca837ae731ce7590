"""Which of many partitions were ever made, and which of them later than somebody began who may have read them.

Guarantees one query however many partitions are asked about, each row of which is found by an index.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.storage.readiness import Place

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


def made(
    connection: Connection, environment: int, places: Mapping[Place, datetime | None]
) -> tuple[set[Place], set[Place]]:
    """Those of these partitions that were ever made; and of them those whose last success is later than the time beside
    them."""
    row = connection.execute(MADE, columns(environment, places)).fetchone() if places else None
    ever, later = row if row is not None else ((), ())
    ordered = list(places)
    return {ordered[number - 1] for number in ever}, {ordered[number - 1] for number in later}


def columns(environment: int, places: Mapping[Place, datetime | None]) -> dict[str, Any]:
    """The parameters of the query."""
    alike: dict[tuple[NodeKind, str, datetime | None], int] = {}
    groups = [alike.setdefault((kind, key, begun), len(alike) + 1) for (kind, _, key), begun in places.items()]
    return {
        "environment": environment,
        "nodes": [node for _, node, _ in places],
        "groups": groups,
        "kinds": [kind for kind, _, _ in alike],
        "partitions": [key for _, key, _ in alike],
        "begun": [begun for _, _, begun in alike],
    }
