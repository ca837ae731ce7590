"""Who is declared to produce datasets, and what their runs claim: what the completeness of a partition follows from.

Guarantees a number of queries that does not grow with the number of datasets or partitions, and a bound on the claims
that are read of one partition.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.completeness import Claimed
from dataforge.model.reference import NodeKind
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.storage.attempt import RunKey
from dataforge.storage.readiness import Place
from dataforge.storage.record_set import Row, spread

MOST_CLAIMS = 2_000  # of one partition under one of its names, the latest started; older ones count as none

DatasetPartition = tuple[int, str]  # canonical dataset id, partition


class Product(msgspec.Struct, frozen=True):
    """That a task is declared to produce a dataset, with how both ends are cut (JSON)."""

    task_id: int
    dataset_id: int  # the canonical one
    name_id: int  # the name that the edge gives it
    names: list[int]  # all of its names
    mapping: str
    task_cut: str
    task_cut_declared: bool
    dataset_cut: str | None
    when: Any  # JSON: what the dataset's declaration says, where it says anything
    namespace: str
    name: str
    owner: str | None
    reads: str | None  # the mapping by which the task also consumes it
    waits_for: list[int]  # tasks, by its declared edges


PRODUCTS = """
with asked as (
    select canonical_id, array_agg(id order by id) as names
    from dataset
    where environment = (select %(environment)s::smallint) and canonical_id in (
        select canonical_id from dataset
        where environment = (select %(environment)s::smallint) and id = any(%(datasets)s))
    group by canonical_id
)
select e.task_id, c.id, e.node_id, asked.names, e.mapping::text, t.partitioning::text,
    t.partitioning_origin = 'declared', c.partitioning::text, c.definition -> 'complete_when', t.namespace, t.name,
    t.owner, own.reads, own.waits_for
from asked
join dataset c on c.environment = (select %(environment)s::smallint) and c.id = asked.canonical_id
cross join lateral unnest(asked.names) as member (id)
cross join lateral (
    select * from edge
    where environment = (select %(environment)s::smallint) and node_kind = 'dataset' and node_id = member.id
        and relation = 'produces' and origin = 'declared' offset 0
) e
join task t on t.environment = (select %(environment)s::smallint) and t.id = e.task_id
cross join lateral (
    select min(o.mapping::text) filter (where o.node_kind = 'dataset' and o.node_id = any(asked.names)) as reads,
        coalesce(array_agg(o.node_id order by o.node_id) filter (where o.node_kind = 'task'), '{}') as waits_for
    from (
        select * from edge
        where environment = (select %(environment)s::smallint) and task_id = e.task_id and relation = 'consumes'
        offset 0
    ) o
    where o.origin = 'declared' and o.condition ->> 'kind' <> 'trigger'
) own
order by c.id, t.namespace, t.name, e.node_id
"""


def products(connection: Connection, environment: int, datasets: Iterable[int]) -> list[Product]:
    """The declared producers of these datasets, given by any of their names."""
    asked = sorted(set(datasets))
    parameters = {"environment": environment, "datasets": asked}
    return [Product(*row) for row in connection.execute(PRODUCTS, parameters).fetchall()] if asked else []


LISTED = """
select d.id, d.partitioning::text, d.definition -> 'complete_when'
from dataset d
where d.environment = (select %(environment)s::smallint) and d.id = any(%(datasets)s)
  and jsonb_typeof(d.definition -> 'complete_when') = 'object'
"""


def listed(connection: Connection, environment: int, datasets: Iterable[int]) -> list[tuple[int, str | None, Any]]:
    """Those of these datasets (by canonical id) that a manifest says when to be complete: id, cut, and what it says."""
    parameters = {"environment": environment, "datasets": sorted(set(datasets))}
    return [(row[0], row[1], row[2]) for row in connection.execute(LISTED, parameters).fetchall()]


# A claim answers for its own task, for the run above that it is laid to (of a Spark job its application), and for the
# task that ran that one, and is for the partitions of the run that it is laid to; that of a watermark for none.
CLAIMED = """
select w.node, w.key, c.task_id, c.producer_task_id, coalesce(c.parent_task_id, above.parent_task_id),
    case when c.attempt_id <> '~watermark' then array_remove(coalesce(c.made_for, array[w.key]), '') end, c.group_run,
    c.run, c.status, c.run_state, c.evidence, c.started_at, c.since, c.past
