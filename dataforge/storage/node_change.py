"""Which tasks, datasets and edges changed, by the versions that triggers give to their changes (migration 0043)."""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import Connection

MOST_FOLLOWED = 1_000  # changes: who is further behind forgets everything sooner than he has read them


class Moment(NamedTuple):
    """How far the nodes of an environment are that a transaction sees."""

    version: int
    own: bool  # whether the transaction has changed nodes itself, or nobody notes what changes: in a hidden environment
    known_from: str  # the day from which on windows have states; '': all have


MOMENT = """
select nodes_version, id < 0 or coalesce(nodes_changed_by = pg_current_xact_id_if_assigned(), false),
    coalesce(states_known_from, '')
from environment where id = %s
"""


def moment(connection: Connection, environment: int) -> Moment:
    """How far it is now."""
    row = connection.execute(MOMENT, [environment]).fetchone()
    return Moment(*row) if row is not None else Moment(0, own=True, known_from="")


class NodesChanged(NamedTuple):
    """The nodes that a change concerns; of a task its edges as well, of a dataset who writes it."""

    tasks: Sequence[int]
    datasets: Sequence[int]


SINCE = """
select version, tasks, datasets from node_change
where environment = (select %(environment)s::smallint) and version >= %(version)s order by version, id limit %(most)s
"""


def since(connection: Connection, environment: int, version: int) -> list[NodesChanged] | None:
    """What changed after a version. None where that is too much, or where nobody can tell: the version is one that
    was let go, or none of this state's."""
    parameters = {"environment": environment, "version": version, "most": MOST_FOLLOWED}
    rows = connection.execute(SINCE, parameters).fetchall()
    if not rows or rows[0][0] != version or len(rows) == MOST_FOLLOWED:
        return None
    return [NodesChanged(*row[1:]) for row in rows]
