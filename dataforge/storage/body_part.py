"""The parts that event bodies are kept in, a week of recording each, and how one ends as a whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from dataforge.model.errors import DatabaseUnavailable

REST = "event_body_rest"
_WEEK = timedelta(days=7)


class Part(msgspec.Struct, frozen=True):
    """A part of the table of bodies; the rest has neither a begin nor an end."""

    name: str
    begins: datetime | None
    ends: datetime | None
    size: int  # bytes on disk, indexes included


PARTS = """
select c.relname, pg_total_relation_size(c.oid) from pg_inherits join pg_class c on c.oid = inhrelid
where inhparent = 'event_body'::regclass order by c.relname
"""


def parts(connection: Connection) -> list[Part]:
    """Every part, the oldest first and the rest last."""
    return [_part(name, size) for name, size in connection.execute(PARTS)]


def _part(name: str, size: int) -> Part:
    if name == REST:
        return Part(name, None, None, size)
    begins = datetime.strptime(name.removeprefix("event_body_"), "%Y%m%d").replace(tzinfo=UTC)
    return Part(name, begins, begins + _WEEK, size)


class Content(msgspec.Struct, frozen=True):
    """What a part holds of one environment."""

    environment: int
    name: str
    events: int
    last: int  # the greatest number
    recorded_until: datetime


CONTENT = """
select e.id, e.name, count(*), max(b.number), max(b.recorded_at)
from {part} b join environment e on e.id = b.environment group by e.id, e.name order by e.id
"""


def content(connection: Connection, part: Part) -> list[Content]:
    """What a part holds, by environment. Reads all of its index."""
    statement = sql.SQL(CONTENT).format(part=sql.Identifier(part.name))
    return [Content(*row) for row in connection.execute(statement)]


IMPATIENT = "set local lock_timeout = '5s'"  # whoever reads or writes a body waits behind us, while we wait
DROP = "select drop_event_bodies(%s::regclass)"
REMEMBER = """
insert into event_body_dropped (environment, number) values (%s, %s)
on conflict (environment) do update set number = greatest(event_body_dropped.number, excluded.number)
"""


def drop(connection: Connection, part: Part, held: list[Content]) -> None:
    """Ends a part with all it holds, and remembers up to which number bodies are gone. Raises DatabaseUnavailable where
    others are in its way for five seconds."""
    try:
        connection.execute(IMPATIENT)
        connection.execute(DROP, [part.name])
    except LockNotAvailable as error:
        raise DatabaseUnavailable(f"others read or wrote bodies for too long to drop {part.name}: try again") from error
    for each in held:
        connection.execute(REMEMBER, [each.environment, each.last])


WEEKS_AHEAD = 26
PREMAKE = "select premake_event_bodies(now(), %s)"


def premake(connection: Connection) -> int:
    """Makes the parts of the next half year, and returns how many of them are new."""
    row = connection.execute(PREMAKE, [WEEKS_AHEAD]).fetchone()
    assert row is not None, "a function gives one row"
    return int(row[0])
