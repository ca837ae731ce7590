"""Updates of datasets as lists show them: within a span of time, the earliest first."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.catalog import RunName, UpdateItem
from dataforge.model.reference import DatasetRef


class Span(msgspec.Struct, frozen=True):
    """From one moment, exclusive, to another, inclusive; without an end where it is None."""

    after: datetime | None
    upto: datetime | None


class UpdatePlace(msgspec.Struct, frozen=True, array_like=True, tag="updates"):
    """The place of an update in the order of the list: by its time."""

    since: datetime
    node_id: int
    partition: str
    task_id: int
    run: str
    attempt_id: str


PAGE = """
select c.since, c.node_id, c.partition, c.task_id, c.run, c.attempt_id, n.namespace, n.name, c.version,
    t.namespace, t.name, c.producer_run
from (
    select distinct m.id, m.canonical_id from dataset d
    join dataset m on m.environment = %(environment)s and m.canonical_id = d.canonical_id
    where d.environment = %(environment)s and d.id = any(%(datasets)s)
) named
cross join lateral (
    select * from write
    where environment = %(environment)s and node_kind = 'dataset' and node_id = named.id and status = 'ready'
        and evidence <> 'inferred' and attempt_id <> '~watermark'
        and since > %(after)s::timestamptz and since <= %(upto)s::timestamptz
        and (%(seen)s::timestamptz is null or since >= %(seen)s::timestamptz
            and (since, node_id, partition, task_id, run, attempt_id) > (%(seen)s::timestamptz, %(node)s::bigint,
                %(partition)s::text, %(task)s::bigint, %(run)s::text, %(attempt)s::text))
    order by since, partition, task_id, run, attempt_id limit %(limit)s
) c
join dataset n on n.environment = %(environment)s and n.id = named.canonical_id
join task t on t.environment = %(environment)s and t.id = c.producer_task_id
order by c.since, c.node_id, c.partition, c.task_id, c.run, c.attempt_id limit %(limit)s
"""


def page(
    connection: Connection,
    environment: int,
    datasets: Iterable[DatasetRef],
    span: Span,
    seen: UpdatePlace | None,
    limit: int,
) -> list[tuple[UpdatePlace, UpdateItem]]:
    """The updates of these datasets within a span of time, the earliest first."""
    parameters = {
        "environment": environment,
        "datasets": sorted({ref.id for ref in datasets}),
        "after": span.after or "-infinity",
        "upto": span.upto or "infinity",
        "limit": limit,
        **_after(seen),
    }
    return [_found(row) for row in connection.execute(PAGE, parameters, prepare=False)]


def _after(seen: UpdatePlace | None) -> dict[str, Any]:
    return {
        "seen": seen.since if seen else None,
        "node": seen.node_id if seen else None,
        "partition": seen.partition if seen else None,
        "task": seen.task_id if seen else None,
        "run": seen.run if seen else None,
        "attempt": seen.attempt_id if seen else None,
    }


def _found(row: tuple[Any, ...]) -> tuple[UpdatePlace, UpdateItem]:
    place = UpdatePlace(*row[:6])
    namespace, name, version, task_namespace, task_name, run = row[6:]
    key = place.partition or None
    return place, UpdateItem(namespace, name, key, place.since, version, RunName(task_namespace, task_name, run))
