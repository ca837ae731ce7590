"""Versions as questions show them: those of one task, the latest first, and a definition by its hash."""

from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.history import FoundDefinition, HeldVersion
from dataforge.model.version import SourcedSpan, Span


class VersionPlace(msgspec.Struct, frozen=True, array_like=True, tag="versions"):
    """The place of a version in the list of its task's."""

    valid_from: datetime
    source: str


# Read from the cursor on, of which one version alone may have begun at the same moment as the next.
OF_TASK = """
select s.source, s.valid_from, s.valid_to, s.version, v.definition
from definition_span s
join task_version v on v.environment = s.environment and v.task_id = s.node_id and v.version = s.version
where s.environment = %(environment)s and s.node_kind = 'task' and s.node_id = %(task)s
    and s.valid_from <= %(upto)s and (s.valid_from < %(upto)s or s.source > %(after)s)
order by s.valid_from desc, s.source limit %(limit)s
"""


def of_task(
    connection: Connection, environment: int, task: int, after: VersionPlace | None, limit: int
) -> list[HeldVersion]:
    """The versions of a task from a place on, the latest first."""
    parameters = {
        "environment": environment,
        "task": task,
        "upto": after.valid_from if after else "infinity",
        "after": after.source if after else "",
        "limit": limit,
    }
    rows = connection.execute(OF_TASK, parameters, prepare=False)
    return [HeldVersion(SourcedSpan(source, Span(*span)), definition) for source, *span, definition in rows]


def place_of(version: HeldVersion) -> VersionPlace:
    """Where a version stands in the list."""
    return VersionPlace(version.held.span.valid_from, version.held.source)


BY_HASH = """
select 'task', definition ->> 'namespace', definition ->> 'name', encode(version, 'hex'), definition
from task_version where environment = %(environment)s and version between %(first)s and %(last)s
union all
select 'dataset', definition ->> 'namespace', definition ->> 'name', encode(version, 'hex'), definition
from dataset_version where environment = %(environment)s and version between %(first)s and %(last)s
limit 6
"""


def by_hash(connection: Connection, environment: int, first: bytes, last: bytes) -> list[FoundDefinition]:
    """The definitions whose hash lies between these two, as far as a few show that there are several."""
    parameters = {"environment": environment, "first": first, "last": last}
    return [FoundDefinition(*row) for row in connection.execute(BY_HASH, parameters)]
