"""Versions over HTTP: what a task's definition was when, and a definition by its hash."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from dataforge.api.operation import EnvironmentName, answers
from dataforge.ledger import version as ledger
from dataforge.model.history import EdgeSpan, FoundDefinition, History, VersionChange, VersionSpan
from dataforge.storage.database import Database

_DEFINITION = {
    "namespace": "airflow-prod",
    "name": "orders.load",
    "owner": "team-orders@example.com",
    "consumes": [{"task": {"namespace": "airflow-prod", "name": "orders.extract"}}],
}
_NOW, _BEFORE = "5f2b8c1d9e3a4760b1c2d3e4f5a6b7c8", "0c4d7e2f1a5b4c3d8e9f0a1b2c3d4e5f"
_EXAMPLE = History(
    items=[
        VersionSpan(
            version=_NOW,
            source="orders-dags",
            valid_from=datetime(2026, 11, 3, 9, 30, tzinfo=UTC),
            valid_to=None,
            changed=[VersionChange("owner", "team-shop@example.com", "team-orders@example.com")],
            definition=_DEFINITION,
        )
    ],
    edges=[
        EdgeSpan(
            relation="consumes",
            kind="task",
            namespace="airflow-prod",
            name="orders.extract",
            valid_from=datetime(2026, 9, 1, 8, 0, tzinfo=UTC),
            valid_to=None,
            from_version=_BEFORE,
            to_version=_NOW,
        )
    ],
    next_cursor=None,
)


@get(
    "/{env:str}/tasks/versions",
    sync_to_thread=True,
    responses=answers(History, _EXAMPLE, "One page of the task's versions."),
    summary="List the versions of a task",
)
def list_versions(
    database: NamedDependency[Database],
    env: EnvironmentName,
    name: Annotated[str, QueryParameter(description="The task's name.")],
    namespace: Annotated[
        str | None, QueryParameter(description="Its namespace; may be left out where the name is unique.")
    ] = None,
    limit: Annotated[int, QueryParameter(description="How many versions a page holds at most.", ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, QueryParameter(description="The next_cursor of the page before.")] = None,
) -> History:
    """From when to when each version held, the latest first, who declared it, what changed, and what edges it has."""
    return ledger.versions(database, env, (namespace, name), limit, cursor)


@get(
    "/{env:str}/versions/{version:str}",
    sync_to_thread=True,
    responses=answers(
        FoundDefinition,
        FoundDefinition("task", "airflow-prod", "orders.load", _NOW, _DEFINITION),
        "The definition.",
    ),
    summary="Find a definition by its hash",
)
def get_definition(
    database: NamedDependency[Database],
    env: EnvironmentName,
    version: Annotated[str, PathParameter(description="The hash, or the first eight digits of it or more.")],
) -> FoundDefinition:
    """The definition of a task or dataset as it was declared: it never changes."""
    return ledger.definition(database, env, version)
