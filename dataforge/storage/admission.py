"""Orders that stand and leases that are held, read together: every verdict asks for both, and most find neither."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from psycopg import Connection

from dataforge.model.admission import Lease
from dataforge.model.control import Order
from dataforge.storage.control import Standing, Subject
from dataforge.storage.parameter import texts
from dataforge.storage.wakeup import TaskPartition

STANDING = """
select c.scope, c.subject_id, c.partition, c.kind, c.name, c.value, c.at, c.ordered_by, c.reason, null::integer, null
from unnest(%(scopes)s::text[], %(ids)s::bigint[], %(partitions)s::text[]) as w (scope, subject_id, partition)
cross join lateral (
    select * from control
    where environment = %(environment)s and scope = w.scope and subject_id = w.subject_id and partition = w.partition
    offset 0
) c
union all
select null, l.task_id, l.partition, null, null, null, l.claimed_at, l.worker, null, l.attempt, l.expires_at
from unnest(%(tasks)s::bigint[], %(keys)s::text[]) as w (task_id, partition)
cross join lateral (
    select * from lease
    where environment = %(environment)s and task_id = w.task_id and partition = w.partition and ended_at is null
    offset 0
) l
"""


class Stands(NamedTuple):
    """What stands of some subjects and partitions."""

    orders: list[Standing]
    leases: dict[TaskPartition, Lease]  # whose end is not written down, though they may have run out


def standing(
    connection: Connection, environment: int, subjects: Iterable[Subject], partitions: Iterable[TaskPartition] = ()
) -> Stands:
    """Every order that stands of these subjects, and the leases on these partitions."""
    found = Stands([], {})
    parameters = columns(environment, subjects, partitions)
    rows = connection.execute(STANDING, parameters).fetchall() if parameters["ids"] or parameters["tasks"] else ()
    for scope, subject, partition, kind, name, value, at, by, reason, attempt, expires_at in rows:
        if scope is None:
            found.leases[subject, partition] = Lease(by, attempt, at, expires_at)
        else:
            found.orders.append(Standing((scope, subject, partition), kind, name, Order(value, at, by, reason)))
    return found


def columns(environment: int, subjects: Iterable[Subject], partitions: Iterable[TaskPartition]) -> dict[str, Any]:
    """The parameters of the query."""
    about, held = sorted(set(subjects)), sorted(set(partitions))
    return {
        "environment": environment,
        "scopes": [scope for scope, _, _ in about],
        "ids": [subject for _, subject, _ in about],
        "partitions": texts(partition for _, _, partition in about),
        "tasks": [task for task, _ in held],
        "keys": texts(partition for _, partition in held),
    }
