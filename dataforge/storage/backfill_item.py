"""The partitions of backfills: what of each may be claimed by now, and how it has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from psycopg import Connection

from dataforge.model.backfill import Fate
from dataforge.storage.backfill_basis import of_tasks
from dataforge.storage.wakeup import TaskPartition


class Item(msgspec.Struct, frozen=True):
    """A partition of a plan, as it is stored."""

    number: int
    task_id: int
    partition: str
    wave: int  # 0: it is left as it is
    again: bool
    cost: float
    reason: str
    waits: int
    feeds: Sequence[int]


COPY = """
copy backfill_item (environment, backfill, number, task_id, partition, wave, again, cost, reason, waits, feeds, state)
from stdin
"""


def add_items(connection: Connection, environment: int, backfill: UUID, items: Iterable[Item]) -> None:
    """Keeps what was planned."""
    with connection.cursor().copy(COPY) as copy:
        for item in items:
            state = "planned" if item.wave else "skipped"
            feeds = list(item.feeds)
            copy.write_row(
                (
                    environment,
                    backfill,
                    item.number,
                    item.task_id,
                    item.partition,
                    item.wave,
                    item.again,
                    item.cost,
                    item.reason,
                    item.waits,
                    "{" + ",".join(map(str, feeds)) + "}",
                    state,
                )
            )


INTERVALS = """
select partition, count(*), count(*) filter (where state = 'succeeded'),
    count(*) filter (where state in ('failed', 'blocked'))
