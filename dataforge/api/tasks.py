"""Tasks over HTTP: those that were declared or seen."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger import catalog
from dataforge.model.catalog import TaskItem
from dataforge.model.filter import TaskFilter
from dataforge.model.listing import Page
from dataforge.model.state import RunKind
from dataforge.storage.database import Database

_EXAMPLE = TaskItem(
    namespace="airflow-prod",
    name="orders.load",
    kind=RunKind.TASK,
    platform="airflow",
    owner="team-orders@example.com",
    domain="orders",
    partitioning={"kind": "daily", "start": "2026-01-01", "time_zone": "Europe/Berlin"},
    partitioning_origin="declared",
    declared_by="orders-dags",
    version="5f2b8c1d9e3a4760b1c2d3e4f5a6b7c8",
    trigger_rule="all_success",
    description="Loads the day's orders.",
)


@get(
    "/{env:str}/tasks",
    sync_to_thread=True,
    operation_class=takes_query(TaskFilter),
    responses=answers(Page[TaskItem], Page([_EXAMPLE], None), "One page of the list."),
    summary="List tasks",
)
def list_tasks(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[TaskItem]:
    """Tasks by namespace and name."""
    return catalog.tasks(database, env, read_query(request, TaskFilter))
