"""The parts that partition states are kept in, a month of windows by their begin, and how one ends as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from psycopg import Connection, sql

from dataforge.storage.database import Database
from dataforge.storage.ending import Ending
from dataforge.storage.part import Part, impatient
from dataforge.storage.partition_file import KeptPartition

TABLE, REST = "partition_state", "partition_state_rest"
_BOUNDS = re.compile(r"FROM \('(.+?)'\) TO \('(.+?)'\)")
PARTS = """
select c.relname, pg_get_expr(c.relpartbound, c.oid), pg_total_relation_size(c.oid)
from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'partition_state'::regclass
"""


def parts(connection: Connection) -> list[Part]:
    """Every part, the oldest first and the rest last."""
    found = [_part(*row) for row in connection.execute(PARTS)]
    return sorted(found, key=lambda part: (part.ends is None, part.ends))


def _part(name: str, bounds: str, size: int) -> Part:
    between = _BOUNDS.search(bounds)
    if between is None:
        return Part(name, None, None, size)
    begins, ends = (datetime.strptime(key, "%Y-%m-%d").replace(tzinfo=UTC) for key in between.groups())
    return Part(name, begins, ends, size)


class Content(msgspec.Struct, frozen=True):
    """What a part holds of one environment that has ended, or is to end."""

    environment: int
    name: str
    partitions: int


CONTENT = """
select e.id, e.name, count(*) from {part} p join environment e on e.id = p.environment
where e.id > 0 and has_ended(p.partition, %s) group by e.id, e.name order by e.id
"""
NEVER = "9"  # behind all dates


def content(connection: Connection, part: str, known_from: str = NEVER) -> list[Content]:
    """What a part of this name, attached or not, holds of windows before a day. Reads all of it."""
    statement = sql.SQL(CONTENT).format(part=sql.Identifier(part))
    return [Content(*row) for row in connection.execute(statement, [known_from])]


SHAPES = """
select shape, min(name) from (
    select partitioning::text as shape, name from task where environment = %(environment)s and partitioning is not null
    union all
    select partitioning::text, name from dataset where environment = %(environment)s and partitioning is not null
) cut group by shape
"""


def shapes(connection: Connection, environment: int) -> list[tuple[str, str]]:
    """How tasks and datasets are cut (JSON), each with the first that is."""
    return [(row[0], row[1]) for row in connection.execute(SHAPES, {"environment": environment})]


BUSY = """
select busy.partition || busy.how || e.name from (
    (select environment, partition, ' is running in ' as how from partition_state
    where environment > 0 and status = 'running' and partition < %(ends)s and has_ended(partition, %(ends)s) limit 1)
    union all
    (select environment, partition, ' is claimed in ' from lease
    where ended_at is null and has_ended(partition, %(ends)s) limit 1)
    union all
    (select i.environment, i.partition, ' is in a backfill of ' from backfill b
    join backfill_item i on i.environment = b.environment and i.backfill = b.id
    where b.state in ('running', 'paused', 'failed') and has_ended(i.partition, %(ends)s) limit 1)
) busy join environment e on e.id = busy.environment limit 1
"""


def busy(connection: Connection, ends: str) -> str | None:
    """A window before a day that somebody still works on, and who; None where there is none."""
    row = connection.execute(BUSY, {"ends": ends}).fetchone()
    return None if row is None else str(row[0])


DETACH = "select detach_partition_states(%s::regclass, %s)"


def detach(connection: Connection, part: Part, known_from: str) -> str:
    """Takes a part from the table with all in it that is before a day; the rest of it stays. Returns the name it has
    from now on. Raises DatabaseUnavailable where others are in its way for five seconds."""
    with impatient(connection, part, "others read or wrote states"):
        row = connection.execute(DETACH, [part.name, known_from]).fetchone()
    assert row is not None, "a function gives one row"
    return str(row[0])


# Those that are being rebuilt too, so that they are rebuilt without what has ended.
MOVE_ON = "update environment set states_known_from = greatest(states_known_from, %s)"


def move_on(connection: Connection, known_from: str) -> None:
    """Windows before this day have no states any more."""
    connection.execute(MOVE_ON, [known_from])


PAGE = """
select p.node_kind, p.node_id, coalesce(t.namespace, d.namespace), coalesce(t.name, d.name), p.partition, p.status,
    p.run_state, p.evidence, p.since, p.began, by.namespace, by.name, p.run, p.group_run, p.version, made.namespace,
    made.name, p.ready_run, p.ready_since, p.ready_began, p.ready_version, p.ready_made_for, p.held::text
from {part} p
left join task t on p.node_kind = 'task' and t.environment = p.environment and t.id = p.node_id
left join dataset d on p.node_kind = 'dataset' and d.environment = p.environment and d.id = p.node_id
left join task by on by.environment = p.environment and by.id = p.task_id
left join task made on made.environment = p.environment and made.id = p.ready_task_id
where p.environment = %s and (p.node_kind, p.node_id, p.partition) > (%s::node_kind, %s, %s)
order by p.node_kind, p.node_id, p.partition limit %s
"""
_PAGE = 20_000


def pages(database: Database, ending: Ending, environment: int) -> Iterator[list[KeptPartition]]:
    """What is detached of one environment, in the order of its key; a transaction for each page, none of them long."""
    statement = sql.SQL(PAGE).format(part=sql.Identifier(ending.part))
    after: tuple[str, int, str] = ("task", -(2**63), "")
    while True:
        with database.transaction() as connection:
            page = [KeptPartition(*row) for row in connection.execute(statement, [environment, *after, _PAGE])]
        if not page:
            return
        yield page
        after = page[-1].kind, page[-1].node_id, page[-1].partition


DAYS = "select name, id, detail_days from environment where id > 0 order by id"
SET_DAYS = "update environment set detail_days = %s where name = %s and id > 0"


def days(connection: Connection) -> list[tuple[str, int, int]]:
    """Of each environment its name, its id, and for how many days it keeps windows after their end."""
    return [(row[0], row[1], row[2]) for row in connection.execute(DAYS)]


def set_days(connection: Connection, environment: str, wanted: int) -> None:
    """Sets that."""
    connection.execute(SET_DAYS, [wanted, environment])


MONTHS_AHEAD = 1
PREMAKE = "select premake_partition_states(now(), %s)"


def premake(connection: Connection) -> int:
    """Makes the parts of this month and the next one, and returns how many of them are new."""
    row = connection.execute(PREMAKE, [1 + MONTHS_AHEAD]).fetchone()
    assert row is not None, "a function gives one row"
    return int(row[0])
