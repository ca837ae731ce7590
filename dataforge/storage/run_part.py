"""The parts that runs and what they told are kept in, a half-year each, and how one ends as a whole."""

from __future__ import annotations

from datetime import UTC, datetime

from psycopg import Connection

_SECOND_HALF = 7  # its first month


def part_of(at: datetime) -> int:
    """The half-year that holds a time, as `run_part_of` of the database numbers it."""
    at = at.astimezone(UTC)
    return 2 * at.year + (at.month >= _SECOND_HALF)


AHEAD = "31 days"  # of the begin of a half-year
PREMAKE = "select premake_run_parts(now() + %s::interval)"


def premake(connection: Connection) -> int:
    """Makes the part of the present half-year, and that of the next one a month ahead; returns how many are new."""
    row = connection.execute(PREMAKE, [AHEAD]).fetchone()
    assert row is not None, "a function gives one row"
    return int(row[0])
