"""Orders: of each thing that can be ordered the one that stands."""

from collections.abc import Sequence

import msgspec
from psycopg import Connection

from dataforge.model.control import Control, ControlKind, Order, Scope
from dataforge.storage.partition import Place
from dataforge.storage.record_set import Row, spread

Subject = tuple[Scope, int, str]  # scope, subject id, partition ('' is the whole)

# Sorted and reduced by the caller; of what stands already only the earlier is replaced.
FOLD = """
insert into control as held (environment, scope, subject_id, partition, kind, name, namespace, subject, value, at,
    said_by, ordered_by, reason)
select %s, scope, subject_id, partition, kind, name, namespace, subject, coalesce(value, 'null'::jsonb), at, said_by,
    ordered_by, reason
from json_to_recordset(%s::json) as said (scope text, subject_id bigint, partition text, kind text, name text,
    namespace text, subject text, value jsonb, at timestamptz, said_by bytea, ordered_by text, reason text)
on conflict (environment, scope, subject_id, partition, kind, name) do update set
    value = excluded.value, at = excluded.at, said_by = excluded.said_by, ordered_by = excluded.ordered_by,
    reason = excluded.reason
where (held.at, held.said_by) < (excluded.at, excluded.said_by)
"""


def fold(connection: Connection, environment: int, controls: Sequence[Control]) -> None:
    """Keeps these orders, each key once, where no later one stands."""
    if controls:
        ordered = sorted(controls, key=lambda control: control.key)
        connection.execute(FOLD, [environment, spread(map(order_row, ordered))])


def order_row(control: Control) -> Row:
    """An order as it travels to the server."""
    key = control.key
    return {
        "scope": key.subject.scope,
        "subject_id": key.subject.id,
        "partition": key.partition,
        "kind": key.kind,
        "name": key.name,
        "namespace": key.subject.namespace,
        "subject": key.subject.name,
        "value": control.value,
        "at": control.at,
        "said_by": control.event,
        "ordered_by": control.by,
        "reason": control.reason,
    }


QUARANTINES = """
select scope, subject_id, partition from control
where environment = %s and scope in ('task', 'dataset') and kind = 'quarantine'
"""


def quarantines(connection: Connection, environment: int) -> set[Place]:
    """The partitions of which an order says whether they may be used."""
    return {(row[0], row[1], row[2]) for row in connection.execute(QUARANTINES, [environment]).fetchall()}


class Standing(msgspec.Struct, frozen=True):
    """An order that stands, with what it is about."""

    subject: Subject
    kind: ControlKind
    name: str
    order: Order
