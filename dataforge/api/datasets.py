"""Datasets over HTTP, each once, under its canonical name."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger import catalog
from dataforge.model.catalog import DatasetItem, NodeName
from dataforge.model.filter import DatasetFilter
from dataforge.model.listing import Page
from dataforge.storage.database import Database

_EXAMPLE = DatasetItem(
    namespace="s3://lake",
    name="orders/clean",
    aliases=[NodeName("glue://1", "lake.orders")],
    owner="team-orders@example.com",
    partitioning={"kind": "daily", "start": "2026-01-01"},
    declared_by="orders-dags",
    fields=[{"name": "order_id", "type": "bigint"}],
    description="Orders without test accounts.",
)


@get(
    "/{env:str}/datasets",
    sync_to_thread=True,
    operation_class=takes_query(DatasetFilter),
    responses=answers(Page[DatasetItem], Page([_EXAMPLE], None), "One page of the list."),
    summary="List datasets",
)
def list_datasets(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[DatasetItem]:
    """Datasets by namespace and name."""
    return catalog.datasets(database, env, read_query(request, DatasetFilter))
