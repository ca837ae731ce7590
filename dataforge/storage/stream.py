"""Streams: what was told of watermarks and late data, and the claims that follow from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.stream import Late, Told
from dataforge.model.upstream import LateData
from dataforge.storage.partition import Place
from dataforge.storage.readiness import columns
from dataforge.storage.record_set import spread

EVERY = 0  # the dataset that stands for the task itself and all that it writes


class SaidWatermark(msgspec.Struct, frozen=True):
    """A watermark as an event said it."""

    task_id: int
    dataset_id: int
    at: datetime
    said_at: datetime
    said_by: bytes
    run: str


class SaidLate(msgspec.Struct, frozen=True):
    """Late data as an event said it."""

    task_id: int
    dataset_id: int
    partition: str
    said_at: datetime
    said_by: bytes
    rows: int


KEEP_WATERMARKS = """
insert into watermark (environment, task_id, dataset_id, at, said_at, said_by, run)
select %s, * from json_to_recordset(%s::json) as said (task_id bigint, dataset_id bigint, at timestamptz,
    said_at timestamptz, said_by bytea, run text)
on conflict do nothing
"""
KEEP_STREAMS = "insert into stream (environment, task_id) select %s, unnest(%s::bigint[]) on conflict do nothing"
KEEP_LATE = """
insert into late (environment, task_id, dataset_id, partition, said_at, said_by, rows)
select %s, * from json_to_recordset(%s::json) as said (task_id bigint, dataset_id bigint, partition text,
    said_at timestamptz, said_by bytea, rows bigint)
on conflict do nothing
"""


def keep(connection: Connection, environment: int, told: Sequence[SaidWatermark], late: Sequence[SaidLate]) -> None:
    """Keeps these facts, each once."""
    if told:
        connection.execute(KEEP_WATERMARKS, [environment, spread(map(msgspec.structs.asdict, told))])
        connection.execute(KEEP_STREAMS, [environment, sorted({each.task_id for each in told})])
    if late:
        connection.execute(KEEP_LATE, [environment, spread(map(msgspec.structs.asdict, late))])


STREAMING = """
select t.id, t.partitioning, t.partitioning_origin = 'declared', t.definition ->> 'lateness', s.made_for
from unnest(%(tasks)s::bigint[]) as w (id)
cross join lateral (
    select * from stream where environment = (select %(environment)s::smallint) and task_id = w.id offset 0
) s
cross join lateral (
    select * from task where environment = (select %(environment)s::smallint) and id = w.id offset 0
) t
"""


class Streaming(msgspec.Struct, frozen=True):
    """A task that told of a watermark, how it is cut, and what its claims were made for."""

    task_id: int
    cut: Any
    declared: bool
    lateness: str | None
    made_for: Any


def streaming(connection: Connection, environment: int, tasks: Iterable[int]) -> list[Streaming]:
    """Those of these tasks that ever told of a watermark."""
    rows = connection.execute(STREAMING, {"environment": environment, "tasks": sorted(set(tasks))})
    return [Streaming(*row) for row in rows]


# A task that declares what it produces is taken at its word. Cut and lateness are those of the canonical name.
OUTPUTS = """
select distinct e.task_id, d.id, c.partitioning, coalesce(d.definition ->> 'lateness', c.definition ->> 'lateness'),
    array(select same.id from dataset same
        where same.environment = (select %(environment)s::smallint) and same.canonical_id = d.canonical_id order by 1)
from unnest(%(tasks)s::bigint[]) as w (id)
join edge e on e.environment = (select %(environment)s::smallint) and e.task_id = w.id and e.relation = 'produces'
join dataset d on d.environment = e.environment and d.id = e.node_id
join dataset c on c.environment = e.environment and c.id = d.canonical_id
where e.origin = 'declared' or not exists (
    select from edge other where other.environment = e.environment and other.task_id = e.task_id
      and other.relation = 'produces' and other.origin = 'declared')
