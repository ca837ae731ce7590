"""Writes: the claims that runs have on partitions, from which the states of those follow. Derived."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.model.run import Belief
from dataforge.model.state import PartitionStatus
from dataforge.storage.attempt import RunKey
from dataforge.storage.partition import Place
from dataforge.storage.record_set import Added, Row, add


class Claim(msgspec.Struct, frozen=True):
    """What one attempt of a run makes of one partition."""

    node_kind: NodeKind
    node_id: int
    partition: str
    run: RunKey
    attempt_id: str
    group_run: str
    producer: RunKey
    status: PartitionStatus
    belief: Belief
    started_at: datetime | None
    since: datetime | None
    version: str | None = None
    rows: int | None = None
    past: bool = False  # of a success with a later attempt of its run: only the last success rests on it
    began: datetime | None = None  # when the run that answers for it did, where that is before `started_at`
    parent: int | None = None  # the task whose run is above that one
    made_for: tuple[str, ...] = ()  # of a dataset: the partitions of that run ('' of none), unless this is the only one


CLAIM = Added(
    insert="""
insert into write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run,
    producer_task_id, producer_run, status, run_state, evidence, started_at, since, version, rows, past, began,
    parent_task_id, made_for)
select %s, * from json_to_recordset(%s::json) as said (node_kind node_kind, node_id bigint, partition text,
    task_id bigint, run text, attempt_id text, group_run text, producer_task_id bigint, producer_run text,
    status partition_status, run_state run_state, evidence evidence, started_at timestamptz, since timestamptz,
    version text, rows bigint, past boolean, began timestamptz, parent_task_id bigint, made_for text[])
""",
    copy="""
copy write (environment, node_kind, node_id, partition, task_id, run, attempt_id, group_run, producer_task_id,
    producer_run, status, run_state, evidence, started_at, since, version, rows, past, began, parent_task_id, made_for)
from stdin (format binary)
""",
    types=(
        *("text", "int8", "text", "int8", "text", "text", "text", "int8", "text", "text", "text", "text"),
        *("timestamptz", "timestamptz", "text", "int8", "bool", "timestamptz", "int8", "text[]"),
    ),
)


def claim(connection: Connection, environment: int, claims: Sequence[Claim]) -> set[Place]:
    """Stores claims, and returns the places they are on."""
    add(connection, environment, CLAIM, [_row(each) for each in claims])
    return {(c.node_kind, c.node_id, c.partition) for c in claims}


def _row(claim: Claim) -> Row:
    return {
        "node_kind": claim.node_kind,
        "node_id": claim.node_id,
        "partition": claim.partition,
        "task_id": claim.run[0],
        "run": claim.run[1],
        "attempt_id": claim.attempt_id,
        "group_run": claim.group_run,
        "producer_task_id": claim.producer[0],
        "producer_run": claim.producer[1],
        "status": claim.status,
        "run_state": claim.belief.state,
        "evidence": claim.belief.evidence.label,
        "started_at": claim.started_at,
        "since": claim.since,
        "version": claim.version,
        "rows": claim.rows,
        "past": claim.past,
        "began": claim.began,
        "parent_task_id": claim.parent,
        "made_for": list(claim.made_for) or None,
    }
