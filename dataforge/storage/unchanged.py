"""Whether anything was made anew behind partitions that were built, told without reading what it was.

Guarantees one query however many partitions are asked about, each row of which is found by an index.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.storage.freshness import Built
from dataforge.storage.readiness import Place

MOST_ABOVE = 100  # places above that are told; where there are more, that there are is all that is said


class Above(msgspec.Struct, frozen=True):
    """What lies directly above some partitions, by every edge that the tasks that made them consume by.

    Places are named by where they stand in what was asked. What is told of errs on one side: a partition without an
    edge that counts may be `suspected`, and what need not have been there may be among `places`, never the other way.
    """

    suspected: frozenset[int]  # something above was made since it began, or which partition it needs is not told here
    readers: frozenset[int]  # they consume datasets, of which their runs may have recorded versions
    rootless: frozenset[int]  # their tasks consume nothing
    cuts: frozenset[tuple[str, bool, str]]  # of the tasks behind `surely`: partitioning, whether declared, and key
    surely: int  # inputs that count whatever else is known, where each cut has its key; no more than one over the most
    places: frozenset[Place]  # all that may be inputs; no more than one over the most


# An edge of the default mapping asks for the key of the partition itself where its node is cut alike, or into keys, or
# where nobody knows how; of what has no partitions for ''. Any other is suspected without a look. Where nobody declared
# how the node is cut, '' may stand for the key.
ABOVE = """
with asked as materialized (
    select w.*, t.partitioning as cut, t.partitioning_origin = 'declared' as declared, e.datasets, e.said
    from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(keys)s::text[], %(begun)s::timestamptz[])
        with ordinality as w (task_id, run, key, begun, place)
    cross join lateral (
        select partitioning, partitioning_origin from task
        where environment = %(environment)s and id = w.task_id offset 0
    ) t
    cross join lateral (
        select bool_or(node_kind = 'dataset') as datasets, bool_or(origin = 'declared') as said from edge
        where environment = %(environment)s and task_id = w.task_id and relation = 'consumes'
    ) e
), needed as materialized (
    select a.place, a.begun, a.task_id, a.run, e.node_kind, n.id as node, n.plain,
        case when n.known and n.kind = 'none' then '' else a.key end as key, n.known,
        n.plain and (n.kind is null or n.kind = 'none' or n.cut = a.cut)
            and (e.origin = 'declared' or not a.said) and e.required and e.staleness <> 'ignore'
            and case e.node_kind
                when 'task' then not a.datasets and not e.condition ->> 'kind' in ('trigger', 'failed', 'skipped')
                else e.condition ->> 'kind' <> 'trigger' and not n.written
            end as counts
    from asked a
    cross join lateral (
        select * from edge
        where environment = %(environment)s and task_id = a.task_id and relation = 'consumes' offset 0
    ) e
    cross join lateral (
        select each.*, each.cut ->> 'kind' as kind, e.mapping = '{"kind": "same"}' and (each.cut is null
            or each.cut ->> 'kind' in ('none', 'static', 'dynamic') or each.cut = a.cut) as plain
        from (
            select id, partitioning as cut, partitioning_origin = 'declared' as known, false as written from task
            where e.node_kind = 'task' and environment = %(environment)s and id = e.node_id
            union all
            select c.id, c.partitioning, c.partitioning is not null, exists (
                select from edge own join dataset o on o.environment = own.environment and o.id = own.node_id
                where own.environment = %(environment)s and own.task_id = a.task_id and own.relation = 'produces'
                    and o.canonical_id = c.id
            )
            from dataset d join dataset c on c.environment = d.environment and c.id = d.canonical_id
            where e.node_kind = 'dataset' and d.environment = %(environment)s and d.id = e.node_id
        ) each
    ) n
), made as materialized (
    select n.place, n.node_kind, n.node, s.partition, n.counts and s.partition = n.key as counts,
        (s.ready_task_id, s.ready_run) <> (n.task_id, n.run) and n.begun < case
            when s.status in ('ready', 'stale') then greatest(s.ready_since, s.since) else s.ready_since
        end as later
    from needed n
    cross join lateral (
        select * from partition_state
        where environment = %(environment)s and node_kind = n.node_kind and node_id = n.node
            and partition = any(case when n.known or n.key = '' then array[n.key] else array[n.key, ''] end) offset 0
    ) s
    where n.plain and s.ready_run is not null
)
select
    array(select place from needed where not plain union select place from made where later),
    array(select place from asked where datasets), array(select place from asked where datasets is null),
    coalesce((select jsonb_agg(jsonb_build_array(cut::text, declared, key)) from (
        select distinct cut, declared, key from asked where datasets is not null
    ) each), '[]'),
    (select count(*) from (
        select distinct node_kind, node, partition from made
        where counts and (node_kind::text, node, partition) not in (
            select * from unnest(%(seen_kinds)s::text[], %(seen_nodes)s::bigint[], %(seen_partitions)s::text[])
        )
        limit %(most)s + 1
    ) each),
    coalesce((select jsonb_agg(jsonb_build_array(node_kind, node, partition)) from (
        select distinct node_kind, node, partition from made limit %(most)s + 1
    ) each), '[]')
