"""The feed of changes as it is stored: each partition under the transaction that last changed it.

Guarantees that a change is never missed, however late its transaction commits: only those of transactions below the
oldest one that still runs are shown. Behind a reader's place nothing can be added, since every transaction below that
one has ended, and each later one has a greater number. The price is that a transaction which has written and stays
open holds the feed back, whichever database of the cluster it writes to; those that only read do not.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from psycopg import Connection

from dataforge.model.catalog import NodeName
from dataforge.model.change import Change, LastSuccess, Producer, mirror_id
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.model.state import PartitionStatus, RunState

Place = tuple[NodeKind, int, str]  # kind, node id, partition


class ChangePlace(msgspec.Struct, frozen=True, array_like=True, tag="changes"):
    """A place in the feed: behind this partition's change by this transaction of this history."""

    history: str
    transaction: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    kind: NodeKind = "task"
    node_id: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] = -(2**63)
    partition: str = ""


class Horizon(msgspec.Struct, frozen=True):
    """How far the feed may be shown: its history, and the oldest transaction that may still add to it."""

    history: str
    transaction: int


# The numbers of transactions mean something in one cluster, and in one line of its history: a backup that was restored
# up to an earlier moment counts on from there, along a timeline of its own. A dump that is loaded beside or in the
# place of what it was made of goes back as well, in a database or a table with an id of its own. And a place in one
# environment is none in another.
HORIZON = """
select concat_ws('/', (select system_identifier from pg_control_system()),
        (select timeline_id from pg_control_checkpoint()),
        (select oid from pg_database where datname = current_database()),
        'partition_state'::regclass::oid, %s::int),
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint
"""


def horizon(connection: Connection, environment: int) -> Horizon:
    """How far this transaction's snapshot may be shown."""
    row = connection.execute(HORIZON, [environment]).fetchone()
    assert row is not None, "a query without a source has one row"
    return Horizon(*row)


LAST = """
select changed_by::text::bigint, node_kind, node_id, partition from (
    (select changed_by, node_kind, node_id, partition from partition_state
    where environment = %(environment)s and changed_by < pg_snapshot_xmin(pg_current_snapshot())
    order by changed_by desc, node_kind desc, node_id desc, partition desc limit 1)
    union all
    (select changed_by, node_kind, node_id, partition from partition_cleared
    where environment = %(environment)s and changed_by < pg_snapshot_xmin(pg_current_snapshot())
    order by changed_by desc, node_kind desc, node_id desc, partition desc limit 1)
) ends
order by ends.changed_by desc, ends.node_kind desc, ends.node_id desc, ends.partition desc limit 1
"""


def last(connection: Connection, environment: int, history: str) -> ChangePlace:
    """The place behind the last change that may be shown. Not behind the horizon itself: the numbers of transactions
    that left nothing behind are given out again after a crash."""
    row = connection.execute(LAST, {"environment": environment}).fetchone()
    return ChangePlace(history, *row) if row else ChangePlace(history, 0)


# A page is the begin of a long range, which only the index gives in its order. Where statistics are older than the rows
# the planner believes the range to be short, and would read and sort all of it; of each part of the states, too.
IN_ORDER = "select set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)"
# Planned with its values each time (prepare=False), since how many rows a page takes decides the plan. A partition that
# was cleared and has a state again is shown by its state alone. The state comes first where one
# transaction did both, so that a page may end between the two.
MATCHING = """
with looked_at as (
    (select changed_by, node_kind, node_id, partition, 0 as cleared from partition_state
    where environment = %(environment)s and changed_by < pg_snapshot_xmin(pg_current_snapshot())
        and (changed_by, node_kind, node_id, partition)
            > (%(transaction)s::text::xid8, %(after_kind)s::node_kind, %(after_node)s::bigint, %(after)s::text)
    order by changed_by, node_kind, node_id, partition limit %(most)s)
    union all
    (select changed_by, node_kind, node_id, partition, 1 from partition_cleared
    where environment = %(environment)s and changed_by < pg_snapshot_xmin(pg_current_snapshot())
        and (changed_by, node_kind, node_id, partition)
            > (%(transaction)s::text::xid8, %(after_kind)s::node_kind, %(after_node)s::bigint, %(after)s::text)
    order by changed_by, node_kind, node_id, partition limit %(most)s)
    order by changed_by, node_kind, node_id, partition, cleared limit %(most)s
), judged as (
    select l.*, (%(kind)s::node_kind is null or l.node_kind = %(kind)s::node_kind) and held.node_id is null as matches,
        row_number() over (order by l.changed_by, l.node_kind, l.node_id, l.partition, l.cleared) as place,
        count(*) over () as read
    from looked_at l left join lateral (
        select s.node_id from partition_state s where s.environment = %(environment)s and s.node_kind = l.node_kind
            and s.node_id = l.node_id and s.partition = l.partition offset 0
    ) held on l.cleared = 1
)
select changed_by::text::bigint, node_kind, node_id, partition, matches, read
from judged where matches or place = read
order by place limit %(limit)s + 1
"""


