"""When partitions were made and when what made them began, of hundreds of thousands of them: column by column."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from psycopg import Connection

from dataforge.storage.backfill_basis import of_nodes
from dataforge.storage.readiness import Node

# When a success was there is what `storage.freshness` says of it. Keys are looked for as those of
# `storage.backfill_basis.STATUSES` are.
STOOD = """
select w.kind, w.node, s.*
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(sets)s::int[]) as w (kind, node, set)
join (
    select set, array_agg(partition) as partitions
    from unnest(%(set)s::int[], %(partitions)s::text[]) as k (set, partition) group by set
) k using (set)
cross join lateral (
    select array_agg(partition), array_agg(status::text), array_agg(ready_task_id), array_agg(ready_run),
        array_agg(extract(epoch from ready_began)::float8),
        array_agg(extract(epoch from
            case when status in ('ready', 'stale') then greatest(ready_since, since) else ready_since end)::float8),
        array_agg(ready_version is not null), array_agg(ready_parent_task_id)
    from partition_state
    where environment = %(environment)s and node_kind = w.kind and node_id = w.node and partition = any (k.partitions)
    having count(*) > 0
) s
"""


class Stood(NamedTuple):
    """How partitions of a node stand, those that anything has happened to: each column by their keys."""

    node: Node
    keys: Sequence[str]
    statuses: Sequence[str]
    tasks: Sequence[int | None]  # of the last success, as what follows
    runs: Sequence[str | None]
    began: Sequence[float | None]  # seconds since 1970
    ended: Sequence[float | None]
    versioned: Sequence[bool]  # whether a version is known
    parents: Sequence[int | None]  # the tasks whose runs these runs ran within


def stood(connection: Connection, environment: int, of: Mapping[Node, Collection[str]]) -> Iterator[Stood]:
    """How these partitions stand, node by node."""
    for kind, node, *columns in connection.execute(STOOD, of_nodes(environment, of)):
        yield Stood((kind, node), *columns)
