"""Partition states as lists show them: all partitions of one task or dataset together, in the order of keys."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from psycopg import Connection

from dataforge.model.catalog import LastReady, PartitionItem, RunName
from dataforge.model.filter import PartitionFilter
from dataforge.model.listing import MOST_EXAMINED, Examined, examined
from dataforge.model.reference import NodeKind
from dataforge.model.state import PartitionStatus


class PartitionPlace(msgspec.Struct, frozen=True, array_like=True, tag="partitions"):
    """The place of a partition in the list."""

    kind: Literal["task", "dataset"]
    node_id: int
    partition: str


# Planned with its values each time (prepare=False), so that a filter not given costs nothing and one that is
# given bounds the range of the primary key.
_MATCHING = """
with looked_at as (
    select node_kind, node_id, partition, status, since
    from partition_state
    where environment = %(environment)s
        and {of_node}
        and (%(after_kind)s::node_kind is null or (node_kind, node_id, partition)
            > (%(after_kind)s::node_kind, %(after_node)s::bigint, %(after_partition)s::text))
    order by node_kind, node_id, partition limit %(most)s
), judged as (
    select s.node_kind, s.node_id, s.partition,
        (%(states)s::partition_status[] is null or s.status = any(%(states)s::partition_status[]))
        and (%(partition)s::text is null or s.partition = %(partition)s)
        and (%(namespace)s::text is null or coalesce(t.namespace, d.namespace) = %(namespace)s)
        and (%(owner)s::text is null or coalesce(t.owner, d.owner, '') = %(owner)s)
        and (%(platform)s::text is null or coalesce(t.platform, '') = %(platform)s)
        and (%(since)s::timestamptz is null or coalesce(s.since >= %(since)s::timestamptz, false))
        and (%(until)s::timestamptz is null or coalesce(s.since < %(until)s::timestamptz, false)) as matches,
        row_number() over (order by s.node_kind, s.node_id, s.partition) as place,
        count(*) over () as read
    from looked_at s
    left join task t on s.node_kind = 'task' and t.environment = %(environment)s and t.id = s.node_id
    left join dataset d on s.node_kind = 'dataset' and d.environment = %(environment)s and d.id = s.node_id
)
select node_kind, node_id, partition, matches, read, place
from judged where matches or place = read
order by place limit %(limit)s + 1
"""
MATCHING = _MATCHING.replace(
    "{of_node}",
    """(%(kind)s::node_kind is null or node_kind = %(kind)s::node_kind)
        and (%(node)s::bigint is null or node_id = %(node)s)""",
)


# A page is the begin of a long range in each part. The planner takes the range behind a place to be as short as its
# first column says, which tells nothing where all are of one kind, and would read and sort all of it.
IN_ORDER = "set local enable_sort = off"
AS_EVER = "set local enable_sort = on"


def _rows(connection: Connection, statement: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
    connection.execute(IN_ORDER)
    rows = connection.execute(statement.encode(), given, prepare=False).fetchall()
    connection.execute(AS_EVER)
    return rows


def find(
    connection: Connection,
    environment: int,
    wanted: PartitionFilter,
    node: int | None,
    after: PartitionPlace | None,
) -> Examined[PartitionPlace]:
    """The partitions that one page's stretch holds, of one task or dataset or of all; of those that are to be stale
    all that may be."""
    given = parameters(environment, wanted, after, 1) | {"node": node}
    return _examined(_rows(connection, MATCHING, given), given["most"])


# `asked.place` is the node's place among those asked for, `page.place` the partition's among the node's.
MATCHING_OF_EACH = f"""
select asked.place, page.node_kind, page.node_id, page.partition, page.matches, page.read
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[]) with ordinality as asked (kind, id, place)
cross join lateral ({_MATCHING.replace("{of_node}", "node_kind = asked.kind and node_id = asked.id")}) page
order by asked.place, page.place
"""  # noqa: S608  # both are literals


def find_of_each(
    connection: Connection,
    environment: int,
    wanted: PartitionFilter,
    nodes: Sequence[tuple[NodeKind, int]],
    after: PartitionPlace | None,
) -> list[Examined[PartitionPlace]]:
    """The same for each of these nodes, by one statement; what is read for a filter is shared among them."""
    given = parameters(environment, wanted, after, len(nodes))
    given |= {"kinds": [kind for kind, _ in nodes], "nodes": [node for _, node in nodes]}
    found: list[list[tuple[Any, ...]]] = [[] for _ in nodes]
    for place, *row in _rows(connection, MATCHING_OF_EACH, given):
        found[place - 1].append(tuple(row))
    return [_examined(rows, given["most"]) for rows in found]


def parameters(environment: int, wanted: PartitionFilter, after: PartitionPlace | None, share: int) -> dict[str, Any]:
    """What both are given, where `share` nodes are asked for at once; `most` is how many rows are read of each."""
    return {
        **msgspec.structs.asdict(wanted),
        "environment": environment,
        "states": states_of(wanted.state),
        "after_kind": after.kind if after else None,
        "after_node": after.node_id if after else None,
        "after_partition": after.partition if after else None,
        "most": _most(wanted, share),
    }


def _most(wanted: PartitionFilter, share: int) -> int:
    filtered = wanted != PartitionFilter(kind=wanted.kind, limit=wanted.limit, cursor=wanted.cursor)
    enough = wanted.limit + 1
    if not filtered:
        return enough
    return MOST_EXAMINED if share == 1 else max(enough, MOST_EXAMINED // share)


def _examined(rows: Sequence[tuple[Any, ...]], most: int) -> Examined[PartitionPlace]:
    places = [(PartitionPlace(*row[:3]), row[3]) for row in rows]
    return examined(places, rows[0][4] if rows else 0, most)


def states_of(state: PartitionStatus | None) -> list[PartitionStatus] | None:
    """The stored states that a filter means: what is stale by what came late is stored so, the rest as ready."""
    if state is PartitionStatus.STALE:
        return [PartitionStatus.READY, PartitionStatus.STALE]
    return None if state is None else [state]


LOAD = """
select s.node_kind, coalesce(t.namespace, d.namespace), coalesce(t.name, d.name), s.partition, s.status, s.since,
    s.evidence, decider.namespace, decider.name, s.run, s.version,
    maker.namespace, maker.name, s.ready_run, s.ready_since, s.ready_version
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[])
    with ordinality as wanted (node_kind, node_id, partition, place)
