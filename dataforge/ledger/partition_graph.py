"""Lineage of one partition: the partitions that it was made from or needs, and those that are made from it.

Two things join partitions: the mappings of edges, which say what is needed, and what runs named as read or written
(partition edges). What a declared mapping implies is shown once, as declared; whichever was known first, the answer is
the same, because the two are only joined here. Of an edge that was merely observed its mapping is a guess, so what the
runs of a partition named of that dataset takes its place.

Guarantees an answer of one moment and a bounded search: so many levels and so many partitions, or it says `truncated`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from dataforge.ledger.need import Asked, makers
from dataforge.ledger.reach import making, needing
from dataforge.ledger.surroundings import around
from dataforge.model.lineage import Direction, Origin, PartitionEdge, PartitionGraph, PartitionNode
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.model.state import PartitionStatus
from dataforge.storage import environment as environments
from dataforge.storage import graph as graphs
from dataforge.storage import partition_edge as seen
from dataforge.storage import readiness as storage
from dataforge.storage import reference as references
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.partition_edge import PartitionEdge as Seen
from dataforge.storage.readiness import Node, Place

MOST_NODES = 1_000
MOST_LEVELS = 100


class _Step(NamedTuple):
    """From an upstream partition to a downstream one, and the run that showed it where no mapping does."""

    upstream: Place
    downstream: Place
    shown: Seen | None = None


def lineage_of(
    database: Database,
    environment: str,
    reference: tuple[str | None, str],
    partition: str,
    now: datetime,
    direction: Direction = "both",
    depth: int | None = None,
) -> PartitionGraph:
    """The partitions within `depth` steps (None: any) of one partition of the task or dataset that `reference`
    (namespace, name) means.

    Raises NotFound for a name that is unknown or not unique.
    """
    with database.transaction() as connection:
        graphs.hold_snapshot(connection)
        here = environments.find(connection, environment)
        return lineage_in(connection, here, reference, partition, now, direction, depth)


def lineage_in(
    connection: Connection,
    here: Environment,
    reference: tuple[str | None, str],
    partition: str,
    now: datetime,
    direction: Direction,
    depth: int | None,
) -> PartitionGraph:
    """The same in a transaction that sees one snapshot."""
    ref = references.resolve_node(connection, here.id, *reference)
    start: Place = ("task" if isinstance(ref, TaskRef) else "dataset", ref.id, partition)
    walk = _Walk(connection, here, now, min(MOST_LEVELS if depth is None else depth, MOST_LEVELS))
    depths = {start: 0}
    if direction != "downstream":
        depths |= walk.along(start, upstream=True)
    if direction != "upstream":
        depths |= walk.along(start, upstream=False)
    return _answer(walk, depths | {start: 0}, whole=depth is None or depth > MOST_LEVELS)


class _Walk:
    """One search: the steps that were found, and whether it ended before it had seen all."""

    def __init__(self, connection: Connection, here: Environment, now: datetime, levels: int) -> None:
        self.connection, self.here, self.now, self.levels = connection, here, now, levels
        self.steps: dict[tuple[Place, Place], Seen | None] = {}
        self.full = self.deeper = False

    def along(self, start: Place, *, upstream: bool) -> dict[Place, int]:
        """The partitions up- or downstream of one, with their distances."""
        depths, level = {start: 0}, {start}
        for depth in range(1, self.levels + 1):
            found = _upstream(self, level) if upstream else _downstream(self, level)
            level = set()
            for step in sorted(found, key=lambda step: (step.upstream, step.downstream)):
                other = step.upstream if upstream else step.downstream
                if other not in depths and len(depths) >= MOST_NODES:
                    self.full = True
                    continue
                self._keep(step)
                if other not in depths:
                    depths[other] = depth
                    level.add(other)
            if not level:
                return depths
        self.deeper = True
        return depths

    def _keep(self, step: _Step) -> None:
        """A step that a mapping implies is kept as that, whatever runs showed."""
        ends = (step.upstream, step.downstream)
        self.steps[ends] = step.shown if self.steps.get(ends, step.shown) is not None else None


def _upstream(walk: _Walk, level: Iterable[Place]) -> list[_Step]:
    tasks = {place for place in level if place[0] == "task"}
    datasets = set(level) - tasks
    connection, environment = walk.connection, walk.here.id
    read = seen.of_tasks(connection, environment, tasks, written=False)
    written = seen.of_datasets(connection, environment, datasets, written=True)
    found = [_Step(each.dataset, each.task, each) for each in read]
    found += [_Step(each.task, each.dataset, each) for each in written]
    return found + _needed(walk, tasks, read) + _made(walk, datasets)


def _needed(walk: _Walk, tasks: set[Place], read: Iterable[Seen]) -> list[_Step]:
    """What the edges of these tasks map to; of an observed one only where no run named partitions of its dataset."""
    named = {(each.task, each.dataset_id) for each in read}
    known = around(walk.connection, walk.here.id, {node for _, node, _ in tasks})
    found = []
    for place in tasks:
        if place[1] not in known.subjects:
            continue
        for need in known.sketch(Asked(place[1], place[2]), walk.now).needs:
            guessed = need.edge.origin == "observed" and need.node.kind == "dataset"
            if not (guessed and (place, need.node.id) in named):
                found.append(_Step(need.places[0], place))
    return found


def _made(walk: _Walk, datasets: set[Place]) -> list[_Step]:
    writers = storage.producers(walk.connection, walk.here.id, {node for _, node, _ in datasets})
    return [
        _Step(("task", *maker), place)
        for place in datasets
        for writer in writers.get(place[1], ())
        for maker in makers(writer, place[2], walk.now)
    ]


def _downstream(walk: _Walk, level: Iterable[Place]) -> list[_Step]:
    tasks = {place for place in level if place[0] == "task"}
    datasets = set(level) - tasks
    connection, environment = walk.connection, walk.here.id
    read = seen.of_datasets(connection, environment, datasets, written=False)
    written = seen.of_tasks(connection, environment, tasks, written=True)
    found = [_Step(each.dataset, each.task, each) for each in read]
    found += [_Step(each.task, each.dataset, each) for each in written]
    found += [_Step(place, ("task", *own)) for place, own in needing(connection, environment, level, walk.now)]
    made = making(connection, environment, {(node, key) for _, node, key in tasks}, walk.now)
    return found + [_Step(("task", *own), place) for own, place in made]


def _answer(walk: _Walk, depths: dict[Place, int], *, whole: bool) -> PartitionGraph:
    nodes = _described(walk, depths)
    declared = _declared(walk)
    edges = [
        PartitionEdge(
            nodes[upstream].end,
            nodes[downstream].end,
            _origin(declared, upstream, downstream, by),
            by.run if by else None,
            by.seen_at if by else None,
        )
        for (upstream, downstream), by in walk.steps.items()
        if upstream in nodes and downstream in nodes
    ]
    return PartitionGraph(
        nodes=sorted(nodes.values(), key=lambda node: (node.depth, node.end)),
        edges=sorted(edges, key=lambda edge: (edge.from_, edge.to)),
        truncated=walk.full or (walk.deeper and whole),
        graph_version=walk.here.graph_version,
        known_from=walk.here.states_known_from or None,
    )


def _declared(walk: _Walk) -> set[tuple[int, Node]]:
    """Which tasks declare an edge to which nodes."""
    tasks = {place[1] for step in walk.steps for place in step if place[0] == "task"}
    found = storage.edges(walk.connection, walk.here.id, tasks)
    return {(task, edge.node) for task, edges in found.items() for edge in edges if edge.origin == "declared"}


def _origin(declared: set[tuple[int, Node]], upstream: Place, downstream: Place, by: Seen | None) -> Origin:
    task, node = (upstream, downstream) if downstream[0] == "dataset" else (downstream, upstream)
    return "declared" if by is None and (task[1], node[:2]) in declared else "observed"


def _described(walk: _Walk, depths: dict[Place, int]) -> dict[Place, PartitionNode]:
    ids: dict[NodeKind, set[int]] = {"task": set(), "dataset": set()}
    for kind, node, _ in depths:
        ids[kind].add(node)
    described = {
        "task": graphs.tasks(walk.connection, walk.here.id, ids["task"]),
        "dataset": graphs.datasets(walk.connection, walk.here.id, ids["dataset"]),
    }
    states = storage.states(walk.connection, walk.here.id, depths)
    found = {}
    for place, depth in depths.items():
        kind, node, key = place
        shown = described[kind][node]
        state = states[place].status if place in states else PartitionStatus.MISSING
        found[place] = PartitionNode(kind, shown.namespace, shown.name, key, depth, state, shown.owner, shown.platform)
    return found
