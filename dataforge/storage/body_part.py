"""The parts that event bodies are kept in, a week of recording each, and how one ends as a whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from psycopg import Connection, sql

from dataforge.storage.part import Part, impatient, listed

TABLE, REST = "event_body", "event_body_rest"
_WEEK = timedelta(days=7)


def parts(connection: Connection) -> list[Part]:
    """Every part, the oldest first and the rest last."""
    return listed(connection, TABLE, REST, _span)


def _span(day: str) -> tuple[datetime, datetime]:
    begins = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    return begins, begins + _WEEK


class Content(msgspec.Struct, frozen=True):
    """What a part holds of one environment."""

    environment: int
    name: str
    events: int
    first: int  # the least number
    last: int  # the greatest number
    recorded_until: datetime


CONTENT = """
select e.id, e.name, count(*), min(b.number), max(b.number), max(b.recorded_at)
from {part} b join environment e on e.id = b.environment group by e.id, e.name order by e.id
"""


def content(connection: Connection, part: str) -> list[Content]:
    """What a part of this name holds, attached or not, by environment. Reads all of its index."""
    statement = sql.SQL(CONTENT).format(part=sql.Identifier(part))
    return [Content(*row) for row in connection.execute(statement)]


DETACH = "select detach_event_bodies(%s::regclass)"
REMEMBER = """
insert into event_body_dropped (environment, number) values (%s, %s)
on conflict (environment) do update set number = greatest(event_body_dropped.number, excluded.number)
"""


def detach(connection: Connection, part: Part, held: list[Content]) -> str:
    """Takes a part from the table with all it holds, and remembers up to which number bodies are gone. Returns the name
    it has from now on. Raises DatabaseUnavailable where others are in its way for five seconds."""
    with impatient(connection, part, "others read or wrote bodies"):
        row = connection.execute(DETACH, [part.name]).fetchone()
    for each in held:
        connection.execute(REMEMBER, [each.environment, each.last])
    assert row is not None, "a function gives one row"
    return str(row[0])


WEEKS_AHEAD = 26
PREMAKE = "select premake_event_bodies(now(), %s)"


def premake(connection: Connection) -> int:
    """Makes the parts of the next half year, and returns how many of them are new."""
    row = connection.execute(PREMAKE, [WEEKS_AHEAD]).fetchone()
    assert row is not None, "a function gives one row"
    return int(row[0])