join partition_state s on s.environment = %(environment)s and s.node_kind = wanted.node_kind
    and s.node_id = wanted.node_id and s.partition = wanted.partition
join task decider on decider.environment = %(environment)s and decider.id = s.task_id
left join task maker on maker.environment = %(environment)s and maker.id = s.ready_task_id
left join task t on s.node_kind = 'task' and t.environment = %(environment)s and t.id = s.node_id
left join dataset d on s.node_kind = 'dataset' and d.environment = %(environment)s and d.id = s.node_id
order by place
"""


def load(connection: Connection, environment: int, places: list[PartitionPlace]) -> list[PartitionItem]:
    """The partitions at these places, in their order."""
    parameters = {
        "environment": environment,
        "kinds": [place.kind for place in places],
        "nodes": [place.node_id for place in places],
        "partitions": [place.partition for place in places],
    }
    return [_shown(row) for row in connection.execute(LOAD, parameters)]


def _shown(row: tuple[Any, ...]) -> PartitionItem:
    ready = row[11:]
    return PartitionItem(
        kind=row[0],
        namespace=row[1],
        name=row[2],
        partition=row[3] or None,
        state=PartitionStatus(row[4]),
        since=row[5],
        evidence=row[6],
        run=RunName(*row[7:10]),
        version=row[10],
        last_ready=LastReady(RunName(*ready[:3]), *ready[3:]) if ready[2] is not None else None,
    )
