"""Lineage: what lies upstream and downstream of a task or dataset, across platforms and aliases.

Guarantees that nodes, names and version of an answer are those of one moment, and that its cost is bounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from dataforge.graph import sparse
from dataforge.graph.follower import Follower
from dataforge.graph.shown import Shown, shown
from dataforge.graph.sparse import DECLARED, OBSERVED, Edges, Node, Reached
from dataforge.ledger.past import Walk
from dataforge.model.lineage import Direction, Graph, GraphEdge, GraphNode, Origin, Window
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.storage import environment as environments
from dataforge.storage import graph as graphs
from dataforge.storage import past
from dataforge.storage import reference as references
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.graph import Description

MOST_NODES = 1_000
_MOST_LOOKS = 5  # at newer states, where other threads have gone on to one meanwhile; then all is read for one answer
_EDGES_PER_NODE = 10  # of an answer, in the mean; more could not be drawn or read either


def lineage(
    database: Database,
    follower: Follower,
    environment: str,
    reference: tuple[str | None, str],
    direction: Direction = "both",
    depth: int | None = None,
    kind: NodeKind | None = None,
    limit: int = MOST_NODES,
) -> Graph:
    """What is within `depth` steps (None: any) of the task or dataset that `reference` (namespace, name) means.

    With a `kind` only nodes of that kind are shown, beside the one that was asked for; a path through the
    other kind is one step. Raises NotFound for a name that is unknown or not unique.
    """
    window = Window(direction, depth, kind, limit)
    for look in range(_MOST_LOOKS):
        with database.transaction() as connection:
            graphs.hold_snapshot(connection)
            here = environments.find(connection, environment)
            start = node_named(connection, here, reference)
            graph = _followed(connection, here, follower)
            if graph is None and look == _MOST_LOOKS - 1:
                graph = _read(connection, here).graph
            if graph is not None:
                return _found(connection, here, graph, [(start, window)])[0]
    raise AssertionError("the last look finds a graph")


def lineages(
    connection: Connection, here: Environment, follower: Follower, asked: Sequence[tuple[Node, Window]]
) -> list[Graph]:
    """What is around each of these nodes, in a transaction that sees one snapshot: as many queries for all of them as
    for one. Where other threads have gone on to a newer graph meanwhile, all edges are read for this answer."""
    graph = _followed(connection, here, follower) or _read(connection, here).graph
    return _found(connection, here, graph, asked)


def _followed(connection: Connection, here: Environment, follower: Follower) -> sparse.Graph | None:
    def follow(held: Shown, version: int) -> Shown | None:
        if version < here.graph_logged_after:
            return None
        return held.after(*graphs.changes(connection, here.id, version))

    return follower.at(here.id, here.graph_version, lambda: _read(connection, here), follow)


def _read(connection: Connection, here: Environment) -> Shown:
    return shown(*graphs.edges(connection, here.id))


def _found(
    connection: Connection, here: Environment, graph: sparse.Graph, asked: Sequence[tuple[Node, Window]]
) -> list[Graph]:
    within = [_within(graph, start, window) for start, window in asked]
    ids = _by_kind({node for depths, _ in within for node in depths})
    tasks = graphs.tasks(connection, here.id, ids["task"])
    datasets = graphs.datasets(connection, here.id, ids["dataset"])
    return [_answer(here, _named(depths, tasks, datasets), graph, edges) for depths, edges in within]


def lineage_at(
    database: Database,
    environment: str,
    reference: tuple[str | None, str],
    at: datetime,
    direction: Direction = "both",
    depth: int | None = None,
    kind: NodeKind | None = None,
    limit: int = MOST_NODES,
) -> Graph:
    """The same as it was at a moment: by the declarations that held then, and by what had been observed until then.

    Names are those of today: what has other names now stands under its canonical one. Raises NotFound as `lineage`.
    """
    with database.transaction() as connection:
        graphs.hold_snapshot(connection)
        here = environments.find(connection, environment)
        start = node_named(connection, here, reference)
        return lineage_then(connection, here, start, Window(direction, depth, kind, limit), at)


def lineage_then(connection: Connection, here: Environment, start: Node, window: Window, at: datetime) -> Graph:
    """The same in a transaction that sees one snapshot."""
    walk = Walk(connection, here.id, at)
    graph = sparse.of_rows(walk.around(start, window))
    depths, edges = _within(graph, start, window)
    ids = _by_kind(depths)
    tasks = past.tasks(connection, here.id, at, ids["task"])
    datasets = past.datasets(connection, here.id, at, ids["dataset"])
    answer = _answer(here, _named(depths, tasks, datasets), graph, edges)
    return replace(answer, truncated=answer.truncated or walk.truncated, at=at.astimezone(UTC))


def node_named(connection: Connection, here: Environment, reference: tuple[str | None, str]) -> Node:
    """The task or dataset that a name (namespace, name) means. Raises NotFound as `lineage`."""
    ref = references.resolve_node(connection, here.id, *reference)
    return Node("task" if isinstance(ref, TaskRef) else "dataset", ref.id)


def _within(graph: sparse.Graph, start: Node, window: Window) -> tuple[dict[Node, int], Edges]:
    """The nodes that the window shows, with their distances, and the edges among them."""
    index = graph.index(start)
    if index is None:
        return {start: 0}, Edges([], truncated=False)
    hidden = graph.hidden(window.kind)
    hidden[index] = False
    reached = _reach(graph, index, window, hidden)
    edges = graph.between(reached.nodes, hidden, window.limit * _EDGES_PER_NODE)
    depths = dict(zip(map(graph.node, reached.nodes.tolist()), reached.depths.tolist(), strict=True))
    return depths, Edges(edges.edges, reached.truncated or edges.truncated)


def _reach(graph: sparse.Graph, start: int, window: Window, hidden: NDArray[np.bool_]) -> Reached:
    depth, limit = window.depth, window.limit
    if window.direction != "both":
        return graph.reach(start, window.direction, depth, limit, hidden)
    upstream = graph.reach(start, "upstream", depth, limit, hidden)
    return sparse.merge(upstream, graph.reach(start, "downstream", depth, limit, hidden), limit)


def _answer(here: Environment, nodes: Mapping[Node, GraphNode], graph: sparse.Graph, edges: Edges) -> Graph:
    """The answer in names: nodes by distance, then by kind and name."""
    named = [
        GraphEdge(nodes[graph.node(upstream)].end, nodes[graph.node(downstream)].end, _ORIGIN[origin])
        for upstream, downstream, origin in edges.edges
    ]
    return Graph(
        nodes=sorted(nodes.values(), key=lambda node: (node.depth, node.end)),
        edges=sorted(named, key=lambda edge: (edge.from_, edge.to)),
        truncated=edges.truncated,
        graph_version=here.graph_version,
    )


def _by_kind(nodes: Iterable[Node]) -> dict[NodeKind, list[int]]:
    found: dict[NodeKind, list[int]] = {"task": [], "dataset": []}
    for node in nodes:
        found[node.kind].append(node.id)
    return found


def _named(
    depths: Mapping[Node, int], tasks: Mapping[int, Description], datasets: Mapping[int, Description]
) -> dict[Node, GraphNode]:
    described: dict[NodeKind, Mapping[int, Description]] = {"task": tasks, "dataset": datasets}
    found = {}
    for node, depth in depths.items():
        said = described[node.kind][node.id]
        found[node] = GraphNode(node.kind, said.namespace, said.name, depth, said.owner, said.platform)
    return found


_ORIGIN: dict[int, Origin] = {DECLARED: "declared", OBSERVED: "observed"}