from json_to_recordset(%(places)s::json) as w (node bigint, key text)
cross join lateral (
    select array_agg(id) as ids from dataset
    where environment = (select %(environment)s::smallint) and canonical_id = w.node
) names
cross join lateral unnest(names.ids) as member (id)
cross join lateral (
    select * from write
    where environment = (select %(environment)s::smallint) and node_kind = 'dataset' and node_id = member.id
        and partition = w.key
    order by started_at desc nulls last, task_id, run, attempt_id limit %(most)s
) c
left join lateral (
    select parent_task_id from attempt
    where environment = (select %(environment)s::smallint) and task_id = c.producer_task_id and run = c.producer_run
        and c.attempt_id = '~watermark'
    order by attempt_id limit 1
) above on true
"""


def claimed(
    connection: Connection, environment: int, places: Sequence[DatasetPartition]
) -> dict[DatasetPartition, list[Claimed]]:
    """The claims on each of these partitions of datasets, given by canonical id."""
    rows = [{"node": node, "key": key} for node, key in sorted(places)]
    parameters = {"environment": environment, "places": spread(rows), "most": MOST_CLAIMS}
    found: dict[DatasetPartition, list[Claimed]] = {}
    for node, key, task, producer, parent, keys, group, run, status, state, evidence, started, since, past in (
        connection.execute(CLAIMED, parameters) if rows else ()
    ):
        claim = Claimed(
            tasks=frozenset(each for each in (task, producer, parent) if each is not None),
            keys=tuple(keys or ()),
            group=(task, group),
            run=run,
            status=PartitionStatus(status),
            run_state=RunState(state),
            evidence=Evidence.of(evidence),
            started_at=started,
            since=since,
            past=past,
        )
        found.setdefault((node, key), []).append(claim)
    return found


# Every claim on these datasets, under any of their names.
_CLAIMS = """
from dataset asked
join dataset d on d.environment = asked.environment and d.canonical_id = asked.canonical_id
cross join lateral (
    select * from write
    where environment = (select %(environment)s::smallint) and node_kind = 'dataset' and node_id = d.id offset 0
) c
where asked.environment = (select %(environment)s::smallint) and asked.id = any(%(datasets)s)
"""
RUNS = f"select distinct c.task_id, c.run {_CLAIMS}"


def runs_of(connection: Connection, environment: int, datasets: Iterable[int]) -> set[RunKey]:
    """Every run with a claim on one of these datasets, under any of their names."""
    parameters = {"environment": environment, "datasets": sorted(set(datasets))}
    return {(row[0], row[1]) for row in connection.execute(RUNS, parameters).fetchall()}


PARTITIONS = f"select distinct d.canonical_id, c.partition {_CLAIMS}"


def partitions_of(connection: Connection, environment: int, datasets: Iterable[int]) -> set[Place]:
    """Every partition of these datasets, under any of their names, that a run has a claim on."""
    asked = sorted(set(datasets))
    rows = connection.execute(PARTITIONS, {"environment": environment, "datasets": asked}) if asked else ()
    return {("dataset", row[0], row[1]) for row in rows}


# Of a large manifest only what its tasks write is read, and by every name of that whether they read it too.
DECLARED = """
with written as materialized (
    select e.task_id, d.canonical_id, e.mapping::text
    from unnest(%(tasks)s::bigint[]) as wanted (id)
    cross join lateral (
        select task_id, node_id, mapping from edge
        where environment = (select %(environment)s::smallint) and task_id = wanted.id and relation = 'produces'
            and origin = 'declared' offset 0
    ) e
    cross join lateral (
        select canonical_id from dataset
        where environment = (select %(environment)s::smallint) and id = e.node_id offset 0
    ) d
)
select task_id, 'produces', 'dataset', canonical_id, mapping from written
union all
select e.task_id, 'consumes', e.node_kind, coalesce(d.canonical_id, e.node_id), e.mapping::text
from (
    select distinct w.task_id from written w
    cross join lateral (
        select id from dataset
        where environment = (select %(environment)s::smallint) and canonical_id = w.canonical_id offset 0
    ) member
    cross join lateral (
        select from edge
        where environment = (select %(environment)s::smallint) and task_id = w.task_id and relation = 'consumes'
            and node_kind = 'dataset' and node_id = member.id and origin = 'declared'
            and condition ->> 'kind' <> 'trigger'
        limit 1
    ) own
) updating
cross join lateral (
    select task_id, node_kind, node_id, mapping from edge
    where environment = (select %(environment)s::smallint) and task_id = updating.task_id and relation = 'consumes'
        and origin = 'declared' and condition ->> 'kind' <> 'trigger' offset 0
) e
left join dataset d
    on e.node_kind = 'dataset' and d.environment = (select %(environment)s::smallint) and d.id = e.node_id