class Stretch(msgspec.Struct, frozen=True):
    """What one page looked at."""

    matching: list[ChangePlace]  # up to one more than the page shows
    read_to: ChangePlace  # the last one looked at, whether it matches or not
    full: bool  # whether it stopped there because it had looked at enough


def find(
    connection: Connection, environment: int, after: ChangePlace, limit: int, kind: NodeKind | None, most: int
) -> Stretch:
    """The changes behind a place, oldest transaction first; at most `most` are looked at."""
    parameters = {
        "environment": environment,
        "transaction": str(after.transaction),
        "after_kind": after.kind,
        "after_node": after.node_id,
        "after": after.partition,
        "kind": kind,
        "limit": limit,
        "most": most,
    }
    connection.execute(IN_ORDER)
    rows = connection.execute(MATCHING, parameters, prepare=False).fetchall()
    places = [ChangePlace(after.history, *row[:4]) for row in rows]
    matching = [place for place, row in zip(places, rows, strict=True) if row[4]]
    return Stretch(matching, places[-1] if places else after, bool(rows) and rows[0][5] >= most)


# A dataset's state stands under its canonical name; one that was cleared because that name became another's alias is
# shown under the name it had. The rows are those of the run's claims, each under the name that it wrote to. `offset 0`
# keeps each state and run a look-up, whatever the statistics say.
LOAD = """
select wanted.node_kind, coalesce(t.namespace, d.namespace), coalesce(t.name, d.name), wanted.partition,
    s.status, s.run_state, s.evidence, s.since, s.version, counted.rows, coalesce(t.owner, d.owner, decider.owner),
    decider.namespace, decider.name, s.run, r.attempt, r.state, r.source, r.error,
    s.ready_since, s.ready_version,
    maker.namespace, maker.name, s.ready_run, made.attempt, made.state, made.source, made.error
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[])
    with ordinality as wanted (node_kind, node_id, partition, place)
left join lateral (
    select * from partition_state
    where environment = %(environment)s and node_kind = wanted.node_kind and node_id = wanted.node_id
        and partition = wanted.partition offset 0
) s on true
left join lateral (
    select namespace, name, owner from task where environment = %(environment)s and id = wanted.node_id offset 0
) t on wanted.node_kind = 'task'
left join lateral (
    select namespace, name, owner from dataset where environment = %(environment)s and id = wanted.node_id offset 0
) d on wanted.node_kind = 'dataset'
left join lateral (
    select namespace, name, owner from task where environment = %(environment)s and id = s.task_id offset 0
) decider on true
left join lateral (
    select attempt, state, source, error from run
    where environment = %(environment)s and task_id = s.task_id and run.run = s.run offset 0
) r on true
left join lateral (
    select namespace, name from task where environment = %(environment)s and id = s.ready_task_id offset 0
) maker on true
left join lateral (
    select attempt, state, source, error from run
    where environment = %(environment)s and task_id = s.ready_task_id and run.run = s.ready_run offset 0
) made on true
left join lateral (
    select max(c.rows) as rows from (
        select id from dataset where environment = %(environment)s and canonical_id = wanted.node_id offset 0
    ) member cross join lateral (
        select rows from write where environment = %(environment)s and node_kind = 'dataset' and node_id = member.id
            and partition = wanted.partition and producer_task_id = s.task_id and producer_run = s.run offset 0
    ) c
) counted on wanted.node_kind = 'dataset'
order by place
"""


