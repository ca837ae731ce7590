"""Partition states over HTTP: what the ledger believes of each partition of a task or dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger import catalog
from dataforge.model.catalog import LastReady, PartitionItem, PartitionPage, RunName
from dataforge.model.filter import PartitionFilter
from dataforge.model.state import PartitionStatus
from dataforge.storage.database import Database

_RUN = RunName("airflow-prod", "orders.load", "scheduled__2026-11-01T00:00:00+00:00")
_SINCE = datetime(2026, 11, 2, 0, 9, tzinfo=UTC)
_EXAMPLE = PartitionItem(
    kind="dataset",
    namespace="s3://lake",
    name="orders/clean",
    partition="2026-11-01",
    state=PartitionStatus.QUARANTINED,
    since=_SINCE,
    evidence="reported",
    run=_RUN,
    version="7",
    last_ready=LastReady(_RUN, _SINCE, "7"),
    reason="quarantined by anna@example.com: half of the rows are missing",
)


@get(
    "/{env:str}/partitions",
    sync_to_thread=True,
    operation_class=takes_query(PartitionFilter),
    responses=answers(PartitionPage, PartitionPage([_EXAMPLE], None, "2026-08-01"), "One page of the list."),
    summary="List partitions",
)
def list_partitions(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> PartitionPage:
    """All partitions of one task or dataset together, in the order of their keys."""
    return catalog.partitions(database, env, read_query(request, PartitionFilter), datetime.now(UTC))
