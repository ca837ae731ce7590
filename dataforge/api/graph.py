"""The graph over HTTP: what lies upstream and downstream of a task or dataset."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from dataforge.api.operation import EnvironmentName, answers
from dataforge.graph.follower import Follower
from dataforge.ledger.lineage import lineage
from dataforge.model.lineage import Direction, Graph, GraphEdge, GraphNode
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


@get(
    "/{env:str}/graph",
    sync_to_thread=True,
    responses=answers(Graph, _EXAMPLE, "The part of the graph that was asked for."),
    summary="What lies upstream and downstream",
)
def get_graph(
    database: NamedDependency[Database],
    follower: NamedDependency[Follower],
    env: EnvironmentName,
    name: Annotated[str, QueryParameter(description="A task, or a dataset by any of its names.")],
    namespace: Annotated[
        str | None, QueryParameter(description="May be left out where the name is unique in the environment.")
    ] = None,
    direction: Annotated[Direction, QueryParameter(description="Which way to go.")] = "both",
    depth: Annotated[
        int | None, QueryParameter(description="How many steps to go; to the end unless given.", ge=0, le=10_000)
    ] = None,
    kind: Annotated[
        NodeKind | None,
        QueryParameter(description="Show only tasks or only datasets; a path through the other kind is one step."),
    ] = None,
) -> Graph:
    """Across platforms and aliases; a dataset with several names is one node, under its canonical one."""
    return lineage(database, follower, env, (namespace, name), direction, depth, kind)
