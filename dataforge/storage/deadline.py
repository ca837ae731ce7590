"""By when what is declared to be due is to be there."""

from __future__ import annotations

import msgspec
from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.storage.readiness import Node


class Deadline(msgspec.Struct, frozen=True):
    """A task or dataset that declares when it is due; a dataset under its canonical name."""

    kind: NodeKind
    id: int
    namespace: str
    name: str
    owner: str | None
    due: str  # JSON
    partitioning: str | None  # JSON, as it is declared; none where nobody has


# Of a dataset that is declared under several names its canonical one comes first.
DEADLINES = """
select kind, id, namespace, name, owner, due, partitioning from (
    select 'task' as kind, id, namespace, name, owner, definition ->> 'due' as due, partitioning::text, 0 as place
    from task where environment = %(environment)s and definition ? 'due'
    union all
    select 'dataset', c.id, c.namespace, c.name, coalesce(c.owner, d.owner), d.definition ->> 'due',
        c.partitioning::text, case when d.id = c.id then 0 else d.id end
    from dataset d join dataset c on c.environment = d.environment and c.id = d.canonical_id
    where d.environment = %(environment)s and d.definition ? 'due'
) as declared
order by kind, id, place <> 0, place
"""


def deadlines(connection: Connection, environment: int) -> dict[Node, Deadline]:
    """All of an environment."""
    found: dict[Node, Deadline] = {}
    for row in connection.execute(DEADLINES, {"environment": environment}):
        found.setdefault((row[0], row[1]), Deadline(*row))
    return found
