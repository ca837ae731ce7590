"""How far mirrors have come, as it is stored."""

from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.mirror import MirrorReport

PUT = """
insert into mirror (environment, name, shown_through, waiting, told_at)
values (%(environment)s, %(name)s, %(shown_through)s, %(waiting)s, %(now)s)
on conflict (environment, name) do update set
    shown_through = excluded.shown_through, waiting = excluded.waiting, told_at = excluded.told_at
"""


def put(connection: Connection, environment: int, name: str, report: MirrorReport, now: datetime) -> None:
    """Keeps what a mirror says, in the place of what it said before."""
    parameters = {
        "environment": environment,
        "name": name,
        "shown_through": report.shown_through,
        "waiting": report.waiting,
        "now": now,
    }
    connection.execute(PUT, parameters)


class StoredMirror(msgspec.Struct, frozen=True):
    """What a mirror said last."""

    environment: str
    name: str
    shown_through: datetime
    waiting: int
    told_at: datetime


LIST = """
select e.name, m.name, m.shown_through, m.waiting, m.told_at
from environment e join mirror m on m.environment = e.id
where e.id > 0 and (%(environment)s::text is null or e.name = %(environment)s::text)
order by e.name, m.name limit %(most)s
"""


def listed(connection: Connection, environment: str | None, most: int) -> list[StoredMirror]:
    """The mirrors of an environment, or of all of them, by name."""
    rows = connection.execute(LIST, {"environment": environment, "most": most})
    return [StoredMirror(*row) for row in rows]
