"""The graph in GraphQL: what lies upstream and downstream of a task or dataset, or of one partition."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
import strawberry
from msgspec import Meta

from dataforge.api.graphql.nodes import leads_to_node
from dataforge.api.graphql.reading import Within
from dataforge.api.graphql.shape import Of, link, takes
from dataforge.ledger import lineage
from dataforge.ledger.lineage import MOST_NODES
from dataforge.ledger.partition_graph import lineage_in
from dataforge.model.catalog import DatasetItem, TaskItem
from dataforge.model.lineage import Direction, Graph, GraphNode, PartitionGraph, PartitionNode, Window
from dataforge.model.reference import NodeKind, node_id

_Name = Annotated[str, Meta(description="A task, or a dataset by any of its names.")]
_Namespace = Annotated[str, Meta(description="May be left out where the name is unique in the environment.")]
_Way = Annotated[Direction, Meta(description="Which way to go.")]
_Depth = Annotated[int, Meta(ge=0, le=10_000, description="How many steps to go; null goes to the end.")]
_Kind = Annotated[NodeKind, Meta(description="Show only these; a path through the other kind is one step.")]
_Limit = Annotated[int, Meta(ge=1, le=MOST_NODES, description="How many nodes the answer holds at most.")]


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What of the surroundings of a task or dataset is wanted."""

    direction: _Way = "both"
    depth: _Depth | None = 1
    kind: _Kind | None = None
    limit: _Limit = 10

    @property
    def window(self) -> Window:
        return Window(self.direction, self.depth, self.kind, self.limit)


class GraphFilter(Around, frozen=True, kw_only=True):
    """Whose surroundings are wanted, of now or of a moment."""

    name: _Name
    namespace: _Namespace | None = None
    depth: _Depth | None = None
    limit: _Limit = MOST_NODES
    at: (
        Annotated[datetime, Meta(tz=True, description="As of this time: what was declared and seen by then.")] | None
    ) = None


class PartitionGraphFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which partition's surroundings are wanted."""

    name: _Name
    partition: Annotated[str, Meta(description="The partition, by mappings and by what runs named.")]
    namespace: _Namespace | None = None
    direction: _Way = "both"
    depth: _Depth | None = None


leads_to_node(GraphNode)
leads_to_node(PartitionNode)


@takes(GraphFilter, limit=MOST_NODES)
def around(within: Within, wanted: GraphFilter) -> Of[Graph]:
    """Raises NotFound for a name that is unknown or not unique."""
    here, follower, named = within.here, within.reading.follower, (wanted.namespace, wanted.name)
    start = within.read(lambda connection, _: lineage.node_named(connection, here, named))
    if (at := wanted.at) is not None:
        then = within.read(lambda connection, _: lineage.lineage_then(connection, here, start, wanted.window, at))
        return Of(then, within)
    asked = [(start, wanted.window)]
    return Of(within.read(lambda connection, _: lineage.lineages(connection, here, follower, asked))[0], within)


@takes(PartitionGraphFilter)
def around_partition(within: Within, wanted: PartitionGraphFilter) -> Of[PartitionGraph]:
    """Raises NotFound for a name that is unknown or not unique."""
    here, now, named = within.here, within.reading.now, (wanted.namespace, wanted.name)
    way = (wanted.direction, wanted.depth)
    found = within.read(lambda connection, _: lineage_in(connection, here, named, wanted.partition, now, *way))
    return Of(found, within)


async def _around(parent: Of[Any], kind: NodeKind, wanted: Around) -> Of[Graph]:
    node = (kind, node_id(parent.item.namespace, parent.item.name))
    return Of(await parent.within.graphs.load((wanted.window, node)), parent.within)


_LINEAGE = "What lies around it."


@link(TaskItem, "graph", Graph | None, _LINEAGE)
@takes(Around, limit=10)
async def _around_task(parent: Of[TaskItem], wanted: Around) -> Of[Graph]:
    return await _around(parent, "task", wanted)


@link(DatasetItem, "graph", Graph | None, _LINEAGE)
@takes(Around, limit=10)
async def _around_dataset(parent: Of[DatasetItem], wanted: Around) -> Of[Graph]:
    return await _around(parent, "dataset", wanted)


def _nodes(parent: strawberry.Parent[Any]) -> list[Of[Any]]:
    return [Of(each, parent.within) for each in parent.item.nodes]


link(Graph, "nodes", list[GraphNode], "The nodes, nearest first.")(_nodes)
link(PartitionGraph, "nodes", list[PartitionNode], "The partitions, nearest first.")(_nodes)
