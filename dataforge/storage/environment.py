"""Environments: the tenant of every row, its lock, and the version of its graph."""

from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.errors import NotFound


class Environment(msgspec.Struct, frozen=True):
    """An environment as one transaction sees it."""

    id: int
    name: str
    graph_version: int
    graph_logged_after: int  # what became of the graph after this version is all in its log
    events_known_from: datetime | None = (
        None  # of what occurred before, nobody knows what was recorded; None: of nothing
    )
    nodes_version: int = 0  # of tasks, datasets and edges: grows with whatever of them changes
    states_known_from: str = ""  # the day from which on windows have states; '': all have
    last_part: int = 0  # of runs the last part there is, which takes what is younger, too


FIND = """
select id, name, graph_version, graph_logged_after, events_known_from, nodes_version, coalesce(states_known_from, ''),
    last_part
from environment where name = %s and id > 0
"""


def find(connection: Connection, name: str) -> Environment:
    """The environment of that name. Raises NotFound, with those that exist, when there is none."""
    row = connection.execute(FIND, [name]).fetchone()
    if row is None:
        raise NotFound(f"there is no environment named {name!r}", candidates=names(connection))
    return Environment(*row)


KNOWN_FROM = "select coalesce(states_known_from, '') from environment where id = %s"


def states_known_from(connection: Connection, environment: int) -> str:
    """The day from which on windows of an environment have states; '' where all have."""
    row = connection.execute(KNOWN_FROM, [environment]).fetchone()
    return str(row[0]) if row else ""


NAMES = "select name from environment where id > 0 order by id"  # not those that are rebuilt


def names(connection: Connection) -> list[str]:
    """The environments there are."""
    return [name for (name,) in connection.execute(NAMES)]


LOCK = """
select pg_advisory_xact_lock(hashtextextended('dataforge.environment', id)) from environment
where name = %s and id > 0
"""


def lock(connection: Connection, name: str) -> Environment:
    """The environment, with the right to change its state until the transaction ends.

    Writers of one environment take turns: folding reads what it then replaces, and one large transaction at a
    time is also the fastest way to write. Readers are never kept waiting.
    """
    connection.execute(LOCK, [name])
    return find(connection, name)  # read by a statement of its own: the one before us may have moved the graph


def lock_all(connection: Connection) -> None:
    """The right to change the state of every environment."""
    for name in names(connection):
        lock(connection, name)


TRY_LOCK = """
select pg_try_advisory_xact_lock(hashtextextended('dataforge.environment', id)) from environment
where name = %s and id > 0
"""


def try_lock(connection: Connection, name: str) -> Environment | None:
    """The same where nobody else has that right just now; else nothing, at once."""
    row = connection.execute(TRY_LOCK, [name]).fetchone()
    return find(connection, name) if row is not None and row[0] else None


MOST_LOGGED = 250_000  # changes that the log keeps: to apply as many takes about as long as to read all edges
# The end is asked for once: within the condition it would be for each row of the log.
ADVANCE = """
with forgotten as (
    delete from graph_log where environment = %(environment)s
        and position < (select graph_log_end(%(environment)s::smallint)) - %(most)s
    returning version
)
update environment
set graph_version = graph_version + 1,
    graph_logged_after = greatest(graph_logged_after, (select max(version) from forgotten))
where id = %(environment)s returning graph_version
"""


def advance_graph(connection: Connection, environment: int) -> int:
    """Marks the graph as changed and returns its new version. Of what was logged the oldest goes, where it is much."""
    parameters = {"environment": environment, "most": MOST_LOGGED}
    row = connection.execute(ADVANCE, parameters).fetchone()
    assert row is not None, "the caller holds the environment's lock"
    return int(row[0])
