"""Findings over HTTP: what history alone shows to be wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger.findings import findings
from dataforge.model.filter import FindingFilter
from dataforge.model.finding import BuiltFromIt, Finding, FindingCode, FoundInput, FoundPartition, Severity
from dataforge.model.listing import Page
from dataforge.model.verdict import NodeRef
from dataforge.storage.database import Database

_EXAMPLE = Finding(
    code=FindingCode.STARTED_TOO_EARLY,
    severity=Severity.HIGH,
    message=(
        "orders.report for 2026-11-01 started at 2026-11-02 00:10:00 UTC, 15 min before s3://lake/orders for 2026-11-01"
        " was ready (2026-11-02 00:25:00 UTC)"
    ),
    node=NodeRef("task", "airflow-prod", "orders.report"),
    partitions=("2026-11-01",),
    run="scheduled__2026-11-01T00:00:00+00:00",
    owner="team-reports@example.com",
    since=datetime(2026, 11, 2, 0, 10, tzinfo=UTC),
    inputs=(
        FoundInput(
            node=NodeRef("dataset", "s3://lake", "orders"),
            partition="2026-11-01",
            owner="team-orders@example.com",
            at=datetime(2026, 11, 2, 0, 25, tzinfo=UTC),
            run="scheduled__2026-11-01T00:00:00+00:00",
        ),
    ),
    made=(FoundPartition("dataset", "postgres://db:5432", "shop.public.revenue", "2026-11-01"),),
    built_from_it=BuiltFromIt(
        items=(FoundPartition("dataset", "postgres://db:5432", "shop.public.week", "2026-10-26"),), count=1
    ),
)


@get(
    "/{env:str}/findings",
    sync_to_thread=True,
    operation_class=takes_query(FindingFilter),
    responses=answers(Page[Finding], Page([_EXAMPLE], None), "One page of the findings."),
    summary="List what history shows to be wrong",
)
def list_findings(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[Finding]:
    """Runs that began before what they need was ready, or whose inputs changed under them, with what was built from
    them; edges that were never observed or never declared; sources that have gone silent. Within a page the worst comes
    first."""
    return findings(database, env, read_query(request, FindingFilter), datetime.now(UTC))
