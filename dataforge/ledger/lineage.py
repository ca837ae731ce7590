"""Lineage: what lies upstream and downstream of a task or dataset, across platforms and aliases.

Guarantees that nodes, names and version of an answer are those of one moment, and that its cost is bounded.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dataforge.graph import sparse
from dataforge.graph.follower import Follower
from dataforge.graph.sparse import DECLARED, OBSERVED, Edges, Node, Reached
from dataforge.model.lineage import Direction, Graph, GraphEdge, GraphNode, Origin
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.storage import environment as environments
from dataforge.storage import graph as graphs
from dataforge.storage import reference as references
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.graph import Description

MOST_NODES = 1_000
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
    with database.transaction() as connection:
        graphs.hold_snapshot(connection)
        here = environments.find(connection, environment)
        ref = references.resolve_node(connection, here.id, *reference)
        start = Node("task" if isinstance(ref, TaskRef) else "dataset", ref.id)
        graph = follower.at(here.id, here.graph_version, lambda: sparse.of_rows(graphs.edges(connection, here.id)))
        index = graph.index(start)
        if index is None:
            return _answer(connection, here, graph, {start: 0}, Edges([], truncated=False))
        hidden = graph.hidden(kind)
        hidden[index] = False
        reached = _reach(graph, index, direction, depth, limit, hidden)
        edges = graph.between(reached.nodes, hidden, limit * _EDGES_PER_NODE)
        depths = dict(zip(map(graph.node, reached.nodes.tolist()), reached.depths.tolist(), strict=True))
        truncated = reached.truncated or edges.truncated
        return _answer(connection, here, graph, depths, Edges(edges.edges, truncated))


def _reach(
    graph: sparse.Graph,
    start: int,
    direction: Direction,
    depth: int | None,
    limit: int,
    hidden: NDArray[np.bool_],
) -> Reached:
    if direction != "both":
        return graph.reach(start, direction, depth, limit, hidden)
    upstream = graph.reach(start, "upstream", depth, limit, hidden)
    return sparse.merge(upstream, graph.reach(start, "downstream", depth, limit, hidden), limit)


def _answer(
    connection: Connection, here: Environment, graph: sparse.Graph, depths: Mapping[Node, int], edges: Edges
) -> Graph:
    """The answer in names: nodes by distance, then by kind and name."""
    nodes = _described(connection, here.id, depths)
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


def _described(connection: Connection, environment: int, depths: Mapping[Node, int]) -> dict[Node, GraphNode]:
    tasks = graphs.tasks(connection, environment, [node.id for node in depths if node.kind == "task"])
    datasets = graphs.datasets(connection, environment, [node.id for node in depths if node.kind == "dataset"])
    described: dict[NodeKind, dict[int, Description]] = {"task": tasks, "dataset": datasets}
    found = {}
    for node, depth in depths.items():
        shown = described[node.kind][node.id]
        found[node] = GraphNode(node.kind, shown.namespace, shown.name, depth, shown.owner, shown.platform)
    return found


_ORIGIN: dict[int, Origin] = {DECLARED: "declared", OBSERVED: "observed"}