from backfill_item where environment = %s and backfill = %s and wave > 0 group by partition order by partition limit %s
"""


def intervals(connection: Connection, environment: int, backfill: UUID, most: int) -> list[tuple[str, int, int, int]]:
    """By partition key: how many are to be built, are built, and failed."""
    rows = connection.execute(INTERVALS, [environment, backfill, most])
    return [(key, total, built, failed) for key, total, built, failed in rows]


PACE = """
select count(*), min(released_at), max(ended_at) from backfill_item
where environment = %s and backfill = %s and state = 'succeeded' and released_at is not null
"""


def pace(connection: Connection, environment: int, backfill: UUID) -> tuple[int, datetime | None, datetime | None]:
    """How many of its partitions were built, from when to when."""
    row = connection.execute(PACE, [environment, backfill]).fetchone()
    assert row is not None, "an aggregate has a row"
    return row[0], row[1], row[2]


class Listed(msgspec.Struct, frozen=True):
    """An item as lists show it."""

    backfill: UUID
    number: int
    namespace: str
    name: str
    partition: str
    state: Fate
    wave: int
    reason: str
    released_at: datetime | None
    ended_at: datetime | None


ITEMS = """
select i.backfill, i.number, t.namespace, t.name, i.partition, i.state, i.wave, i.reason, i.released_at, i.ended_at
from unnest(%(backfills)s::uuid[]) with ordinality as asked (id, place)
cross join lateral (
    select * from backfill_item
    where environment = %(environment)s and backfill = asked.id and number > %(after)s
        and (%(state)s::text is null or state = %(state)s)
    order by number limit %(limit)s
) i
join task t on t.environment = %(environment)s and t.id = i.task_id
order by asked.place, i.number
"""


def items(
    connection: Connection, environment: int, backfills: Sequence[UUID], state: str | None, after: int, limit: int
) -> list[Listed]:
    """The partitions of each of these backfills behind this number, in the order of its plan."""
    parameters = {
        "environment": environment,
        "backfills": list(backfills),
        "state": state,
        "after": after,
        "limit": limit,
    }
    return [Listed(*row) for row in connection.execute(ITEMS, parameters)]


class UnderWay(msgspec.Struct, frozen=True):
    """An item that was released and of which no success is known yet."""

    number: int
    task_id: int
    partition: str
    failed: bool


UNDER_WAY = """
select number, task_id, partition, state = 'failed' from backfill_item
where environment = %s and backfill = %s and state in ('released', 'failed') order by number
"""


def under_way(connection: Connection, environment: int, backfill: UUID) -> list[UnderWay]:
    """What was released of it and has not ended, or failed."""
    return [UnderWay(*row) for row in connection.execute(UNDER_WAY, [environment, backfill])]


SUCCEED = """
with made as (
    update backfill_item set state = 'succeeded', ended_at = %(now)s, reason = 'it was built'
    where environment = %(environment)s and backfill = %(backfill)s and number = any(%(numbers)s)
        and state in ('planned', 'released', 'failed', 'blocked')
    returning feeds
), below as (
    select number, count(*)::integer as made from made cross join lateral unnest(feeds) as f (number) group by number
)
update backfill_item i set waits = i.waits - below.made
from below where i.environment = %(environment)s and i.backfill = %(backfill)s and i.number = below.number
"""


def succeed(connection: Connection, environment: int, backfill: UUID, numbers: Sequence[int], now: datetime) -> None:
    """Says that these were built: what is below them waits for one less."""
    parameters = {"environment": environment, "backfill": backfill, "numbers": list(numbers), "now": now}
    connection.execute(SUCCEED, parameters)


FAIL = """
update backfill_item i set state = 'failed', ended_at = %(now)s, reason = said.reason
from unnest(%(numbers)s::integer[], %(reasons)s::text[]) as said (number, reason)
where i.environment = %(environment)s and i.backfill = %(backfill)s and i.number = said.number and i.state = 'released'
"""


def fail(connection: Connection, environment: int, backfill: UUID, failed: Mapping[int, str], now: datetime) -> None:
    """Says that these failed, and why."""
    parameters = {
        "environment": environment,
        "backfill": backfill,
        "numbers": list(failed),
        "reasons": list(failed.values()),
        "now": now,
    }
    connection.execute(FAIL, parameters)


FREE = """
update backfill_item set state = 'planned', looked_at = null
where environment = %(environment)s and backfill = %(backfill)s and state = 'blocked'
"""
BLOCK = """
with recursive behind (number) as (
    select f.number from backfill_item i cross join lateral unnest(i.feeds) as f (number)
    where i.environment = %(environment)s and i.backfill = %(backfill)s and i.state = 'failed'
    union
    select f.number from behind b
    join backfill_item i on i.environment = %(environment)s and i.backfill = %(backfill)s and i.number = b.number
    cross join lateral unnest(i.feeds) as f (number)
)
update backfill_item i set state = 'blocked' from behind b
where i.environment = %(environment)s and i.backfill = %(backfill)s and i.number = b.number and i.state = 'planned'
"""


def block(connection: Connection, environment: int, backfill: UUID) -> None:
    """Sets apart what comes behind a failure, and nothing else."""
    parameters = {"environment": environment, "backfill": backfill}
    connection.execute(FREE, parameters)
    connection.execute(BLOCK, parameters)


NEXT = """
select i.number, i.task_id, i.partition, i.again, i.cost from backfill_item i
where i.environment = %(environment)s and i.backfill = %(backfill)s and i.state = 'planned' and i.waits = 0
    and (i.looked_at is null or i.looked_at < %(before)s)
    and not exists (
        select from backfill_item other where other.environment = %(environment)s and other.task_id = i.task_id
            and other.partition = i.partition and other.state = 'released')
