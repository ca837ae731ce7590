"""Every order to quarantine a partition or to release it, as facts that are only added to: what stood at a time."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection

from dataforge.model.control import Control, Order
from dataforge.storage.control import order_row
from dataforge.storage.parameter import texts
from dataforge.storage.partition import Place
from dataforge.storage.record_set import spread

ADD = """
insert into quarantine_order (environment, scope, subject_id, partition, at, said_by, namespace, subject, holds,
    ordered_by, reason)
select %s, scope, subject_id, partition, at, said_by, namespace, subject, value is not distinct from 'true',
    ordered_by, reason
from json_to_recordset(%s::json) as said (scope text, subject_id bigint, partition text, namespace text, subject text,
    value jsonb, at timestamptz, said_by bytea, ordered_by text, reason text)
on conflict do nothing
"""


def add(connection: Connection, environment: int, controls: Iterable[Control]) -> None:
    """Keeps those of these orders that are about quarantines."""
    ordered = {(each.key, each.precedence): each for each in controls if each.key.kind == "quarantine"}
    if ordered:
        connection.execute(ADD, [environment, spread(order_row(ordered[key]) for key in sorted(ordered))])


ADD_STANDING = """
insert into quarantine_order (environment, scope, subject_id, partition, at, said_by, namespace, subject, holds,
    ordered_by, reason)
select environment, scope, subject_id, partition, at, said_by, namespace, subject, value = 'true', ordered_by, reason
from control where environment = %s and kind = 'quarantine'
"""


def add_standing(connection: Connection, environment: int) -> None:
    """Keeps the orders that stand, where a checkpoint from before these facts knows no others."""
    connection.execute(ADD_STANDING, [environment])


STOOD = """
select w.place, c.holds, c.at, c.ordered_by, c.reason
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[], %(moments)s::timestamptz[])
    with ordinality as w (kind, node, partition, moment, place)
cross join lateral (
    select c.* from (
        select w.node as id where w.kind = 'task'
        union all
        select d.id from dataset d
        where w.kind = 'dataset' and d.environment = %(environment)s and d.canonical_id = w.node
    ) member cross join lateral (
        select * from quarantine_order
        where environment = %(environment)s and scope = w.kind::text and subject_id = member.id
            and partition = w.partition and at <= w.moment
        order by at desc, said_by desc limit 1
    ) c
    order by c.at desc, c.said_by desc limit 1
) c
"""


def stood(connection: Connection, environment: int, asked: Sequence[tuple[Place, datetime]]) -> list[Order | None]:
    """For each partition (of datasets by canonical id) and moment the order that stood then."""
    found: list[Order | None] = [None] * len(asked)
    for place, *order in connection.execute(STOOD, stood_of(environment, asked)) if asked else ():
        found[place - 1] = Order(*order)
    return found


def stood_of(environment: int, asked: Sequence[tuple[Place, datetime]]) -> dict[str, Any]:
    """The parameters of `stood`."""
    return {
        "environment": environment,
        "kinds": [kind for (kind, _, _), _ in asked],
        "nodes": [node for (_, node, _), _ in asked],
        "partitions": texts(partition for (_, _, partition), _ in asked),
        "moments": [moment for _, moment in asked],
    }
