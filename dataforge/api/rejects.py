"""Rejects over HTTP: input that was refused, as it came, with what was wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger import catalog
from dataforge.model.catalog import Complaint, RejectItem
from dataforge.model.filter import RejectFilter
from dataforge.model.listing import Page
from dataforge.model.message import MessagePlace
from dataforge.storage.database import Database

_EXAMPLE = RejectItem(
    id="0f343b0931126a20f133d67c2b018a3b",
    received_at=datetime(2026, 11, 1, 6, 10, tzinfo=UTC),
    size=29,
    errors=[Complaint("eventTime", "soon", "a time such as 2026-11-01T06:00:00Z")],
    encoding="utf-8",
    body='{"eventTime": "soon", ...}',
    message=MessagePlace("openlineage.events", 3, 4711),
)


@get(
    "/{env:str}/rejects",
    sync_to_thread=True,
    operation_class=takes_query(RejectFilter),
    responses=answers(Page[RejectItem], Page([_EXAMPLE], None), "One page of the list."),
    summary="List rejects",
)
def list_rejects(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[RejectItem]:
    """Rejects with the latest first."""
    return catalog.rejects(database, env, read_query(request, RejectFilter))
