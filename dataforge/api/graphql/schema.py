"""The schema: what a query begins with, and all that it can lead to."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from dataforge.api.graphql import backfills, datasets, edges, graphs, nodes, partitions, runs, tasks, verdicts
from dataforge.api.graphql.limits import Limits
from dataforge.api.graphql.reading import Reading, Within
from dataforge.api.graphql.shape import SCALARS, Member, made
from dataforge.model.backfill import BackfillItem
from dataforge.model.catalog import DatasetItem, PartitionPage, RunItem, TaskItem
from dataforge.model.lineage import Graph, PartitionGraph
from dataforge.model.listing import Page
from dataforge.model.verdict import Verdict

__all__ = ["SCHEMA", "edges", "nodes"]


class _Schema(strawberry.Schema):
    """What goes wrong is told to the client, and logged where it is the server's fault (`execution`): not here."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Does nothing."""


# Each of them is null where the ledger refuses it, so that the others are answered all the same.
_ASKED: dict[str, tuple[Any, str, Any]] = {
    "tasks": (Page[TaskItem], "Tasks that were declared or seen, by name.", tasks.listed),
    "datasets": (Page[DatasetItem], "Datasets, each once, under their canonical names.", datasets.listed),
    "runs": (Page[RunItem], "Runs, the latest start first.", runs.listed),
    "partitions": (PartitionPage, "States of partitions, in the order of keys.", partitions.listed),
    "backfills": (Page[BackfillItem], "Backfills, the latest first.", backfills.listed),
    "verdict": (Verdict, "Whether a task may run for a partition.", verdicts.one),
    "verdicts": (list[Verdict], "Whether many tasks may run, in the order asked.", verdicts.many),
    "graph": (Graph, "What lies around a task or dataset.", graphs.around),
    "partition_graph": (PartitionGraph, "What lies around one partition.", graphs.around_partition),
}


def _environment(
    info: strawberry.Info[Reading, None],
    name: Annotated[str | None, strawberry.argument(description="Such as dev, staging or prod.")] = None,
) -> Within:
    return info.context.within(name)


def _name(parent: strawberry.Parent[Any]) -> str:
    name: str = parent.here.name
    return name


def _graph_version(parent: strawberry.Parent[Any]) -> int:
    version: int = parent.here.graph_version
    return version


def _made() -> strawberry.Schema:
    environment = made(
        "Environment",
        "An environment, such as dev or prod: tasks, runs and all else are each of one.",
        {
            "name": Member(str, "Its name.", resolver=_name),
            "graph_version": Member(int, "The version of its graph.", resolver=_graph_version),
            **{name: Member(shown | None, said, resolver=resolver) for name, (shown, said, resolver) in _ASKED.items()},
        },
    )
    member = Member(environment | None, "One environment; the server's own unless named.", resolver=_environment)
    query = made("Query", "What can be asked.", {"environment": member})
    return _Schema(query, extensions=[Limits], config=StrawberryConfig(scalar_map=SCALARS))


SCHEMA = _made()  # with the module, whose loading Python does once, whoever comes at the same moment
