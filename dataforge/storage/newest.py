"""The feed of changes read from its end: what became of some datasets between two of its places, the newest first.

Guarantees that what is not shown is bounded by a place: who goes on up to there is shown all of it, and nothing twice
but what has changed again.
"""

from collections.abc import Sequence

import msgspec
from psycopg import Connection

from dataforge.storage.change import IN_ORDER, ChangePlace

# As MATCHING in storage.change, backwards. The last row looked at, where there may be more behind it, is where the next
# question goes on, and is not shown by this one.
NEWEST = """
with looked_at as (
    (select changed_by, node_kind, node_id, partition, 0 as cleared from partition_state
    where environment = %(environment)s and changed_by < pg_snapshot_xmin(pg_current_snapshot())
        and (changed_by, node_kind, node_id, partition)
            > (%(after)s::text::xid8, %(after_kind)s::node_kind, %(after_node)s::bigint, %(after_key)s::text)
        and (changed_by, node_kind, node_id, partition)
            <= (%(before)s::text::xid8, %(before_kind)s::node_kind, %(before_node)s::bigint, %(before_key)s::text)
    order by changed_by desc, node_kind desc, node_id desc, partition desc limit %(most)s)
    union all
    (select changed_by, node_kind, node_id, partition, 1 from partition_cleared
    where environment = %(environment)s and changed_by < pg_snapshot_xmin(pg_current_snapshot())
        and (changed_by, node_kind, node_id, partition)
            > (%(after)s::text::xid8, %(after_kind)s::node_kind, %(after_node)s::bigint, %(after_key)s::text)
        and (changed_by, node_kind, node_id, partition)
            <= (%(before)s::text::xid8, %(before_kind)s::node_kind, %(before_node)s::bigint, %(before_key)s::text)
    order by changed_by desc, node_kind desc, node_id desc, partition desc limit %(most)s)
    order by changed_by desc, node_kind desc, node_id desc, partition desc, cleared limit %(most)s
), counted as (
    select l.*, count(*) over () as read, row_number() over (
        order by l.changed_by desc, l.node_kind desc, l.node_id desc, l.partition desc, l.cleared
    ) as place
    from looked_at l
), judged as (
    select c.*, c.place = %(most)s as ends, c.place < %(most)s
        and c.node_kind = 'dataset' and c.node_id = any(%(ids)s::bigint[]) and (c.cleared = 0 or not exists (
            select from partition_state s where s.environment = %(environment)s and s.node_kind = c.node_kind
                and s.node_id = c.node_id and s.partition = c.partition
        )) as matches
    from counted c
)
select changed_by::text::bigint, node_kind, node_id, partition, matches, count(*) filter (where matches) over ()
from judged where matches or ends
order by place limit %(limit)s + 1
"""


class Newest(msgspec.Struct, frozen=True):
    """What one question looked at."""

    shown: list[ChangePlace]
    rest: ChangePlace | None  # what changed up to this place is not shown yet
    waiting: int  # changes that were seen, and not shown


def find(
    connection: Connection,
    environment: int,
    datasets: Sequence[int],
    span: tuple[ChangePlace, ChangePlace],
    limit: int,
    most: int,
) -> Newest:
    """The changes of these datasets within a span of the feed, behind its begin and up to its end; at most `most`
    changes of whatever it be are looked at."""
    after, before = span
    parameters = {
        "environment": environment,
        "ids": [*datasets],
        "after": str(after.transaction),
        "after_kind": after.kind,
        "after_node": after.node_id,
        "after_key": after.partition,
        "before": str(before.transaction),
        "before_kind": before.kind,
        "before_node": before.node_id,
        "before_key": before.partition,
        "limit": limit,
        "most": most,
    }
    connection.execute(IN_ORDER)
    rows = connection.execute(NEWEST, parameters, prepare=False).fetchall()
    places = [ChangePlace(after.history, *row[:4]) for row in rows]
    shown = [place for place, row in zip(places, rows, strict=True) if row[4]][:limit]
    rest = places[len(shown)] if len(places) > len(shown) else None
    return Newest(shown, rest, rows[0][5] - len(shown) if rows else 0)
