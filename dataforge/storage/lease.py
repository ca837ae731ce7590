"""Leases and the slots of pools that they take."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection

from dataforge.model.claim import Ending

TaskPartition = tuple[int, str]  # task id, partition
RunKey = tuple[int, str]  # task id, run


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
    together: UUID | None = None  # of those that one worker claimed together
    source: Mapping[str, str | int] = {}  # what the worker said of itself


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
LAST_ATTEMPTS = """
select w.task_id, w.run, greatest(
    (select max(attempt) from lease l
     where l.environment = %(environment)s and l.task_id = w.task_id and l.run = w.run),
    (select max(number) from attempt a
     where a.environment = %(environment)s and a.task_id = w.task_id and a.run = w.run),
    0)
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as w (task_id, run)
"""


def last_attempts(connection: Connection, environment: int, runs: Iterable[RunKey]) -> dict[RunKey, int]:
    """Of each run the greatest number of an attempt that was ever claimed or reported of it; 0 for none."""
    wanted = sorted(set(runs))
    tasks, names = [task_id for task_id, _ in wanted], [run for _, run in wanted]
    parameters = {"environment": environment, "tasks": tasks, "runs": names}
    rows = connection.execute(LAST_ATTEMPTS, parameters).fetchall()
    return {(task_id, run): int(last) for task_id, run, last in rows}


GRANT = """
insert into lease
    (environment, claim, task_id, partition, run, attempt, worker, claimed_at, expires_at, together, source)
select %(environment)s, claim, task_id, partition, run, attempt, %(worker)s, %(claimed_at)s, %(expires_at)s,
       %(together)s, %(source)s::jsonb
from unnest(%(claims)s::uuid[], %(tasks)s::bigint[], %(partitions)s::text[], %(runs)s::text[], %(attempts)s::integer[])
    as granted (claim, task_id, partition, run, attempt)
"""
TAKE = """
insert into lease_pool (environment, pool, claim, slots)
select %s, name, claim, slots from unnest(%s::uuid[], %s::text[], %s::integer[]) as taken (claim, name, slots)
"""


def grant(
    connection: Connection, environment: int, granted: Sequence[StoredLease], taken: Sequence[tuple[UUID, str, int]]
) -> None:
    """Stores the leases of one worker, of one moment, with the slots that each takes of a pool."""
    first = granted[0]
    parameters = {
        "environment": environment,
        "worker": first.worker,
        "claimed_at": first.claimed_at,
        "expires_at": first.expires_at,
        "together": first.together,
        "source": msgspec.json.encode(first.source).decode() if first.source else None,
        "claims": [lease.claim for lease in granted],
        "tasks": [lease.task_id for lease in granted],
        "partitions": [lease.partition for lease in granted],
        "runs": [lease.run for lease in granted],
        "attempts": [lease.attempt for lease in granted],
    }
    connection.execute(GRANT, parameters)
    if taken:
        claims, names, slots = (list(column) for column in zip(*taken, strict=True))
        connection.execute(TAKE, [environment, claims, names, slots])


_COLUMNS = """
select l.claim, l.task_id, l.partition, l.run, l.attempt, l.worker, l.claimed_at, l.expires_at, l.ended_at, l.ending,
       l.together, l.source
from lease l
"""
FIND = _COLUMNS + "where l.environment = %s and l.claim = any(%s) order by l.claim for update"


def find(connection: Connection, environment: int, claims: Iterable[UUID]) -> dict[UUID, StoredLease]:
    """The leases of these claims, held for the transaction."""
    rows = connection.execute(FIND, [environment, [*claims]]).fetchall()
    return {row[0]: _stored(row) for row in rows}


# What has begun anew under the same run: its platform says that the attempt before is over.
FOLLOWED = (
    _COLUMNS
    + """
join unnest(%(tasks)s::bigint[], %(partitions)s::text[], %(runs)s::text[], %(attempts)s::integer[])
    as next (task_id, partition, run, attempt)
    on l.task_id = next.task_id and l.partition = next.partition and l.run = next.run and l.attempt < next.attempt
