"""When partitions were made and when what made them began, of hundreds of thousands of them: column by column."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from psycopg import Connection

from dataforge.model.freshness import RunKey
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
        array_agg(extract(epoch from
            case when status in ('ready', 'stale') then greatest(ready_since, since) else ready_since end)::float8),
        array_agg(ready_version is not null)
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
    ended: Sequence[float | None]  # seconds since 1970
    versioned: Sequence[bool]  # whether a version is known


def stood(connection: Connection, environment: int, of: Mapping[Node, Collection[str]]) -> Iterator[Stood]:
    """How these partitions stand, node by node."""
    for kind, node, *columns in connection.execute(STOOD, of_nodes(environment, of)):
        yield Stood((kind, node), *columns)


# A run of several attempts, mapped instances or shards may have begun before its last attempt did; so it is not simple.
# One without a begin began as it ended, as its claim says it did, unless a run above it tells more of it.
BEGAN = """
select array_agg(w.place), array_agg(extract(epoch from coalesce(r.started_at, r.ended_at))::float8),
    array_agg(a.parent_task_id)
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) with ordinality as w (task_id, run, place)
cross join lateral (
    select attempt_id, group_run, started_at, ended_at, map_index, shards from run
    where environment = %(environment)s and task_id = w.task_id and run = w.run offset 0
) r
cross join lateral (
    select count(*) as number, max(attempt_id) as attempt_id, max(parent_task_id) as parent_task_id from attempt
    where environment = %(environment)s and task_id = w.task_id and run = w.run offset 0
) a
where r.map_index < 0 and r.shards is null and a.number = 1 and a.attempt_id = r.attempt_id
    and (r.started_at is not null or r.ended_at is not null and not exists (
        select from outcome where environment = %(environment)s and task_id = w.task_id and group_run = r.group_run))
    and not exists (select from stream where environment = %(environment)s and task_id = w.task_id)
"""


class Began(NamedTuple):
    """When runs began that are simple."""

    places: Sequence[int]  # of what was asked, those that the columns are about
    started: Sequence[float]  # seconds since 1970
    parents: Sequence[int | None]  # the tasks whose runs they ran within


def began(connection: Connection, environment: int, runs: Sequence[RunKey]) -> Began:
    """When these runs began: those of one attempt, no instance of a mapped task, without shards, of no stream."""
    parameters = {
        "environment": environment,
        "tasks": [task for task, _ in runs],
        "runs": [run for _, run in runs],
    }
    row = connection.execute(BEGAN, parameters).fetchone()
    if row is None or row[0] is None:
        return Began((), (), ())
    places, *columns = row
    return Began([place - 1 for place in places], *columns)