"""


def above(
    connection: Connection,
    environment: int,
    built: Sequence[tuple[str, Built]],
    seen: Iterable[Place],
) -> Above:
    """What lies above partitions, each by its key and its last success, and how it stands. `seen` counts as none."""
    row = connection.execute(ABOVE, columns(environment, built, seen)).fetchone()
    assert row is not None, "it has one row whatever is asked"
    suspected, readers, rootless, cuts, surely, places = row
    return Above(
        _places(suspected),
        _places(readers),
        _places(rootless),
        frozenset((cut, declared, key) for cut, declared, key in cuts),
        surely,
        frozenset((kind, node, partition) for kind, node, partition in places),
    )


def columns(environment: int, built: Sequence[tuple[str, Built]], seen: Iterable[Place]) -> dict[str, Any]:
    """The parameters of the query."""
    known = list(seen)
    return {
        "environment": environment,
        "tasks": [each.success.by[0] for _, each in built],
        "runs": [each.success.by[1] for _, each in built],
        "keys": [key for key, _ in built],
        "begun": [each.success.begun for _, each in built],
        "seen_kinds": [place[0] for place in known],
        "seen_nodes": [place[1] for place in known],
        "seen_partitions": [place[2] for place in known],
        "most": MOST_ABOVE,
    }


def _places(numbers: Iterable[int]) -> frozenset[int]:
    return frozenset(number - 1 for number in numbers)


CONSUMED = """
select e.task_id, e.node_kind, coalesce(d.canonical_id, e.node_id)
from unnest(%(tasks)s::bigint[]) as w (id)
cross join lateral (
    select * from edge where environment = %(environment)s and task_id = w.id and relation = 'consumes' offset 0
) e
left join dataset d on e.node_kind = 'dataset' and d.environment = %(environment)s and d.id = e.node_id
where (e.node_kind::text, coalesce(d.canonical_id, e.node_id)) in (
    select * from unnest(%(kinds)s::text[], %(nodes)s::bigint[])
)
"""


def consumed(
    connection: Connection, environment: int, tasks: Iterable[int], nodes: Iterable[tuple[NodeKind, int]]
) -> Mapping[int, set[tuple[NodeKind, int]]]:
    """Which of these nodes (datasets by canonical id) each of the tasks consumes."""
    among = sorted(set(nodes))
    parameters = {
        "environment": environment,
        "tasks": sorted(set(tasks)),
        "kinds": [kind for kind, _ in among],
        "nodes": [node for _, node in among],
    }
    found: dict[int, set[tuple[NodeKind, int]]] = {}
    for task_id, kind, node in connection.execute(CONSUMED, parameters):
        found.setdefault(task_id, set()).add((kind, node))
    return found
