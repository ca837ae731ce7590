"""Shards over HTTP: the parts of one run, and how each of them ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency

from dataforge.api.operation import EnvironmentName, answers, read_query, takes_query
from dataforge.ledger import catalog
from dataforge.model.catalog import ShardItem
from dataforge.model.filter import ShardFilter
from dataforge.model.listing import Page
from dataforge.model.shard import ShardState
from dataforge.storage.database import Database

_EXAMPLE = ShardItem("incoming/2026-11-01/0004711.json", ShardState.FAILED, datetime(2026, 11, 2, tzinfo=UTC), None)


@get(
    "/{env:str}/runs/shards",
    sync_to_thread=True,
    operation_class=takes_query(ShardFilter),
    responses=answers(Page[ShardItem], Page([_EXAMPLE], None), "One page of the list."),
    summary="List the shards of one run",
)
def list_shards(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[ShardItem]:
    """The files, customers or other parts that the run named in `shards` of its events, in the order of their keys. How
    many there are of each state stands in the list of runs."""
    return catalog.shards(database, env, read_query(request, ShardFilter))
