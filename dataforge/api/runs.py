"""Runs over HTTP: every execution as it stands after its last attempt, or each of its attempts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger import catalog
from dataforge.model.catalog import IntervalItem, RunItem, TouchItem
from dataforge.model.filter import RunFilter
from dataforge.model.listing import Page
from dataforge.model.state import RunKind, RunState
from dataforge.storage.database import Database

_EXAMPLE = RunItem(
    kind=RunKind.TASK,
    namespace="airflow-prod",
    name="orders.load",
    partition="2026-11-01",
    partitions=["2026-11-01"],
    run="scheduled__2026-11-01T00:00:00+00:00",
    attempt=2,
    state=RunState.SUCCEEDED,
    started_at=datetime(2026, 11, 2, 0, 5, tzinfo=UTC),
    ended_at=datetime(2026, 11, 2, 0, 9, tzinfo=UTC),
    data_interval=IntervalItem(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)),
    inputs=[TouchItem("postgres://db:5432", "shop.public.orders", None, None, None)],
    outputs=[TouchItem("s3://lake", "orders/clean", "2026-11-01", None, 1200)],
    error=None,
    evidence="reported",
    partition_from="event",
    version="5f2b8c1d9e3a4760b1c2d3e4f5a6b7c8",
    source={
        "dag_id": "orders",
        "run_id": "scheduled__2026-11-01T00:00:00+00:00",
        "task_id": "load",
        "map_index": -1,
        "try_number": 2,
    },
)


@get(
    "/{env:str}/runs",
    sync_to_thread=True,
    operation_class=takes_query(RunFilter),
    responses=answers(Page[RunItem], Page([_EXAMPLE], None), "One page of the list."),
    summary="List runs",
)
def list_runs(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[RunItem]:
    """Runs with the latest start first; those that never started come last."""
    return catalog.runs(database, env, read_query(request, RunFilter))