def load(connection: Connection, environment: int, places: Sequence[Place]) -> list[Change]:
    """The present states of these partitions, in their order; what has no state is missing."""
    parameters = {
        "environment": environment,
        "kinds": [place[0] for place in places],
        "nodes": [place[1] for place in places],
        "partitions": [place[2] for place in places],
    }
    return [_shown(row) for row in connection.execute(LOAD, parameters)]


def _shown(row: Sequence[Any]) -> Change:
    fields = iter(row)
    kind, namespace, name, partition, status = (next(fields) for _ in range(5))
    node, key = (kind, namespace, name), partition or None
    if status is None:
        missing = PartitionStatus.MISSING
        named = mirror_id(node, key, missing)
        return Change(kind=kind, namespace=namespace, name=name, partition=key, status=missing, mirror_id=named)
    state, evidence, since, version, rows, owner = (next(fields) for _ in range(6))
    producer = _producer(fields)
    ready_since, ready_version = next(fields), next(fields)
    maker = _producer(fields)
    said, ended = PartitionStatus(status), RunState(state)
    return Change(
        kind=kind,
        namespace=namespace,
        name=name,
        partition=key,
        status=said,
        state=ended,
        evidence=evidence,
        since=since,
        version=version,
        rows=rows,
        producer=producer,
        owner=owner,
        ready=LastSuccess(since=ready_since, version=ready_version, producer=maker) if maker else None,
        mirror_id=mirror_id(node, key, said, state=ended, producer=producer, since=since, version=version),
    )


def _producer(fields: Iterator[Any]) -> Producer | None:
    namespace, name, run, attempt, state, source, error = (next(fields) for _ in range(7))
    if run is None:
        return None
    known = RunState(state) if state else None
    task = NodeName(namespace, name)
    return Producer(task=task, run=run, attempt=attempt, state=known, source=source or {}, error=error)


# The last partitions of a dataset are the end of one range of the primary key.
LATEST = """
select c.node_kind, c.node_id, c.partition
from (
    select distinct d.canonical_id, n.namespace, n.name
    from unnest(%(ids)s::bigint[]) as asked (id)
    join dataset d on d.environment = %(environment)s and d.id = asked.id
    join dataset n on n.environment = %(environment)s and n.id = d.canonical_id
) named cross join lateral (
    select s.node_kind, s.node_id, s.partition, s.status from partition_state s
    where s.environment = %(environment)s and s.node_kind = 'dataset' and s.node_id = named.canonical_id
    order by s.partition desc limit %(each)s
) c
where cardinality(%(statuses)s::text[]) = 0 or c.status::text = any(%(statuses)s::text[])
order by named.namespace, named.name, c.partition desc
"""


def latest(
    connection: Connection,
    environment: int,
    datasets: Sequence[DatasetRef],
    each: int,
    statuses: Collection[PartitionStatus],
) -> list[Place]:
    """The last partitions of these datasets that have a state, by canonical name and then the newest key first; of
    those the ones in these statuses, where any are named."""
    ids = [dataset.id for dataset in datasets]
    parameters = {"environment": environment, "ids": ids, "each": each, "statuses": [*map(str, statuses)]}
    return [(row[0], row[1], row[2]) for row in connection.execute(LATEST, parameters, prepare=False)]


ADOPT = (
    """
    update partition_state s set changed_by = default from environment e
    where s.environment = e.id and s.changed_by >= pg_snapshot_xmax(pg_current_snapshot())
    """,
    """
    update partition_cleared c set changed_by = default from environment e
    where c.environment = e.id and c.changed_by >= pg_snapshot_xmax(pg_current_snapshot())
    """,
)


def adopt(connection: Connection) -> None:
    """Numbers anew what no transaction of this cluster can have written. A dump that was loaded into a younger cluster
    brings greater numbers than that has reached, and the feed would keep such rows back until it has."""
    for statement in ADOPT:
        connection.execute(statement)
