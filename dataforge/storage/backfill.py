"""Backfills as wholes: what was asked for, where each stands, and what people did with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.types.json import Jsonb

from dataforge.model.backfill import Stage

# One at a time looks after the backfills of an environment. Who needs the environment's lock as well takes that first.
LOCK = "select pg_advisory_xact_lock(hashtextextended('dataforge.backfill', %s))"
TRY_LOCK = "select pg_try_advisory_xact_lock(hashtextextended('dataforge.backfill', %s))"


def lock(connection: Connection, environment: int) -> None:
    """Waits until nobody else looks after the environment's backfills, and keeps others out until the transaction
    ends."""
    connection.execute(LOCK, [environment])


def try_lock(connection: Connection, environment: int) -> bool:
    """Whether nobody else looks after the environment's backfills until the transaction ends."""
    row = connection.execute(TRY_LOCK, [environment]).fetchone()
    return row is not None and bool(row[0])


ADD = """
insert into backfill (environment, id, request, began_at) values (%s, %s, %s, %s)
on conflict (environment, id) do nothing returning true
"""


def add(connection: Connection, environment: int, backfill: UUID, request: Mapping[str, Any], now: datetime) -> bool:
    """Keeps a new backfill; False where there is one of that id."""
    return connection.execute(ADD, [environment, backfill, Jsonb(request), now]).fetchone() is not None


NOTE = "insert into backfill_change (environment, backfill, what, at, by, reason) values (%s, %s, %s, %s, %s, %s)"


def note(
    connection: Connection, environment: int, backfill: UUID, what: str, at: datetime, by: str, reason: str
) -> None:
    """Keeps that somebody did something with it."""
    connection.execute(NOTE, [environment, backfill, what, at, by, reason])


class Working(msgspec.Struct, frozen=True):
    """A backfill, and what was asked for."""

    id: UUID
    request: dict[str, Any]
    state: Stage
    began_at: datetime


class Stored(Working, frozen=True):
    """A backfill as it stands."""

    counts: dict[str, int]  # of its partitions, by state


FIND = """
select b.id, b.request, b.state, b.began_at, b.counts from backfill b
"""
ONE = FIND + "where b.environment = %s and b.id = %s"


def find(connection: Connection, environment: int, backfill: UUID) -> Stored | None:
    """The backfill of that id."""
    row = connection.execute(ONE, [environment, backfill]).fetchone()
    return Stored(*row) if row else None


PAGE = (
    FIND
    + """
where b.environment = %(environment)s and (%(state)s::text is null or b.state = %(state)s)
    and (%(at)s::timestamptz is null or (b.began_at, b.id) < (%(at)s, %(id)s::uuid))
order by b.began_at desc, b.id desc limit %(limit)s
"""
)


def page(
    connection: Connection,
    environment: int,
    state: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Stored]:
    """Backfills, the latest first."""
    at, last = after or (None, None)
    parameters = {"environment": environment, "state": state, "at": at, "id": last, "limit": limit}
    return [Stored(*row) for row in connection.execute(PAGE, parameters)]


CHANGES = """
select what, at, by, reason from backfill_change where environment = %s and backfill = %s order by number desc limit 100
"""


def changes(connection: Connection, environment: int, backfill: UUID) -> list[tuple[str, datetime, str, str]]:
    """What was done with it, the latest first."""
    rows = connection.execute(CHANGES, [environment, backfill])
    return [(what, at, by, reason) for what, at, by, reason in rows]


SET_STATE = "update backfill set state = %s where environment = %s and id = %s"


def set_state(connection: Connection, environment: int, backfill: UUID, state: Stage) -> None:
    """Says where it stands."""
    connection.execute(SET_STATE, [state, environment, backfill])


AT_WORK = """
select id, request, state, began_at from backfill
where environment = %s and state in ('running', 'paused', 'failed') order by began_at, id limit 100
"""


def at_work(connection: Connection, environment: int) -> list[Working]:
    """The backfills that have not ended, the oldest first."""
    return [Working(*row) for row in connection.execute(AT_WORK, [environment])]


RECOUNT = """
update backfill set counts = coalesce((
    select jsonb_object_agg(state, number) from (
        select state, count(*) as number from backfill_item
        where environment = %(environment)s and backfill = %(backfill)s group by state) as found), '{}')
where environment = %(environment)s and id = %(backfill)s
"""


def recount(connection: Connection, environment: int, backfill: UUID) -> None:
    """Counts its partitions by their states anew; whoever has changed one does so in the same transaction."""
    connection.execute(RECOUNT, {"environment": environment, "backfill": backfill})
