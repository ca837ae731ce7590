"""Dataset updates over HTTP: which of them a run of a triggered task consumed, and which wait for its next one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger import catalog
from dataforge.model.catalog import RunName, UpdateItem
from dataforge.model.filter import UpdateFilter
from dataforge.model.listing import Page
from dataforge.storage.database import Database

_EXAMPLE = UpdateItem(
    namespace="s3://lake",
    name="orders/clean",
    partition="2026-11-01",
    updated_at=datetime(2026, 11, 2, 0, 9, tzinfo=UTC),
    version="7",
    run=RunName("airflow-prod", "orders.load", "scheduled__2026-11-01T00:00:00+00:00"),
)


@get(
    "/{env:str}/updates",
    sync_to_thread=True,
    operation_class=takes_query(UpdateFilter),
    responses=answers(Page[UpdateItem], Page([_EXAMPLE], None), "One page of the list."),
    summary="List the dataset updates that a run of a triggered task consumed",
)
def list_updates(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[UpdateItem]:
    """The updates after the run before it began, up to its own begin; without `run` those that wait for the task's next
    run. The earliest comes first."""
    return catalog.updates(database, env, read_query(request, UpdateFilter))
