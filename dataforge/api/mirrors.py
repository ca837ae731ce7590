"""Mirrors over HTTP: how far those have come who show the ledger's states elsewhere, such as in Dagster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import get, put
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.params import PathParameter, RawBody

from dataforge.api.body import shaped
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.ledger import mirror as ledger
from dataforge.model.mirror import MirrorItem, MirrorReport, Mirrors
from dataforge.storage.database import Database

_AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
_EXAMPLE = MirrorItem(name="ledger_to_dagster", shown_through=_AT, waiting=12, told_at=_AT, lag_seconds=4.2)
_TOLD: dict[str, Any] = {"shown_through": "2026-11-02T09:00:00Z", "waiting": 12}
_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["shown_through"],
    properties={
        "shown_through": Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.DATE_TIME,
            description="All that changed before this is shown.",
        ),
        "waiting": Schema(
            type=OpenAPIType.INTEGER, minimum=0, default=0, description="Changes that are known to wait."
        ),
    },
)


@put(
    "/{env:str}/mirrors/{name:str}",
    sync_to_thread=True,
    operation_class=takes_body("How far it has come.", _TOLD, _SCHEMA),
    responses=answers(MirrorItem, _EXAMPLE, "It is kept."),
    summary="Say how far a mirror has come",
)
def tell_mirror(
    database: NamedDependency[Database],
    env: EnvironmentName,
    name: Annotated[str, PathParameter(description="What the mirror calls itself.")],
    body: RawBody,
) -> MirrorItem:
    """In the place of what it said before. `GET /metrics` shows it as lag and backlog."""
    return ledger.tell(database, env, name, shaped(body, MirrorReport), datetime.now(UTC))


@get(
    "/{env:str}/mirrors",
    sync_to_thread=True,
    responses=answers(Mirrors, Mirrors((_EXAMPLE,)), "The mirrors."),
    summary="List the mirrors",
)
def list_mirrors(database: NamedDependency[Database], env: EnvironmentName) -> Mirrors:
    """How far each had come when it last said so; the lag of one that says nothing more grows."""
    return ledger.mirrors(database, env, datetime.now(UTC))
