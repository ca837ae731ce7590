"""The parts that identities of events are kept in, a month of occurrence each, and how one ends as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from psycopg import Connection, sql

from dataforge.storage.part import Part, impatient, listed, month_of

TABLE, REST = "event", "event_rest"


def parts(connection: Connection) -> list[Part]:
    """Every part, the oldest first and the rest last."""
    return listed(connection, TABLE, REST, _span)


def _span(month: str) -> tuple[datetime, datetime]:
    return month_of(datetime.strptime(month, "%Y%m").replace(tzinfo=UTC))


class Identity(NamedTuple):
    """What names an event."""

    environment: int
    occurred_at: datetime
    id: bytes


class Content(msgspec.Struct, frozen=True):
    """What a part holds of one environment."""

    environment: int
    name: str
    events: int
    occurred_until: datetime
    recorded_until: datetime


CONTENT = """
select e.id, e.name, count(*), max(p.occurred_at), max(p.recorded_at)
from {part} p join environment e on e.id = p.environment
where (p.environment, p.occurred_at, p.id) not in (
    select * from unnest(%s::smallint[], %s::timestamptz[], %s::bytea[]))
group by e.id, e.name order by e.id
"""


def content(connection: Connection, part: Part, spared: Sequence[Identity]) -> list[Content]:
    """What a part holds but for those that are `spared`, by environment. Reads all of it."""
    statement = sql.SQL(CONTENT).format(part=sql.Identifier(part.name))
    return [Content(*row) for row in connection.execute(statement, _columns(spared))]


def _columns(identities: Sequence[Identity]) -> list[list[object]]:
    return [[each[place] for each in identities] for place in range(len(Identity._fields))]


SINCE = """
select exists (
    select from unnest(%s::smallint[], %s::bigint[]) as seen (environment, number)
    join event_body b on b.environment = seen.environment and b.number > seen.number
    join {part} p on p.environment = b.environment and p.occurred_at = b.occurred_at and p.id = b.id
)
"""


def recorded_since(connection: Connection, part: Part, last: Mapping[int, int]) -> bool:
    """Whether a part holds anything recorded behind these numbers, by environment. Reads what was recorded since."""
    statement = sql.SQL(SINCE).format(part=sql.Identifier(part.name))
    row = connection.execute(statement, [list(last), list(last.values())]).fetchone()
    return row is not None and bool(row[0])


SPARE = """
select environment, occurred_at, id, number, recorded_at from {part}
where (environment, occurred_at, id) in (select * from unnest(%s::smallint[], %s::timestamptz[], %s::bytea[]))
"""
DROP = "select drop_event_month(%s::regclass)"
KEEP = "insert into event (environment, occurred_at, id, number, recorded_at) values (%s, %s, %s, %s, %s)"
REMEMBER = """
update environment set events_known_from = greatest(events_known_from, %s + interval '1 microsecond') where id = %s
"""


def drop(connection: Connection, part: Part, held: Sequence[Content], spared: Sequence[Identity]) -> None:
    """Ends a part with all it holds but for what is `spared`, which goes to the rest; and remembers from when on events
    are known. Raises DatabaseUnavailable where others are in its way for five seconds."""
    kept = connection.execute(sql.SQL(SPARE).format(part=sql.Identifier(part.name)), _columns(spared)).fetchall()
    with impatient(connection, part, "others recorded"):
        connection.execute(DROP, [part.name])
        for each in held:
            connection.execute(REMEMBER, [each.occurred_until, each.environment])
    for row in kept:
        connection.execute(KEEP, row)


MONTHS_BEHIND, MONTHS_AHEAD = 13, 13
PREMAKE = "select premake_event_months(now() - %s * interval '1 month', %s)"
BEGUN = (
    "select exists (select from pg_inherits where inhparent = 'event'::regclass and inhrelid <> 'event_rest'::regclass)"
)


def premake(connection: Connection) -> int:
    """Makes the parts of the next thirteen months, of a new database those of as many before as well; returns how many
    of them are new."""
    begun = connection.execute(BEGUN).fetchone()
    behind = 0 if begun is not None and begun[0] else MONTHS_BEHIND
    row = connection.execute(PREMAKE, [behind, behind + MONTHS_AHEAD]).fetchone()
    assert row is not None, "a function gives one row"
    return int(row[0])
