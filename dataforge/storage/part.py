"""The parts of a table that is cut by time: how they are listed, and what ends one waits for.

Guarantees that whoever ends a part gives up where others are in the way for five seconds, since all behind wait too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from dataforge.model.errors import DatabaseUnavailable


class Part(msgspec.Struct, frozen=True):
    """A part of a table; the rest has neither a begin nor an end."""

    name: str
    begins: datetime | None
    ends: datetime | None
    size: int  # bytes on disk, indexes included


PARTS = """
select c.relname, pg_total_relation_size(c.oid) from pg_inherits join pg_class c on c.oid = inhrelid
where inhparent = %s::regclass order by c.relname
"""
Span = Callable[[str], tuple[datetime, datetime]]


def listed(connection: Connection, table: str, rest: str, span: Span) -> list[Part]:
    """Every part, the oldest first and the rest last. `span` says from when to when one is, by the end of its name."""
    return [_part(name, size, table, rest, span) for name, size in connection.execute(PARTS, [table])]


def _part(name: str, size: int, table: str, rest: str, span: Span) -> Part:
    if name == rest:
        return Part(name, None, None, size)
    return Part(name, *span(name.removeprefix(f"{table}_")), size)


_LONGEST_MONTH = timedelta(days=31)


def month_of(begins: datetime) -> tuple[datetime, datetime]:
    """The first moment of a month (UTC), and that of the next one."""
    return begins, (begins + _LONGEST_MONTH).replace(day=1)


IMPATIENT = "set local lock_timeout = '5s'"


@contextmanager
def impatient(connection: Connection, part: Part, others: str) -> Iterator[None]:
    """For what ends the part. Raises DatabaseUnavailable where `others`, such as "others read", are in the way."""
    try:
        connection.execute(IMPATIENT)
        yield
    except LockNotAvailable as error:
        raise DatabaseUnavailable(f"{others} for too long to drop {part.name}: try again") from error
