"""Recorded events: every one once, for good."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.event import Event, EventKind
from dataforge.storage.body import compress, decompress, keep_dictionary


class Recorded(msgspec.Struct, frozen=True):
    """An event as it was recorded."""

    id: bytes
    occurred_at: datetime
    kind: EventKind
    body: bytes


INSERT = """
insert into event (environment, occurred_at, id, kind, body)
select %s, * from unnest(%s::timestamptz[], %s::bytea[], %s::text[], %s::bytea[])
on conflict do nothing
returning id
"""


def insert(connection: Connection, environment: int, events: Iterable[Event]) -> set[bytes]:
    """Records the events that are new, and returns their ids. The same event twice is new once."""
    ordered = sorted({event.id: event for event in events}.values(), key=lambda event: (event.occurred_at, event.id))
    if not ordered:
        return set()
    keep_dictionary(connection)
    columns = zip(*((e.occurred_at, e.id, e.kind, compress(e.body)) for e in ordered), strict=True)
    return {event_id for (event_id,) in connection.execute(INSERT, [environment, *map(list, columns)])}


READ = """
select id, occurred_at, kind, body from event
where environment = %s and (occurred_at, id) > (%s, %s)
order by occurred_at, id limit %s
"""


def read_all(connection: Connection, environment: int, page: int = 1_000) -> Iterator[list[Recorded]]:
    """Every recorded event in the order of its time, a page at a time."""
    after: tuple[object, bytes] = ("-infinity", b"")
    while rows := connection.execute(READ, [environment, *after, page]).fetchall():
        yield [Recorded(i, at, kind, decompress(connection, body)) for i, at, kind, body in rows]
        after = (rows[-1][1], rows[-1][0])


PROGRESS = """
insert into progress (environment, source, observed_through)
select %s, * from unnest(%s::text[], %s::timestamptz[])
on conflict (environment, source) do update
    set observed_through = greatest(progress.observed_through, excluded.observed_through)
"""


def advance(connection: Connection, environment: int, seen: dict[str, datetime]) -> None:
    """Moves on how far each source has been seen."""
    ordered = sorted(seen)
    connection.execute(PROGRESS, [environment, ordered, [seen[source] for source in ordered]])