order by 1, 2
"""


class Output(msgspec.Struct, frozen=True):
    """A dataset that a task writes, how it is cut where that is declared, its lateness, and the ids of its names."""

    task_id: int
    dataset_id: int
    cut: Any
    lateness: str | None
    names: list[int]


def outputs(connection: Connection, environment: int, tasks: Iterable[int]) -> list[Output]:
    """What these tasks write."""
    rows = connection.execute(OUTPUTS, {"environment": environment, "tasks": list(tasks)})
    return [Output(*row) for row in rows]


WRITERS = """
select distinct e.task_id from unnest(%(datasets)s::bigint[]) as w (id)
join dataset named on named.environment = (select %(environment)s::smallint) and named.id = w.id
join dataset d on d.environment = named.environment and d.canonical_id = named.canonical_id
join edge e on e.environment = named.environment and e.node_kind = 'dataset' and e.node_id = d.id
    and e.relation = 'produces'
join stream s on s.environment = e.environment and s.task_id = e.task_id
"""


def writers(connection: Connection, environment: int, datasets: Iterable[int]) -> set[int]:
    """The streaming tasks that write these datasets."""
    rows = connection.execute(WRITERS, {"environment": environment, "datasets": list(datasets)})
    return {row[0] for row in rows}


FIRST = "select min(at) from watermark where environment = %s and task_id = %s and dataset_id = any(%s)"


def first(connection: Connection, environment: int, task_id: int, datasets: Sequence[int]) -> datetime | None:
    """The earliest watermark that was told of."""
    row = connection.execute(FIRST, [environment, task_id, list(datasets)]).fetchone()
    return row[0] if row else None


# Of an ordinary step forward that is one row: those above the greatest that had been said no later.
TOLD = """
select at, said_at, run from watermark
where environment = %(environment)s and task_id = %(task)s and at > coalesce(%(above)s::timestamptz, '-infinity')
    and dataset_id = any(%(datasets)s)
"""


def told(
    connection: Connection, environment: int, task_id: int, datasets: Sequence[int], above: datetime | None
) -> list[Told]:
    """The watermarks above a moment; all of them without one."""
    parameters = {"environment": environment, "task": task_id, "datasets": list(datasets), "above": above}
    return [Told(*row) for row in connection.execute(TOLD, parameters).fetchall()]


BEFORE = """
select max(at) from watermark
where environment = %(environment)s and task_id = %(task)s and dataset_id = any(%(datasets)s)
    and said_at < %(said_at)s and not said_by = any(%(new)s)
"""


def known_by(
    connection: Connection, environment: int, task_id: int, datasets: Sequence[int], said_at: datetime, new: list[bytes]
) -> datetime | None:
    """The greatest watermark that had been said before a moment, by other events than these."""
    parameters = {"environment": environment, "task": task_id, "datasets": list(datasets), "said_at": said_at}
    row = connection.execute(BEFORE, {**parameters, "new": new}).fetchone()
    return row[0] if row else None


LATE = """
select l.dataset_id, l.partition, l.said_at, l.rows
from unnest(%(partitions)s::text[]) as w (partition) cross join lateral (
    select * from late where environment = %(environment)s and task_id = %(task)s and dataset_id = any(%(datasets)s)
        and partition = w.partition
) l
"""


def late(
    connection: Connection, environment: int, task_id: int, datasets: Sequence[int], partitions: Iterable[str]
) -> dict[str, list[Late]]:
    """What came for these partitions of an output."""
    parameters = {"environment": environment, "task": task_id, "datasets": list(datasets)}
    found: dict[str, list[Late]] = {}
    for _, partition, said_at, rows in connection.execute(
        LATE, {**parameters, "partitions": list(partitions)}
    ).fetchall():
        found.setdefault(partition, []).append(Late(said_at, rows))
    return found


FORGET_TASK = """
delete from write where environment = (select %(environment)s::smallint) and task_id = %(task)s
    and attempt_id = '~watermark'
