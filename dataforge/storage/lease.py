"""Leases and the slots of pools that they take."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from psycopg import Connection

from dataforge.model.admission import Lease

TaskPartition = tuple[int, str]  # task id, partition
Ending = Literal["completed", "failed", "released", "expired"]


class StoredLease(msgspec.Struct, frozen=True):
    """A lease as it stands."""

    claim: UUID
    task_id: int
    partition: str
    run: str
    attempt: int
    worker: str
    claimed_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ending: Ending | None


HELD = """
select l.task_id, l.partition, l.worker, l.attempt, l.claimed_at, l.expires_at
from unnest(%(tasks)s::bigint[], %(partitions)s::text[]) as w (task_id, partition)
join lease l on l.environment = %(environment)s and l.task_id = w.task_id and l.partition = w.partition
    and l.ended_at is null
"""


def held(connection: Connection, environment: int, places: Iterable[TaskPartition]) -> dict[TaskPartition, Lease]:
    """The leases on these partitions whose end is not written down, though they may have run out."""
    ordered = sorted(set(places))
    parameters = {
        "environment": environment,
        "tasks": [task_id for task_id, _ in ordered],
        "partitions": [partition.replace("\0", "\ufffd") for _, partition in ordered],
    }
    return {(row[0], row[1]): Lease(*row[2:]) for row in connection.execute(HELD, parameters).fetchall()}


POOLS = """
select p.name, p.slots, coalesce(sum(taken.slots) filter (where l.ended_at is null and l.expires_at > %(now)s), 0)
from pool p
left join lease_pool taken on taken.environment = p.environment and taken.pool = p.name
left join lease l on l.environment = taken.environment and l.claim = taken.claim
where p.environment = %(environment)s and p.name = any(%(names)s)
group by p.name, p.slots
"""


def pools(connection: Connection, environment: int, names: Iterable[str], now: datetime) -> dict[str, tuple[int, int]]:
    """Of each declared pool its slots and how many of them leases take."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    rows = connection.execute(POOLS, {"environment": environment, "names": wanted, "now": now})
    return {name: (slots, taken) for name, slots, taken in rows}


# Claims take turns by the environment's lock, so the number cannot be drawn twice; the index would refuse it.
LAST_ATTEMPT = """
select greatest(
    (select max(attempt) from lease where environment = %(environment)s and task_id = %(task)s and run = %(run)s),
    (select max(number) from attempt where environment = %(environment)s and task_id = %(task)s and run = %(run)s),
    0)
"""


def last_attempt(connection: Connection, environment: int, task_id: int, run: str) -> int:
    """The greatest number of an attempt that was ever claimed or reported of this run; 0 for none."""
    parameters = {"environment": environment, "task": task_id, "run": run}
    row = connection.execute(LAST_ATTEMPT, parameters).fetchone()
    assert row is not None, "an aggregate has a row"
    return int(row[0])


GRANT = """
insert into lease (environment, claim, task_id, partition, run, attempt, worker, claimed_at, expires_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
TAKE = """
insert into lease_pool (environment, pool, claim, slots)
select %s, name, %s, slots from unnest(%s::text[], %s::integer[]) as taken (name, slots)
"""


def grant(connection: Connection, environment: int, lease: StoredLease, taken: Mapping[str, int]) -> None:
    """Stores a lease with the slots that it takes, by pool."""
    connection.execute(
        GRANT,
        [
            environment,
            lease.claim,
            lease.task_id,
            lease.partition,
            lease.run,
            lease.attempt,
            lease.worker,
            lease.claimed_at,
            lease.expires_at,
        ],
    )
    if taken:
        connection.execute(TAKE, [environment, lease.claim, list(taken), list(taken.values())])


FIND = """
select claim, task_id, partition, run, attempt, worker, claimed_at, expires_at, ended_at, ending
from lease where environment = %s and claim = %s for update
"""


def find(connection: Connection, environment: int, claim: UUID) -> StoredLease | None:
    """The lease of this claim, held for the transaction."""
    row = connection.execute(FIND, [environment, claim]).fetchone()
    return StoredLease(*row) if row else None


EXTEND = "update lease set expires_at = %s where environment = %s and claim = %s"


def extend(connection: Connection, environment: int, claim: UUID, expires_at: datetime) -> None:
    """Lets a lease run until another time."""
    connection.execute(EXTEND, [expires_at, environment, claim])


END = "update lease set ended_at = %s, ending = %s where environment = %s and claim = any(%s)"
GIVE_BACK = "delete from lease_pool where environment = %s and claim = any(%s)"


def end(connection: Connection, environment: int, claims: Iterable[UUID], ending: Ending, at: datetime) -> None:
    """Ends leases, and gives the slots back that they took."""
    ended = list(claims)
    connection.execute(END, [at, ending, environment, ended])
    connection.execute(GIVE_BACK, [environment, ended])


ANY_RAN_OUT = """
select exists (select from lease where environment = %s and ended_at is null and expires_at <= %s)
"""


def any_ran_out(connection: Connection, environment: int, now: datetime) -> bool:
    """Whether a lease ran out whose end nobody has written down yet."""
    row = connection.execute(ANY_RAN_OUT, [environment, now]).fetchone()
    return row is not None and bool(row[0])


RUN_OUT = """
select claim, task_id, partition, run, attempt, worker, claimed_at, expires_at, ended_at, ending
from lease where environment = %s and ended_at is null and expires_at <= %s
order by expires_at, claim limit %s for update skip locked
"""


def run_out(connection: Connection, environment: int, now: datetime, most: int) -> list[StoredLease]:
    """Leases that ran out and whose end nobody has written down yet, the earliest first."""
    return [StoredLease(*row) for row in connection.execute(RUN_OUT, [environment, now, most]).fetchall()]