"""
DeclaredEdge = tuple[int, str, NodeKind, int, str]  # task, relation, kind and id (of datasets the canonical), mapping


def declared(connection: Connection, environment: int, tasks: Iterable[int]) -> set[DeclaredEdge]:
    """What these tasks are declared to produce; and of those that update a dataset in place what they consume, beside
    what only triggers them."""
    asked = sorted(set(tasks))
    rows = connection.execute(DECLARED, {"environment": environment, "tasks": asked}) if asked else ()
    return {(row[0], row[1], row[2], row[3], row[4]) for row in rows}


PRODUCED = """
select d.canonical_id from edge e
join dataset d on d.environment = (select %(environment)s::smallint) and d.id = e.node_id
where e.environment = (select %(environment)s::smallint) and e.task_id = any(%(tasks)s) and e.relation = 'produces'
    and e.origin = 'declared'
"""


def produced_by(connection: Connection, environment: int, tasks: Iterable[int]) -> set[int]:
    """The datasets that these tasks are declared to produce, by canonical id."""
    asked = sorted(set(tasks))
    rows = connection.execute(PRODUCED, {"environment": environment, "tasks": asked}) if asked else ()
    return {dataset for (dataset,) in rows}


WHOLES = """
select id, definition -> 'partitioning', definition -> 'complete_when' from dataset
where environment = %(environment)s and id = any(%(datasets)s)
"""


def wholes(connection: Connection, environment: int, datasets: Iterable[int]) -> dict[int, tuple[Any, Any]]:
    """How these datasets are declared to be cut, and when to be complete."""
    asked = sorted(set(datasets))
    rows = connection.execute(WHOLES, {"environment": environment, "datasets": asked}) if asked else ()
    return {row[0]: (row[1], row[2]) for row in rows}


ANY_DECLARED = """
select exists (
    select from edge where environment = %s and node_kind = 'dataset' and node_id = any(%s)
    and relation = 'produces' and origin = 'declared')
"""


def any_declared(connection: Connection, environment: int, datasets: Iterable[int]) -> bool:
    """Whether any task is declared to produce any of these datasets, by exactly these names."""
    row = connection.execute(ANY_DECLARED, [environment, sorted(set(datasets))]).fetchone()
    return row is not None and bool(row[0])


# Whoever updates a partition in place waits for less than the whole of it, so not every step on shows in its state.
WAKE = """
insert into outbox (environment, node_kind, change, nodes, partitions)
select %s, 'dataset', 'ended', array[node], array[key] from json_to_recordset(%s::json) as w (node bigint, key text)
"""


def wake(connection: Connection, environment: int, places: Iterable[DatasetPartition]) -> None:
    """Lets what waits for these partitions be decided on, though their states may be what they were."""
    rows: list[Row] = [{"node": node, "key": key} for node, key in sorted(places)]
    if rows:
        connection.execute(WAKE, [environment, spread(rows)])
