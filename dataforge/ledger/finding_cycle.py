"""Findings about loops that were observed: tasks that each read what the next one brings, until it comes round.

Nobody can declare such a loop, and what was seen is kept all the same, so it is told here. A loop counts as it does for
a declaration (`graph.cycle`): one that leads back to strictly earlier partitions is none, as the mappings of declared
edges say and the last runs of observed ones show; nor is a task that reads and writes one dataset in place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec
import numpy as np

from dataforge.graph import cycle
from dataforge.graph.cycle import Link, Name
from dataforge.graph.knot import Ends, knots
from dataforge.ledger.need import cut_of, mapping_of, ref
from dataforge.model.finding import Finding
from dataforge.model.finding_rule import Use, observed_cycle
from dataforge.model.partition import Partitioning
from dataforge.model.reference import TaskRef
from dataforge.storage import finding_cycle as storage
from dataforge.storage import graph as graphs
from dataforge.storage import readiness
from dataforge.storage.database import Connection
from dataforge.storage.finding_cycle import LoopEdge
from dataforge.storage.readiness import Node, NodeRow

MOST_LOOPS = 20  # that are looked at together


class CycleStretch(msgspec.Struct, frozen=True):
    """The findings of some loops, each by the least id among its tasks, and where the next ones begin; None when there
    are no more."""

    found: list[tuple[int, Finding]]
    then: int | None


def of_cycles(connection: Connection, environment: int, since: datetime, begin: int) -> CycleStretch:
    """The findings of the loops whose least task has the id `begin` or a greater one. An observed edge counts that was
    last seen at `since` or later."""
    tied = sorted((min(tasks), tasks) for tasks in _tied(connection, environment))
    ahead = [each for each in tied if each[0] >= begin]
    found = []
    for least, tasks in ahead[:MOST_LOOPS]:
        finding = _of_loop(connection, environment, tasks, since)
        if finding is not None:
            found.append((least, finding))
    return CycleStretch(found, ahead[MOST_LOOPS][0] if len(ahead) > MOST_LOOPS else None)


def _tied(connection: Connection, environment: int) -> list[set[int]]:
    """Tasks on loops of edges, declared or observed. Steps are parts of a task; that a task runs another is no need."""
    read = graphs.edges(connection, environment)
    ends = Ends(*(read.edges[name] for name in Ends._fields))
    needs = (ends.consumes | ends.of_dataset) & ~np.isin(ends.task, read.steps["id"])
    aliases = zip(read.aliases["id"].tolist(), read.aliases["canonical"].tolist(), strict=True)
    return knots(Ends._make(column[needs] for column in ends), aliases)


def _of_loop(connection: Connection, environment: int, tasks: set[int], since: datetime) -> Finding | None:
    edges = _counting(storage.edges(connection, environment, tasks), since)
    earlier = storage.lagging(connection, environment, [(e.task_id, e.node_id) for e in edges if _is_seen_read(e)])
    needed = [each for each in edges if not (_is_seen_read(each) and (each.task_id, each.node_id) in earlier)]
    nodes = readiness.nodes(connection, environment, {node for each in needed for node in each.ends})
    way = cycle.find((link for each in needed for link in _links(each)), (), lambda names: _cuts(nodes, names))
    return _told(needed, way, nodes) if way is not None else None


def _counting(edges: Sequence[LoopEdge], since: datetime) -> list[LoopEdge]:
    """What is declared, and what beyond that was seen of late."""
    said = {(each.ends, each.relation) for each in edges if each.seen is None}
    return [
        each
        for each in edges
        if each.seen is None or ((each.ends, each.relation) not in said and each.seen[1] >= since)
    ]


def _is_seen_read(edge: LoopEdge) -> bool:
    return edge.seen is not None and edge.relation == "consumes" and edge.node_kind == "dataset"


def _links(edge: LoopEdge) -> Iterator[Link]:
    link = Link(edge.task_id, edge.relation == "consumes", Name(*edge.node), mapping_of(edge.mapping))
    return cycle.links(link, waits=edge.waits, triggers=edge.triggers)


def _cuts(nodes: Mapping[Node, NodeRow], names: Iterable[Name]) -> dict[Name, Partitioning]:
    """How they are declared to be cut."""
    rows = {name: nodes[name.kind, name.id] for name in names}
    cuts = {name: cut_of(row.partitioning, declared=True) for name, row in rows.items() if row.declared_cut}
    return {name: cut for name, cut in cuts.items() if cut is not None}


def _told(edges: Iterable[LoopEdge], way: Sequence[Name], nodes: Mapping[Node, NodeRow]) -> Finding:
    """The loop by the edge that closed it: of those that were only observed the one that was seen last."""
    steps = set(pairwise(way))
    seen = [(each.seen, each) for each in edges if each.seen is not None and each.ends in steps]
    (first_at, _), closing = max(seen, key=lambda each: (each[0][0], each[1].ends))
    task = nodes["task", closing.task_id]
    return observed_cycle(
        Use(
            task=TaskRef(task.namespace, task.name),
            owner=task.owner,
            source=None,
            relation=closing.relation,
            node=ref(nodes[closing.node]),
            since=first_at,
        ),
        [ref(nodes[name.kind, name.id]) for name in way],
        min(last_at for (_, last_at), _ in seen),
    )
