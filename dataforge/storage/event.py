"""Recorded events: the identity of every one, and its body, each for as long as such are kept."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.event import Event, EventKind
from dataforge.storage.body import compress, decompress, dictionary_id, keep_dictionary
from dataforge.storage.record_set import Added, Row, add


class Recorded(msgspec.Struct, frozen=True):
    """An event as it was recorded. Its number is its place in the order of recording, within its environment."""

    number: int
    id: bytes
    occurred_at: datetime
    kind: EventKind
    body: bytes


IDENTIFY = """
insert into event (environment, occurred_at, id)
select %s, * from unnest(%s::timestamptz[], %s::bytea[])
on conflict do nothing
returning id, number, (select exists (select from body_dictionary where id = %s))
"""
KEEP = Added(
    insert="""
insert into event_body (environment, number, id, occurred_at, kind, body)
select %s, * from json_to_recordset(%s::json) as said (number bigint, id bytea, occurred_at timestamptz, kind text,
    body bytea)
""",
    copy="copy event_body (environment, number, id, occurred_at, kind, body) from stdin (format binary)",
    types=("int8", "bytea", "timestamptz", "text", "bytea"),
)


def insert(connection: Connection, environment: int, events: Iterable[Event]) -> set[bytes]:
    """Records the events that are new, and returns their ids. The same event twice is new once.

    The caller holds the environment's lock: that makes the order of the numbers the order in which events commit.
    """
    ordered = sorted({event.id: event for event in events}.values(), key=lambda event: (event.occurred_at, event.id))
    if not ordered:
        return set()
    named = [event.occurred_at for event in ordered], [event.id for event in ordered]
    new = connection.execute(IDENTIFY, [environment, *named, dictionary_id()]).fetchall()
    numbers: dict[bytes, int] = {event_id: number for event_id, number, _ in new}
    if numbers:
        if not all(kept for _, _, kept in new):
            keep_dictionary(connection)
        add(connection, environment, KEEP, [_row(e, numbers[e.id]) for e in ordered if e.id in numbers])
    return set(numbers)


def _row(event: Event, number: int) -> Row:
    return {
        "number": number,
        "id": event.id,
        "occurred_at": event.occurred_at,
        "kind": event.kind,
        "body": compress(event.body),
    }


READ = """
select number, id, occurred_at, kind, body from event_body
where environment = %s and number > %s
order by number limit %s
"""


def read(connection: Connection, environment: int, after: int, most: int) -> list[Recorded]:
    """The events behind the number `after`, at most `most`, in the order in which they were recorded."""
    rows = connection.execute(READ, [environment, after, most]).fetchall()
    return [Recorded(number, i, at, kind, decompress(connection, body)) for number, i, at, kind, body in rows]


def read_all(connection: Connection, environment: int, after: int = 0, page: int = 1_000) -> Iterator[list[Recorded]]:
    """Every event behind the number `after` that this transaction sees, a page at a time."""
    while events := read(connection, environment, after, page):
        yield events
        after = events[-1].number


LAST = "select coalesce(max(number), 0) from event_body where environment = %s"


def last_number(connection: Connection, environment: int) -> int:
    """The number of the event that was recorded last, of those whose body is left; 0 where there is none."""
    row = connection.execute(LAST, [environment]).fetchone()
    assert row is not None, "an aggregate has one row"
    return int(row[0])


DROPPED = "select number from event_body_dropped where environment = %s"


def last_dropped(connection: Connection, environment: int) -> int:
    """The number up to which bodies may be gone; 0 where all are there."""
    row = connection.execute(DROPPED, [environment]).fetchone()
    return int(row[0]) if row else 0


KNOWN = "select number from event where environment = %s and occurred_at = %s and id = %s"


def number_of(connection: Connection, environment: int, occurred_at: datetime, event_id: bytes) -> int | None:
    """The number of an event; None where it was never recorded here."""
    row = connection.execute(KNOWN, [environment, occurred_at, event_id]).fetchone()
    return int(row[0]) if row else None


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
