"""How the partitions of a world really stand once everything has arrived, and what a ledger believes otherwise."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from psycopg import Connection

from benchmarks.world.event import key
from benchmarks.world.graph import LAKE, NAMESPACE, Cadence, World
from benchmarks.world.hours import FAILED_STATE, NO_CLIENT, SKIPPED_STATE, SUCCEEDED, runs, streamed
from dataforge.model.reference import node_id

_STATUS = {SUCCEEDED: "ready", FAILED_STATE: "failed", SKIPPED_STATE: "skipped"}


class Stands(NamedTuple):
    """A partition of a task or dataset, and its state."""

    kind: str
    node: int
    partition: str
    status: str


def truth(world: World, hours: range) -> Iterator[Stands]:
    """Every partition whose window ended in these hours: of a task as its last run ended, of a dataset ready where a
    run succeeded; of streams what the watermark has passed, from the first day on, stale where rows came later."""
    for hour in range(hours.stop):
        yield from _streams(world, hour, heard=hour in hours)
    for task in np.flatnonzero(world.cadence == Cadence.STREAM).tolist():
        yield Stands("task", node_id(NAMESPACE, world.name(task)), "", "running")  # its run, which goes on for months
    for hour in hours:
        found = runs(world, hour)
        columns = (found.task, found.window, found.client, found.state)
        last: dict[tuple[int, int, int], int] = {}
        for task, window, client, state in zip(*(column.tolist() for column in columns), strict=True):
            last[task, window, client] = state  # who ran again stands behind who ran first
        for (task, window, client), state in last.items():
            partition = key(Cadence(world.cadence[task]), window, client)
            yield Stands("task", node_id(NAMESPACE, world.name(task)), partition, _STATUS[state])
            if state == SUCCEEDED:
                yield Stands("dataset", node_id(LAKE, world.dataset(task)), partition, "ready")


def _streams(world: World, hour: int, *, heard: bool) -> Iterator[Stands]:
    found = streamed(world, hour)
    for task, window, late in zip(found.task.tolist(), found.window.tolist(), found.late.tolist(), strict=True):
        partition = key(Cadence.STREAM, window, NO_CLIENT)
        status = "stale" if late and heard else "ready"
        yield Stands("task", node_id(NAMESPACE, world.name(task)), partition, status)
        yield Stands("dataset", node_id(LAKE, world.dataset(task)), partition, status)


EXPECTED = """
create temp table expected (node_kind node_kind, node_id bigint, partition text, status partition_status) on commit drop
"""
WRONG = """
select coalesce(e.node_kind, s.node_kind)::text, coalesce(e.node_id, s.node_id), coalesce(e.partition, s.partition),
    e.status::text, s.status::text
from expected e full join (
    select s.* from partition_state s join environment v on v.id = s.environment where v.name = %s
) s using (node_kind, node_id, partition)
where e.status is distinct from s.status
limit 100
"""


def wrong(connection: Connection, environment: str, expected: Iterator[Stands]) -> list[tuple[object, ...]]:
    """The first hundred partitions that the ledger believes otherwise: kind, node, partition, what is true, what it
    believes. Within one transaction."""
    connection.execute(EXPECTED)
    with connection.cursor().copy("copy expected from stdin") as copy:
        for each in expected:
            copy.write_row(each)
    return connection.execute(WRONG, [environment]).fetchall()
