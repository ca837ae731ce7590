"""Parts that are on the way out: detached from their table, exported into files, dropped.

Guarantees that one process at a time exports, so that no file is written twice at once; its lock goes with its
connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from dataforge.model.errors import Conflict
from dataforge.storage.body import decompress
from dataforge.storage.body_file import KeptBody
from dataforge.storage.body_part import Content
from dataforge.storage.database import Database, connect
from dataforge.storage.parquet_file import Written

# The server learns a moment later that a process has gone which held the lock.
PATIENCE = "set lock_timeout = '2s'"
ALONE = "select pg_advisory_lock(hashtextextended('dataforge.ending', 0))"


@contextmanager
def alone(database: Database) -> Iterator[None]:
    """For as long as the block nobody else ends anything. Raises Conflict where another does."""
    with connect(database.url, autocommit=True) as guard:
        guard.execute(PATIENCE)
        try:
            guard.execute(ALONE)
        except LockNotAvailable as error:
            raise Conflict("another process is ending parts now: wait for it") from error
        yield


class Ending(msgspec.Struct, frozen=True):
    """A part that is detached and not dropped yet."""

    part: str
    was: str  # its name before
    size: int  # bytes on disk, indexes included


ENDING = """
select part, was, pg_total_relation_size(part::regclass) from ending
where starts_with(was, %s) order by detached_at, part
"""


def endings(connection: Connection, table: str) -> list[Ending]:
    """Every part of a table that is on its way out, the first that was detached first."""
    return [Ending(*row) for row in connection.execute(ENDING, [table])]


PAGE = """
select number, recorded_at, occurred_at, id, kind, body from {part}
where environment = %s and number > %s order by number limit %s
"""
_PAGE = 2_000  # bodies in memory at a time, some megabytes


def pages(database: Database, ending: Ending, share: Content) -> Iterator[list[KeptBody]]:
    """The bodies of one environment, in the order of recording; a transaction for each page, none of them long."""
    statement, after = sql.SQL(PAGE).format(part=sql.Identifier(ending.part)), share.first - 1
    while True:
        with database.transaction() as connection:
            rows = connection.execute(statement, [share.environment, after, _PAGE]).fetchall()
            page = [
                KeptBody(number, recorded_at, occurred_at, event_id, kind, decompress(connection, body).decode())
                for number, recorded_at, occurred_at, event_id, kind, body in rows
            ]
        if not page:
            return
        yield page
        after = page[-1].number


ARCHIVED = "select from archived where environment = %s and file = %s"


def is_archived(connection: Connection, environment: int, file: str) -> bool:
    """Whether this file was written and found right."""
    return connection.execute(ARCHIVED, [environment, file]).fetchone() is not None


KEEP = """
insert into archived (environment, file, rows, digest, size) values (%s, %s, %s, %s, %s)
on conflict (environment, file) do nothing
"""


def keep(connection: Connection, environment: int, file: str, found: tuple[Written, int]) -> None:
    """Remembers for good what is in a file that was found right."""
    written, size = found
    connection.execute(KEEP, [environment, file, written.rows, written.digest, size])


DROP = "select drop_ended(%s)"


def drop(connection: Connection, ending: Ending) -> None:
    """Drops a part that was detached: of it nothing stays here."""
    connection.execute(DROP, [ending.part])