where l.environment = %(environment)s and l.ended_at is null
order by l.claim for update of l
"""
)


def followed(
    connection: Connection, environment: int, attempts: Sequence[tuple[int, str, str, int]]
) -> list[StoredLease]:
    """The leases that are still held on earlier attempts of these, each a task, its partition, a run and a number."""
    tasks, partitions, runs, numbers = zip(*attempts, strict=True)
    parameters = {
        "environment": environment,
        "tasks": [*tasks],
        "partitions": [*partitions],
        "runs": [*runs],
        "attempts": [*numbers],
    }
    return [_stored(row) for row in connection.execute(FOLLOWED, parameters).fetchall()]


# Of attempts whose platform has said by itself how they ended.
REPORTED = """
select l.claim
from unnest(%(claims)s::uuid[], %(tasks)s::bigint[], %(runs)s::text[], %(attempts)s::integer[])
    as l (claim, task_id, run, attempt)
join attempt a on a.environment = %(environment)s and a.task_id = l.task_id and a.run = l.run and a.number = l.attempt
where a.said_state in ('succeeded', 'skipped', 'canceled', 'upstream_failed', 'failed')
"""


def reported(connection: Connection, environment: int, leases: Iterable[StoredLease]) -> set[UUID]:
    """Which of these claims are of attempts that were reported to have ended, by whatever way."""
    listed = list(leases)
    parameters = {
        "environment": environment,
        "claims": [lease.claim for lease in listed],
        "tasks": [lease.task_id for lease in listed],
        "runs": [lease.run for lease in listed],
        "attempts": [lease.attempt for lease in listed],
    }
    return {claim for (claim,) in connection.execute(REPORTED, parameters).fetchall()}


EXTEND = "update lease set expires_at = %s where environment = %s and claim = any(%s)"


def extend(connection: Connection, environment: int, claims: Iterable[UUID], expires_at: datetime) -> None:
    """Lets leases run until another time."""
    connection.execute(EXTEND, [expires_at, environment, [*claims]])


END = """
update lease set ended_at = ended.at, ending = ended.ending
from unnest(%(claims)s::uuid[], %(endings)s::text[], %(moments)s::timestamptz[]) as ended (claim, ending, at)
where lease.environment = %(environment)s and lease.claim = ended.claim
"""
# The slots of what was claimed together stay with one that is still held.
HAND_ON = """
update lease_pool p set claim = (
    select held.claim from lease held
    where held.environment = p.environment and held.together = l.together and held.ended_at is null
    order by held.claim limit 1)
from lease l
where l.environment = %(environment)s and l.claim = any(%(claims)s) and l.together is not null
  and p.environment = l.environment and p.claim = l.claim
  and exists (
    select from lease held
    where held.environment = p.environment and held.together = l.together and held.ended_at is null)
"""
GIVE_BACK = "delete from lease_pool where environment = %(environment)s and claim = any(%(claims)s)"


def end(connection: Connection, environment: int, ended: Sequence[tuple[StoredLease, Ending, datetime]]) -> None:
    """Ends leases, and gives the slots back that they took: of what was claimed together with the last of it."""
    parameters = {
        "environment": environment,
        "claims": [lease.claim for lease, _, _ in ended],
        "endings": [ending for _, ending, _ in ended],
        "moments": [at for _, _, at in ended],
    }
    connection.execute(END, parameters)
    if any(lease.together for lease, _, _ in ended):
        connection.execute(HAND_ON, parameters)
    connection.execute(GIVE_BACK, parameters)


ANY_RAN_OUT = """
select exists (select from lease where environment = %s and ended_at is null and expires_at <= %s)
"""


def any_ran_out(connection: Connection, environment: int, now: datetime) -> bool:
    """Whether a lease ran out whose end nobody has written down yet."""
    row = connection.execute(ANY_RAN_OUT, [environment, now]).fetchone()
    return row is not None and bool(row[0])


RUN_OUT = (
    _COLUMNS
    + """
where l.environment = %s and l.ended_at is null and l.expires_at <= %s
order by l.expires_at, l.claim limit %s for update skip locked
"""
)


def run_out(connection: Connection, environment: int, now: datetime, most: int) -> list[StoredLease]:
    """Leases that ran out and whose end nobody has written down yet, the earliest first."""
    return [_stored(row) for row in connection.execute(RUN_OUT, [environment, now, most]).fetchall()]


def _stored(row: tuple[Any, ...]) -> StoredLease:
    *stored, source = row
    return StoredLease(**dict(zip(StoredLease.__struct_fields__, [*stored, source or {}], strict=True)))
