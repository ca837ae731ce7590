"""Months of runs, by their starts, as they are exported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from psycopg import Connection

from dataforge.storage.database import Database
from dataforge.storage.run_file import KeptRun

_LONGEST_MONTH = timedelta(days=31)
_PAGE = 50_000  # a group of rows in the file: fewer would repeat the names of tasks more often


def month_of(at: datetime) -> tuple[datetime, datetime]:
    """The first moment of a month (UTC), and that of the next one."""
    begins = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return begins, (begins + _LONGEST_MONTH).replace(day=1)


# The least of each kind, since the index is by kind first.
FIRST = """
select min(first.started_at) from unnest(enum_range(null::run_kind)) as each (kind) cross join lateral (
    select started_at from run
    where environment = %s and kind = each.kind and started_at >= %s order by started_at limit 1
) first
"""


def months(connection: Connection, environment: int, before: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The months that were over at a time and in which runs started, the oldest first."""
    since: datetime | str = "-infinity"
    while True:
        row = connection.execute(FIRST, [environment, since]).fetchone()
        if row is None or row[0] is None:
            return
        begins, ends = month_of(row[0])
        if ends > before:
            return
        yield begins, ends
        since = ends


RUNS = """
select r.started_at, (extract(epoch from r.ended_at - r.started_at) * 1000000)::bigint, r.task_id, t.namespace, t.name,
    r.kind, t.platform, t.owner, r.run, r.attempt, r.state, r.evidence, r.partitions, r.partition_from,
    r.interval_start, (extract(epoch from r.interval_end - r.interval_start) * 1000000)::bigint, r.error,
    coalesce(a.task_version, (
        select encode(s.version, 'hex') from definition_span s
        where s.environment = r.environment and s.node_kind = 'task' and s.node_id = r.task_id
            and s.valid_from <= r.started_at and coalesce(s.valid_to, 'infinity') > r.started_at
        order by s.valid_from desc, s.source limit 1)),
    r.source::text, r.shards::text
from run r
join task t on t.environment = r.environment and t.id = r.task_id
left join attempt a on a.environment = r.environment
    and a.task_id = r.task_id and a.run = r.run and a.attempt_id = r.attempt_id
where r.environment = %s and r.kind = any(enum_range(null::run_kind)) and r.started_at >= %s and r.started_at < %s
order by r.started_at, r.task_id, r.run
"""


def pages(database: Database, environment: int, month: tuple[datetime, datetime]) -> Iterator[list[KeptRun]]:
    """The runs that started in a month, of one moment, in the order of their starts."""
    with database.snapshot() as connection, connection.cursor(name="runs") as cursor:
        cursor.execute(RUNS, [environment, *month])
        while rows := cursor.fetchmany(_PAGE):
            yield [KeptRun(*row) for row in rows]


ARCHIVED = "select from archived where environment = %s and file like %s"


def is_archived(connection: Connection, environment: int, stem: str) -> bool:
    """Whether a file whose name begins so was written and found right."""
    return connection.execute(ARCHIVED, [environment, f"{stem}%"]).fetchone() is not None


DAYS = "select run_days from environment where id = %s"
SET_DAYS = "update environment set run_days = %s where id = %s"


def days(connection: Connection, environment: int) -> int:
    """How long after its end a month of runs is exported."""
    row = connection.execute(DAYS, [environment]).fetchone()
    assert row is not None, "the environment was found by the caller"
    return int(row[0])


def set_days(connection: Connection, environment: int, wanted: int) -> None:
    """Sets that."""
    connection.execute(SET_DAYS, [wanted, environment])