order by i.wave, i.number limit %(most)s
"""


class Next(msgspec.Struct, frozen=True):
    """An item that waits for nothing in its plan."""

    number: int
    task_id: int
    partition: str
    again: bool
    cost: float


_SOON = timedelta(seconds=30)  # until what could not be released is looked at again


def due(connection: Connection, environment: int, backfill: UUID, now: datetime, most: int) -> list[Next]:
    """What may be released next, in the order of the plan; what no other backfill has released, nor could be released
    just now."""
    parameters = {"environment": environment, "backfill": backfill, "before": now - _SOON, "most": most}
    return [Next(*row) for row in connection.execute(NEXT, parameters)]


HOLD_BACK = """
update backfill_item i set looked_at = %(now)s, reason = said.reason
from unnest(%(numbers)s::integer[], %(reasons)s::text[]) as said (number, reason)
where i.environment = %(environment)s and i.backfill = %(backfill)s and i.number = said.number
"""


def hold_back(connection: Connection, environment: int, backfill: UUID, held: Mapping[int, str], now: datetime) -> None:
    """Says what each of these waits for that is not in the plan."""
    parameters = {
        "environment": environment,
        "backfill": backfill,
        "numbers": list(held),
        "reasons": list(held.values()),
        "now": now,
    }
    connection.execute(HOLD_BACK, parameters)


RELEASE = """
update backfill_item set state = 'released', released_at = %s
where environment = %s and backfill = %s and number = any(%s) and state = 'planned'
"""


def release(connection: Connection, environment: int, backfill: UUID, numbers: Sequence[int], now: datetime) -> None:
    """Lets these be claimed."""
    connection.execute(RELEASE, [now, environment, backfill, list(numbers)])


SPENT = """
select coalesce(sum(cost), 0) from backfill_item
where environment = %s and backfill = %s and released_at > %s
"""


def spent(connection: Connection, environment: int, backfill: UUID, since: datetime) -> float:
    """The cost of what was released since then."""
    row = connection.execute(SPENT, [environment, backfill, since]).fetchone()
    assert row is not None, "an aggregate has a row"
    return float(row[0])


LEFT = """
select exists (select from backfill_item where environment = %(environment)s and backfill = %(backfill)s
        and state in ('planned', 'released')),
    exists (select from backfill_item where environment = %(environment)s and backfill = %(backfill)s
        and state in ('failed', 'blocked'))
"""


def left(connection: Connection, environment: int, backfill: UUID) -> tuple[bool, bool]:
    """Whether anything of it is still to come, and whether anything has failed."""
    row = connection.execute(LEFT, {"environment": environment, "backfill": backfill}).fetchone()
    assert row is not None, "a query without a table has one row"
    return row[0], row[1]


CANCEL = """
with known as (
    select number, state as was, again from backfill_item
    where environment = %(environment)s and backfill = %(backfill)s and state in ('planned', 'released', 'blocked')
)
update backfill_item i set state = 'canceled', ended_at = %(now)s
from known where i.environment = %(environment)s and i.backfill = %(backfill)s and i.number = known.number
returning i.task_id, i.partition, known.was = 'released', known.again
"""


def cancel(connection: Connection, environment: int, backfill: UUID, now: datetime) -> list[tuple[TaskPartition, bool]]:
    """Gives up what has not ended; returns what had been released, each with whether it was ordered to be run again."""
    rows = connection.execute(CANCEL, {"environment": environment, "backfill": backfill, "now": now})
    return [((task, key), again) for task, key, released, again in rows if released]


RETRY = """
update backfill_item set state = 'planned', again = true, looked_at = null, released_at = null, ended_at = null
where environment = %s and backfill = %s and state = 'failed'
"""


def retry(connection: Connection, environment: int, backfill: UUID) -> int:
    """Plans what failed once more, and what is behind it; returns how many had failed."""
    number = connection.execute(RETRY, [environment, backfill]).rowcount
    block(connection, environment, backfill)
    return number


RELEASED = """
select w.task_id, w.partition, i.backfill
from unnest(%(tasks)s::bigint[], %(partitions)s::text[]) as w (task_id, partition)
cross join lateral (
    select backfill from backfill_item
    where environment = %(environment)s and task_id = w.task_id and partition = w.partition and state = 'released'
    limit 1
) i
"""


def released(connection: Connection, environment: int, places: Sequence[TaskPartition]) -> dict[TaskPartition, UUID]:
    """Those of these partitions that a backfill has released, with which."""
    rows = connection.execute(RELEASED, of_tasks(environment, places))
    return {(task, key): backfill for task, key, backfill in rows}
