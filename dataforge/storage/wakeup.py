"""Wake-ups: the outbox of what changed, and the partitions that may run now or that something of their own holds."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.storage.readiness import Node
from dataforge.storage.record_set import Row, spread

TaskPartition = tuple[int, str]  # task id, partition

# One announcer an environment at a time: what it writes of a partition rests on what it read of it.
LOCK = "select pg_try_advisory_xact_lock(hashtextextended('dataforge.announcer', %s))"


def try_lock(connection: Connection, environment: int) -> bool:
    """Whether nobody else announces in this environment until the transaction ends."""
    row = connection.execute(LOCK, [environment]).fetchone()
    return row is not None and bool(row[0])


class Changed(msgspec.Struct, frozen=True):
    """A partition that has changed, a node that is declared otherwise, or an order: then there is no node."""

    node_kind: NodeKind | None
    node_id: int
    partition: str
    # declared: it, or an edge of it; listed: a set that cuts the node holds that key, or no more
    change: Literal["began", "ended", "ordered", "declared", "listed"]


# A row holds up to fifty changes, of which there is at least one.
TAKE = """
with oldest as (
    select id, cardinality(nodes) as number from outbox where environment = %(environment)s
    order by id limit %(most)s for update skip locked
), taken as (
    delete from outbox where environment = %(environment)s and id in (
        select id from (select id, sum(number) over (order by id) - number as before from oldest) o
        where before < %(most)s)
    returning node_kind, change, nodes, partitions
)
select node_kind, node_id, partition, change
from taken cross join lateral unnest(nodes, partitions) as c (node_id, partition)
"""


def take(connection: Connection, environment: int, most: int) -> list[Changed]:
    """The oldest changes in the outbox, `most` and the rest of the last row; they are gone when the transaction
    commits."""
    rows = connection.execute(TAKE, {"environment": environment, "most": most})
    return [Changed(*row) for row in rows]


PUT = """
insert into outbox (environment, node_kind, change, nodes, partitions)
select %s, node_kind, 'ordered', array[node_id], array[partition]
from json_to_recordset(%s::json) as said (node_kind node_kind, node_id bigint, partition text)
"""


def put(connection: Connection, environment: int, tasks: Iterable[TaskPartition], *, everything: bool) -> None:
    """Lets these partitions of tasks be decided on, and with `everything` all that waits or is held."""
    rows: list[Row] = [{"node_kind": "task", "node_id": task, "partition": key} for task, key in sorted(set(tasks))]
    if everything:
        rows.append({"node_kind": None, "node_id": 0, "partition": ""})
    if rows:
        connection.execute(PUT, [environment, spread(rows)])


DECLARED = """
insert into outbox (environment, node_kind, change, nodes, partitions)
select %s, node_kind, 'declared', array[node_id], array['']
from unnest(%s::node_kind[], %s::bigint[]) as said (node_kind, node_id)
"""


def declared(connection: Connection, environment: int, nodes: Iterable[Node]) -> None:
    """Lets what waits for something around these tasks and datasets be decided on."""
    ordered = sorted(set(nodes))
    if ordered:
        connection.execute(DECLARED, [environment, [kind for kind, _ in ordered], [node for _, node in ordered]])


LISTED = "select task_id, partition from wakeup where environment = %s and task_id = any(%s)"


def listed(connection: Connection, environment: int, tasks: Iterable[int]) -> set[TaskPartition]:
    """What of these tasks waits or is held."""
    return {(row[0], row[1]) for row in connection.execute(LISTED, [environment, sorted(tasks)])}


DECIDE_ALL = "update wakeup set due_at = %s where environment = %s and (due_at is null or due_at > %s)"


def decide_all(connection: Connection, environment: int, now: datetime) -> None:
    """Lets all that waits or is held be decided on anew."""
    connection.execute(DECIDE_ALL, [now, environment, now])


DUE = """
select task_id, partition from wakeup
where environment = %s and due_at <= %s order by due_at, task_id, partition limit %s
"""


def due(connection: Connection, environment: int, now: datetime, most: int) -> list[TaskPartition]:
    """What is to be decided on anew by now."""
    return [(row[0], row[1]) for row in connection.execute(DUE, [environment, now, most])]


class Wakeup(msgspec.Struct, frozen=True):
    """That a partition may run, or is held by something of its own."""

    task_id: int
    partition: str
    since: datetime
    priority: int
    held: bool
    due_at: datetime | None
    backfill: UUID | None = None  # that has released it: then it stands behind all that is live


# What waits already keeps its place in the order.
SAVE = """
insert into wakeup as known (environment, task_id, partition, since, priority, held, due_at, backfill)
select %s, task_id, partition, since, priority, held, due_at, backfill
from json_to_recordset(%s::json) as said (task_id bigint, partition text, since timestamptz, priority integer,
    held boolean, due_at timestamptz, backfill uuid)
order by task_id, partition
on conflict (environment, task_id, partition) do update set
    since = case when known.held = excluded.held then known.since else excluded.since end,
    priority = excluded.priority, held = excluded.held, due_at = excluded.due_at, backfill = excluded.backfill
"""


def save(connection: Connection, environment: int, wakeups: Sequence[Wakeup]) -> None:
    """Keeps these, each once."""
    if wakeups:
        connection.execute(SAVE, [environment, spread(map(msgspec.structs.asdict, wakeups))])


DROP = """
delete from wakeup using unnest(%s::bigint[], %s::text[]) as gone (task_id, partition)
where environment = %s and wakeup.task_id = gone.task_id and wakeup.partition = gone.partition
"""


def drop(connection: Connection, environment: int, places: Iterable[TaskPartition]) -> None:
    """Forgets what may not run any more."""
    gone = sorted(set(places))
    if gone:
        connection.execute(DROP, [[task for task, _ in gone], [key for _, key in gone], environment])


WAITING = """
select t.namespace, t.name, t.owner, t.platform, w.partition, w.since, w.priority,
    coalesce(t.definition -> 'pools', '{}'), w.backfill::text
from wakeup w join task t on t.environment = w.environment and t.id = w.task_id
where w.environment = %(environment)s and not w.held
    and (w.backfill is not null) = any(%(queues)s::boolean[])
order by (w.backfill is not null), w.priority desc, w.since, w.task_id, w.partition limit %(most)s
"""


class Waiting(msgspec.Struct, frozen=True):
    """A partition that may run and that nobody has claimed."""

    namespace: str
    name: str
    owner: str | None
    platform: str
    partition: str
    since: datetime
    priority: int
    pools: dict[str, int]
    backfill: str | None


def waiting(connection: Connection, environment: int, most: int, *, live: bool, backfills: bool) -> list[Waiting]:
    """What may run, what is live first, then the greatest priority and the longest wait."""
    queues = [queue for queue, wanted in ((False, live), (True, backfills)) if wanted]
    parameters = {"environment": environment, "most": most, "queues": queues}
    return [Waiting(*row) for row in connection.execute(WAITING, parameters)]
