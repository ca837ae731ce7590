"""The parts that runs and what they told are kept in, a half-year each, and how one ends as a whole."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from dataforge.model.errors import DatabaseUnavailable
from dataforge.storage import event as event_log
from dataforge.storage.part import Part

if TYPE_CHECKING:
    from dataforge.storage.partition import Place

TABLE = "run"
_SECOND_HALF = 7  # its first month


def part_of(at: datetime) -> int:
    """The half-year that holds a time, as `run_part_of` of the database numbers it."""
    at = at.astimezone(UTC)
    return 2 * at.year + (at.month >= _SECOND_HALF)


def begin_of(part: int) -> datetime:
    """The first moment of a half-year."""
    return datetime(part // 2, _SECOND_HALF if part % 2 else 1, 1, tzinfo=UTC)


PARTS = """
select c.relname, (
    select sum(pg_total_relation_size((of || substr(c.relname, 4))::regclass))
    from unnest(array['run', 'attempt', 'touch', 'outcome', 'shard_chunk']) as each (of))
from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'run'::regclass order by c.relname
"""


def parts(connection: Connection) -> list[Part]:
    """Every part, the oldest first, which takes all that is older; with what lies beside its runs."""
    found: list[Part] = []
    for name, size in connection.execute(PARTS):
        begins = found[-1].ends if found else None
        found.append(Part(name, begins, _ends(name), int(size)))
    return found


def _ends(name: str) -> datetime:
    """The end of the half-year that a part is named by, such as run_2026h2."""
    year, half = name.removeprefix(f"{TABLE}_").split("h")
    return begin_of(2 * int(year) + int(half))


COUNT = "select count(*) from {part} where environment > 0"


def count(connection: Connection, part: Part) -> int:
    """How many runs lie in a part. Reads all of it."""
    row = connection.execute(sql.SQL(COUNT).format(part=sql.Identifier(part.name))).fetchone()
    return int(row[0]) if row else 0


PATIENT = "set local statement_timeout = 0"  # a part is looked through
CHOOSE = "select choose_ended_runs(%s, %s)"
# Others hold some of these and ask for more. Who gives up before PostgreSQL looks for deadlocks, after a second, is in
# nobody's way.
TAKE = "lock table run, attempt, touch, outcome, shard_chunk in access exclusive mode"
IMPATIENT = "set local lock_timeout = '700ms'"
TRIES = 8
DETACH = "select detach_run_part(%s, %s, run_part_of(%s))"
HELD = "select distinct environment from silent"
END = "insert into run_end (environment, number, known_from) values (%s, %s, %s)"
MOVE_ON = """
update environment set runs_known_from = %(known_from)s, events_known_from = greatest(events_known_from, %(known_from)s)
where id = %(environment)s
"""


def detach(connection: Connection, part: Part, following: Part) -> str:
    """Takes the oldest part from its tables; what stays of it goes to the following one. Returns the name that its runs
    have from now on. The caller holds the lock of every environment. Raises DatabaseUnavailable where others are in its
    way for some seconds."""
    connection.execute(PATIENT)
    name, following_name = (each.name.removeprefix(f"{TABLE}_") for each in (part, following))
    connection.execute(CHOOSE, [name, part.ends])
    _take(connection, part)
    row = connection.execute(DETACH, [name, following_name, following.ends]).fetchone()
    assert row is not None, "a function gives one row"
    for (environment,) in connection.execute(HELD).fetchall():
        last = max(event_log.last_number(connection, environment), event_log.last_dropped(connection, environment))
        connection.execute(END, [environment, last, part.ends])
        connection.execute(MOVE_ON, {"environment": environment, "known_from": part.ends})
    return str(row[0])


def _take(connection: Connection, part: Part) -> None:
    for _ in range(TRIES):
        with suppress(LockNotAvailable), connection.transaction():
            connection.execute(IMPATIENT)
            connection.execute(TAKE)
            return
    raise DatabaseUnavailable(f"others read or wrote runs for too long to drop {part.name}: try again")


class End(msgspec.Struct, frozen=True):
    """That runs ended in an environment."""

    number: int  # the last event that was recorded before
    known_from: datetime  # those stayed of which something was told from then on


ENDS = "select number, known_from from run_end where environment = %s order by known_from"


def ends(connection: Connection, environment: int) -> list[End]:
    """When runs of an environment ended."""
    return [End(*row) for row in connection.execute(ENDS, [environment])]


REPEAT = "select * from end_rebuilt_runs(%s::smallint, %s::smallint, %s)"


def repeat(connection: Connection, rebuilt: int, live: int, known_from: datetime) -> set[Place]:
    """Ends in an environment that is being rebuilt the runs that ended so in the live one, and gives it the claims that
    stand there of them. Returns the places of these claims, before and after."""
    rows = connection.execute(REPEAT, [rebuilt, live, known_from])
    return {(row[0], row[1], row[2]) for row in rows}


CLAIMED = """
select node_kind, node_id, partition from write w
where environment = %(environment)s and (node_kind, node_id, partition) > (%(kind)s::node_kind, %(node)s, %(partition)s)
    and attempt_id <> '~watermark' and not exists (
        select from run r where r.environment = w.environment and r.task_id = w.task_id and r.run = w.run)
group by node_kind, node_id, partition order by node_kind, node_id, partition limit %(most)s
"""
FIRST: Place = ("task", -(2**63), "")


def claimed_behind(connection: Connection, environment: int, after: Place, most: int) -> list[Place]:
    """The places behind this one that runs claim which have ended, in their order."""
    given = {"environment": environment, "kind": after[0], "node": after[1], "partition": after[2], "most": most}
    return [(row[0], row[1], row[2]) for row in connection.execute(CLAIMED, given)]


DAYS = "select name, id, run_days from environment where id > 0 order by id"
SET_DAYS = "update environment set run_days = %s where name = %s and id > 0"


def days(connection: Connection) -> list[tuple[str, int, int]]:
    """Of each environment its name, its id, and for how many days it keeps runs."""
    return [(row[0], row[1], row[2]) for row in connection.execute(DAYS)]


def set_days(connection: Connection, environment: str, wanted: int) -> None:
    """Sets that."""
    connection.execute(SET_DAYS, [wanted, environment])


AHEAD = "31 days"  # of the begin of a half-year
PREMAKE = "select premake_run_parts(now() + %s::interval)"


def premake(connection: Connection) -> int:
    """Makes the part of the present half-year, and that of the next one a month ahead; returns how many are new."""
    row = connection.execute(PREMAKE, [AHEAD]).fetchone()
    assert row is not None, "a function gives one row"
    return int(row[0])
