"""The graph over HTTP: what lies upstream and downstream of a task or dataset, or of one partition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from dataforge.api.operation import EnvironmentName, answers
from dataforge.graph.follower import Follower
from dataforge.ledger.lineage import MOST_NODES, lineage, lineage_at
from dataforge.ledger.partition_graph import lineage_of
from dataforge.model.filter import named_moment
from dataforge.model.lineage import (
    Direction,
    Graph,
    GraphEdge,
    GraphNode,
    PartitionGraph,
    Window,
    refuse_beside_partition,
)
from dataforge.model.reference import NodeKind
from dataforge.storage.database import Database

_LOAD = GraphNode("task", "airflow-prod", "orders.load", 0, "team-orders@example.com", "airflow")
_ORDERS = GraphNode("dataset", "postgres://db:5432", "shop.public.orders", 1, "team-orders@example.com", "postgres")
_MODEL = GraphNode("task", "dbt-prod", "model.shop.stg_orders", 2, "team-analytics@example.com", "dbt")
_EXAMPLE = Graph(
    nodes=[_LOAD, _ORDERS, _MODEL],
    edges=[GraphEdge(_ORDERS.end, _MODEL.end, "declared"), GraphEdge(_LOAD.end, _ORDERS.end, "observed")],
    truncated=False,
    graph_version=42,
)


def read_window(
    direction: Annotated[Direction, QueryParameter(description="Which way to go.")] = "both",
    depth: Annotated[
        int | None, QueryParameter(description="How many steps to go; to the end unless given.", ge=0, le=10_000)
    ] = None,
    kind: Annotated[
        NodeKind | None,
        QueryParameter(description="Show only tasks or only datasets; a path through the other kind is one step."),
    ] = None,
) -> Window:
    """Which part of the graph is wanted."""
    return Window(direction, depth, kind, MOST_NODES)


@get(
    "/{env:str}/graph",
    sync_to_thread=True,
    dependencies={"window": Provide(read_window, sync_to_thread=False)},
    responses=answers(Graph | PartitionGraph, _EXAMPLE, "The part of the graph that was asked for."),
    summary="What lies upstream and downstream",
)
def get_graph(
    database: NamedDependency[Database],
    follower: NamedDependency[Follower],
    env: EnvironmentName,
    window: NamedDependency[Window],
    name: Annotated[str, QueryParameter(description="A task, or a dataset by any of its names.")],
    namespace: Annotated[
        str | None, QueryParameter(description="May be left out where the name is unique in the environment.")
    ] = None,
    at: Annotated[
        str | None,
        QueryParameter(description="As of this time (RFC 3339, or a date in UTC): what was declared and seen by then."),
    ] = None,
    partition: Annotated[
        str | None, QueryParameter(description="Of this partition: by mappings, and by what runs named. Of now alone.")
    ] = None,
) -> Graph | PartitionGraph:
    """Across platforms and aliases; a dataset with several names is one node, under its canonical one. With `partition`
    the nodes are partitions, with their states."""
    if partition is not None:
        refuse_beside_partition(at, window.kind)
        reference, now = (namespace, name), datetime.now(UTC)
        return lineage_of(database, env, reference, partition, now, window.direction, window.depth)
    asked = (window.direction, window.depth, window.kind)
    if at is not None:
        return lineage_at(database, env, (namespace, name), named_moment("at", at), *asked)
    return lineage(database, follower, env, (namespace, name), *asked)
