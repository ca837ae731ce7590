"""When sources last sent something, and at which pace they used to.

Guarantees that a page looks at a bounded number of sources, and of each at the last runs of some of its tasks.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from psycopg import Connection

_TASKS, _RUNS = 200, 30  # of a source that are looked at: fewer runs seem a slower pace, never a faster one
_HISTORY = timedelta(days=35)  # before a source's last event in which its pace is looked for

SOURCES = """
select source, observed_through from progress
where environment = %(environment)s and source >= %(begin)s
order by source limit %(most)s
"""


class Source(msgspec.Struct, frozen=True):
    """A namespace that events came from, and the time of the latest."""

    name: str
    last_at: datetime


def sources(connection: Connection, environment: int, begin: str, most: int) -> list[Source]:
    """The sources from this name on, in the order of their names."""
    parameters = {"environment": environment, "begin": begin, "most": most}
    return [Source(*row) for row in connection.execute(SOURCES, parameters)]


PACES = """
select w.source, array_agg(distinct date_trunc('minute', r.started_at))
from unnest(%(sources)s::text[], %(froms)s::timestamptz[]) as w (source, begun)
cross join lateral (
    select id from task
    where environment = %(environment)s and namespace = w.source order by name limit %(tasks)s
) t
cross join lateral (
    select started_at from run
    where environment = %(environment)s and task_id = t.id and started_at >= w.begun
    order by started_at desc nulls last, run limit %(runs)s
) r
group by w.source
"""


def paces(connection: Connection, environment: int, asked: Sequence[Source]) -> dict[str, list[datetime]]:
    """When something of these sources began, to the minute, in the weeks before the last event of each."""
    parameters = {
        "environment": environment,
        "sources": [source.name for source in asked],
        "froms": [source.last_at - _HISTORY for source in asked],
        "tasks": _TASKS,
        "runs": _RUNS,
    }
    return dict(connection.execute(PACES, parameters).fetchall()) if asked else {}
