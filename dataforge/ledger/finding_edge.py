"""Findings about edges: declared and never observed, observed and never declared.

What is noise on a real platform is left out. Who declares no edge of a task at all, only its owner say, leaves its
edges to be observed. Runs that told of no data say nothing of what was read. What runs a task (Airflow a Spark
application) may declare its data, and what it runs may show them. That an observed upstream task is behind a declared
dataset need not be said twice; and only a platform that lists upstream tasks can show one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from dataforge.ledger.need import ref
from dataforge.model.finding import Finding
from dataforge.model.finding_rule import Use, edge_never_declared, edge_never_observed
from dataforge.storage import finding_edge as storage
from dataforge.storage import readiness
from dataforge.storage.database import Connection
from dataforge.storage.finding_edge import DeclaredTask, EdgeSeen, Telling
from dataforge.storage.readiness import Node, NodeRow, Producer

MOST_TASKS = 500  # that are looked at together


class EdgeStretch(msgspec.Struct, frozen=True):
    """The findings of some tasks by their ids, and where the next ones begin; None when there are no more."""

    found: list[tuple[int, Finding]]
    then: int | None


class _Seen(msgspec.Struct, frozen=True):
    edges: Mapping[int, Sequence[EdgeSeen]]
    nodes: Mapping[Node, NodeRow]
    producers: Mapping[int, Sequence[Producer]]
    telling: Mapping[int, Telling]
    succeeded: Mapping[int, Telling]


def of_edges(connection: Connection, environment: int, since: datetime, begin: int) -> EdgeStretch:
    """The findings of the tasks from the id `begin` on. An observed edge counts that was last seen at `since` or later,
    a declared one whose task has run since then."""
    page = storage.tasks(connection, environment, begin, MOST_TASKS)
    tasks = [task for task in page if task.declared]
    seen = _read(connection, environment, tasks)
    found = [(task.id, finding) for task in tasks for finding in _findings(task, seen, since)]
    return EdgeStretch(found, page[-1].id + 1 if len(page) == MOST_TASKS else None)


def _read(connection: Connection, environment: int, tasks: Sequence[DeclaredTask]) -> _Seen:
    edges: dict[int, list[EdgeSeen]] = {}
    for edge in storage.edges(connection, environment, [task.id for task in tasks]):
        edges.setdefault(edge.task_id, []).append(edge)
    asked = [(task.id, task.since) for task in tasks if task.since is not None]
    datasets = {e.node_id for found in edges.values() for e in found if e.node_kind == "dataset" and e.declared}
    nodes = {(edge.node_kind, edge.node_id) for found in edges.values() for edge in found}
    return _Seen(
        edges,
        readiness.nodes(connection, environment, nodes),
        readiness.producers(connection, environment, datasets),
        storage.telling(connection, environment, asked),
        storage.succeeded(connection, environment, [(t.id, t.since) for t in tasks if t.since and t.lists_upstreams]),
    )


def _findings(task: DeclaredTask, seen: _Seen, since: datetime) -> Iterator[Finding]:
    edges = seen.edges.get(task.id, ())
    declared = {_end(edge): edge for edge in edges if edge.declared}
    observed = {_end(edge): edge for edge in edges if not edge.declared}
    own = [edge for edge in declared.values() if edge.by == task.id]
    for edge in own:
        if _end(edge) not in observed and edge.required:
            yield from _never_observed(task, edge, seen, since)
    for end, edge in observed.items():
        if own and end not in declared and edge.by == task.id and not _implied(edge, own, seen):
            yield from _never_declared(task, edge, seen, since)


def _end(edge: EdgeSeen) -> tuple[str, str, int]:
    return (edge.relation, edge.node_kind, edge.node_id)


def _never_observed(task: DeclaredTask, edge: EdgeSeen, seen: _Seen, since: datetime) -> Iterator[Finding]:
    """Of an upstream task only where the platform lists such tasks at all."""
    if edge.node_kind == "task" and (not task.lists_upstreams or edge.node_id == task.id):
        return
    told = (seen.succeeded if edge.node_kind == "task" else seen.telling).get(task.id)
    if told is None or told.last_at < since or task.since is None:
        return
    finding = edge_never_observed(_use(task, edge, seen, task.since), told.runs, told.last_at)
    if finding is not None:
        yield finding


def _never_declared(task: DeclaredTask, edge: EdgeSeen, seen: _Seen, since: datetime) -> Iterator[Finding]:
    if edge.first_at is not None and edge.last_at is not None and edge.last_at >= since:
        yield edge_never_declared(_use(task, edge, seen, edge.first_at), edge.last_at)


def _implied(edge: EdgeSeen, own: Iterable[EdgeSeen], seen: _Seen) -> bool:
    """Whether what is declared says it already: an upstream task writes a dataset that is declared to be consumed, or
    no upstream task is declared at all."""
    if edge.node_kind != "task":
        return False
    consumed = [each for each in own if each.relation == "consumes"]
    data = [each.node_id for each in consumed if each.node_kind == "dataset"]
    writes = any(edge.node_id == writer.task_id for node in data for writer in seen.producers.get(node, ()))
    return writes or all(each.node_kind == "dataset" for each in consumed)


def _use(task: DeclaredTask, edge: EdgeSeen, seen: _Seen, since: datetime) -> Use:
    node = seen.nodes[edge.node_kind, edge.node_id]
    return Use(
        task=task.ref,
        owner=task.owner,
        source=task.source or "",
        relation=edge.relation,
        node=ref(node),
        since=since,
    )
