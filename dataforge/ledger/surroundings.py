"""The graph around some tasks: themselves, their edges, what those lead to, and who writes the datasets among it.

Guarantees at most six queries, however many tasks are asked for, and one where the process remembers them; one more
where a dynamic set cuts one of them: then its partitioning says which keys the set holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Among, Asked, Sketch, makers, sketch, used_edges
from dataforge.ledger.outline import Outline, outline
from dataforge.ledger.partition_set import completed
from dataforge.storage.database import Connection
from dataforge.storage.readiness import EdgeRow, Node, NodeRow, Place, Producer, Subject


class Surroundings(msgspec.Struct, frozen=True):
    """What was read of the graph around the asked tasks."""

    subjects: Mapping[int, Subject]
    edges: Mapping[int, list[EdgeRow]]
    nodes: dict[Node, NodeRow]
    producers: Mapping[int, list[Producer]]
    known_from: str = ""  # the day from which on windows have states
    outlines: Mapping[int, Outline] = {}  # of the tasks, where these were asked for

    @property
    def namespaces(self) -> set[str]:
        return {node.namespace for node in self.nodes.values()} | {task.namespace for task in self.subjects.values()}

    def writers(self, node: NodeRow) -> list[Producer]:
        """The tasks that write a dataset; nobody writes a task."""
        return self.producers.get(node.id, []) if node.kind == "dataset" else []

    def makers(self, place: Place, now: datetime) -> list[Asked]:
        """The partitions of tasks that would make a place: of a task itself, of a dataset those of its writers."""
        kind, node_id, key = place
        if kind == "task":
            return [Asked(node_id, key)]
        return [maker for each in reversed(self.producers.get(node_id, [])) for maker in makers(each, key, now)]

    def joined(self, more: Surroundings) -> Surroundings:
        """Both, of which `more` is believed where they speak of the same."""
        return Surroundings(
            {**self.subjects, **more.subjects},
            {**self.edges, **more.edges},
            {**self.nodes, **more.nodes},
            {**self.producers, **more.producers},
            more.known_from,
            {**self.outlines, **more.outlines},
        )

    def sketch(self, asked: Asked, now: datetime, among: Among | None = None) -> Sketch:
        """What a partition of one of the tasks needs, or of it what may be `among` some keys."""
        task = asked.task_id
        edges = self.edges.get(task, ())
        return sketch(self.subjects[task], edges, self.nodes, asked, now, self.known_from, among)

    def owner(self, node: NodeRow) -> str | None:
        """Who answers for it: of a dataset without an owner the first of its writers that has one."""
        return node.owner or next((each.owner for each in self.writers(node) if each.owner), None)


def around(connection: Connection, environment: int, tasks: set[int], here: Nodes | None = None) -> Surroundings:
    """The graph around these tasks, as `here` has it where that is at hand; then with their outlines."""
    outlines = here.derived(Outline, tasks, _outlines) if here is not None else {}
    here = here or Nodes(connection, environment)
    edges = here.edges(tasks)
    consumed = set[Node]().union(*(each.nodes for each in outlines.values())) if outlines else _consumed(edges)
    producers = here.producers({node_id for kind, node_id in consumed if kind == "dataset"})
    known = Surroundings(here.subjects(tasks), edges, here.nodes(consumed), producers, here.known_from, outlines)
    here.remember()
    return _completed(connection, environment, known)


def _outlines(here: Nodes, tasks: Collection[int]) -> dict[int, Outline]:
    edges, subjects = here.edges(tasks), here.subjects(tasks)
    nodes = here.nodes(_consumed(edges))
    return {task: outline(subjects[task], edges[task], nodes) for task in tasks}


def _consumed(edges: Mapping[int, Sequence[EdgeRow]]) -> set[Node]:
    return {edge.node for found in edges.values() for edge in used_edges(found)}


def _completed(connection: Connection, environment: int, known: Surroundings) -> Surroundings:
    """The same with the keys of dynamic sets."""
    writers = [each for found in known.producers.values() for each in found]
    shapes = {subject.partitioning for subject in known.subjects.values()}
    shapes |= {each.task_partitioning for each in writers}
    theirs = {node.partitioning for node in known.nodes.values()} | {each.partitioning for each in writers}
    full = completed(connection, environment, shapes | theirs)
    if not full:
        return known

    def of(shape: str) -> str:
        return full.get(shape, shape)

    def at(shape: str | None) -> str | None:
        return shape and of(shape)

    return Surroundings(
        {task: replace(each, partitioning=of(each.partitioning)) for task, each in known.subjects.items()},
        known.edges,
        {node: replace(each, partitioning=at(each.partitioning)) for node, each in known.nodes.items()},
        {
            dataset: [
                replace(each, partitioning=at(each.partitioning), task_partitioning=of(each.task_partitioning))
                for each in found
            ]
            for dataset, found in known.producers.items()
        },
        known.known_from,
        known.outlines,
    )
