"""Runs that have ended, by the months in which they began, as they are exported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec
from psycopg import Connection, sql

from dataforge.storage.database import Database
from dataforge.storage.ending import Ending
from dataforge.storage.part import month_of
from dataforge.storage.run_file import KeptRun

_PAGE = 50_000  # a group of rows in the file: fewer would repeat the names of tasks more often


class Content(msgspec.Struct, frozen=True):
    """What a part holds of one environment and month."""

    environment: int
    name: str
    begins: datetime
    runs: int


# What never began is of the month in which it came to nothing.
CONTENT = """
select e.id, e.name, date_trunc('month', coalesce(r.started_at, r.ended_at, 'epoch'), 'UTC'), count(*)
from {part} r join environment e on e.id = r.environment group by 1, 2, 3 order by 1, 3
"""


def content(connection: Connection, part: str) -> list[Content]:
    """What a part of this name holds, by environments and months. Reads all of it."""
    rows = connection.execute(sql.SQL(CONTENT).format(part=sql.Identifier(part)))
    return [Content(*row) for row in rows]


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
from {runs} r
join task t on t.environment = r.environment and t.id = r.task_id
left join {attempts} a on a.environment = r.environment
    and a.task_id = r.task_id and a.run = r.run and a.attempt_id = r.attempt_id
where r.environment = %s and coalesce(r.started_at, r.ended_at, 'epoch') >= %s
    and coalesce(r.started_at, r.ended_at, 'epoch') < %s
order by r.started_at, r.task_id, r.run
"""


def pages(database: Database, ending: Ending, of: Content) -> Iterator[list[KeptRun]]:
    """The runs of a month in a part that is detached, in the order of their starts."""
    attempts = ending.part.replace("ending_run_", "ending_attempt_")
    statement = sql.SQL(RUNS).format(runs=sql.Identifier(ending.part), attempts=sql.Identifier(attempts))
    with database.snapshot() as connection, connection.cursor(name="runs") as cursor:
        cursor.execute(statement, [of.environment, *month_of(of.begins)])
        while rows := cursor.fetchmany(_PAGE):
            yield [KeptRun(*row) for row in rows]