returning node_kind, node_id, partition
"""


def forget_task(connection: Connection, environment: int, task_id: int) -> set[Place]:
    """Takes all claims of a task's watermarks away, and returns the places they were on."""
    rows = connection.execute(FORGET_TASK, {"environment": environment, "task": task_id})
    return {(row[0], row[1], row[2]) for row in rows}


FORGET = """
delete from write x using unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (k, n, p)
where x.environment = (select %(environment)s::smallint) and x.node_kind = w.k and x.node_id = w.n
    and x.partition = w.p and x.task_id = %(task)s and x.attempt_id = '~watermark'
"""


def forget(connection: Connection, environment: int, task_id: int, places: Iterable[Place]) -> None:
    """Takes the claims of a task's watermarks on these places away."""
    connection.execute(FORGET, {**columns(environment, places), "task": task_id})


class Claimed(msgspec.Struct, frozen=True):
    """A partition that a watermark has passed."""

    place: Place
    run: str
    since: datetime
    stale_since: datetime | None


# It began, for whoever compares it with other runs, just after the event that first said so: its own run, which began
# no later, has a claim of its own on what it names.
CLAIM = """
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since)
select %(environment)s, kind, node, partition, %(task)s, run, '~watermark', run || '/~watermark', %(task)s, run, status,
    'succeeded', 'reported', since + interval '1 microsecond', coalesce(stale_since, since)
from json_to_recordset(%(rows)s::json) as said (kind node_kind, node bigint, partition text, run text,
    status partition_status, since timestamptz, stale_since timestamptz)
"""


def claim(connection: Connection, environment: int, task_id: int, claims: Sequence[Claimed]) -> None:
    """Stores the claims of a task's watermarks."""
    rows = [
        {
            "kind": each.place[0],
            "node": each.place[1],
            "partition": each.place[2],
            "run": each.run,
            "status": "stale" if each.stale_since else "ready",
            "since": each.since,
            "stale_since": each.stale_since,
        }
        for each in claims
    ]
    if rows:
        connection.execute(CLAIM, {"environment": environment, "task": task_id, "rows": spread(rows)})


REMEMBER = """
insert into stream (environment, task_id, made_for) values (%s, %s, %s::jsonb)
on conflict (environment, task_id) do update set made_for = excluded.made_for
"""


def remember(connection: Connection, environment: int, task_id: int, made_for: object) -> None:
    """Keeps what the claims of a task were made for."""
    connection.execute(REMEMBER, [environment, task_id, msgspec.json.encode(made_for).decode()])


def duration(text: str | None) -> timedelta:
    """A declared lateness; none where nobody has declared one."""
    return msgspec.convert(text, timedelta) if text is not None else timedelta(0)


# Of what a stale partition got late: the rows that came after the event that made it ready.
LATE_ROWS = """
select kind, node, partition, sum(rows), max(said_at)
from (
    select distinct w.kind, w.node, w.partition, l.task_id, l.dataset_id, l.said_by, l.said_at, l.rows
    from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
    cross join lateral (
        select array[w.node] as ids, array[0]::bigint[] as told where w.kind = 'task'
        union all
        select array_agg(d.id), array_agg(d.id) || 0::bigint from dataset d
        where w.kind = 'dataset' and d.environment = %(environment)s and d.canonical_id = w.node
        having count(*) > 0
    ) names
    join write c on c.environment = %(environment)s and c.node_kind = w.kind and c.node_id = any(names.ids)
        and c.partition = w.partition and c.attempt_id = '~watermark' and c.status = 'stale'
    join late l on l.environment = %(environment)s and l.task_id = c.task_id and l.partition = w.partition
        and l.dataset_id = any(names.told) and l.said_at >= c.started_at
) found
group by 1, 2, 3
"""


def late_data(connection: Connection, environment: int, places: Collection[Place]) -> dict[Place, LateData]:
    """What came late for those of these partitions (datasets by canonical id) that are stale by it."""
    rows = connection.execute(LATE_ROWS, columns(environment, places)) if places else ()
    return {(row[0], row[1], row[2]): LateData(int(row[3]), row[4]) for row in rows}
