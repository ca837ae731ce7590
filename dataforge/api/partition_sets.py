"""Dynamic sets over HTTP: which keys one holds, and registering more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import PathParameter, RawBody

from dataforge.api.body import shaped
from dataforge.api.operation import EnvironmentName, answers, read_query, takes_body, takes_query
from dataforge.dispatch import partition_set as dispatch
from dataforge.ingest.redaction import Redaction
from dataforge.ledger import partition_set as ledger
from dataforge.model.listing import Page
from dataforge.model.partition_set import KeyFilter, Registered, Registering, SetKey
from dataforge.storage.database import Database

SetName = Annotated[str, PathParameter(description="The set, as `dynamic {set}` names it.")]
_KEY = SetKey("acme", listed=True, observed=False, since=datetime(2026, 11, 2, 9, tzinfo=UTC), by="anna@example.com")
_EXAMPLE: dict[str, Any] = {"register": ["acme", "globex"], "by": "anna@example.com", "reason": "signed in October"}


@get(
    "/{env:str}/partition-sets/{name:path}",
    sync_to_thread=True,
    operation_class=takes_query(KeyFilter),
    responses=answers(Page[SetKey], Page([_KEY], None), "One page of the list."),
    summary="List the keys of a dynamic set",
)
def list_keys(
    database: NamedDependency[Database], env: EnvironmentName, name: SetName, request: Request[Any, Any, Any]
) -> Page[SetKey]:
    """Those that were ever registered or observed, in order; `listed` says whether the set holds a key now."""
    return ledger.keys(database, env, name.removeprefix("/"), read_query(request, KeyFilter))


@post(
    "/{env:str}/partition-sets/{name:path}",
    sync_to_thread=True,
    status_code=200,
    operation_class=takes_body(
        "Keys to `register`, and keys to `delist`, which needs a `reason`; `by` says who orders it.",
        _EXAMPLE,
        Schema(type=OpenAPIType.OBJECT),
    ),
    responses=answers(Registered, Registered("clients", 2, 0), "It is recorded."),
    summary="Register keys in a dynamic set, or take keys off it",
)
def register_keys(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    name: SetName,
    body: RawBody,
) -> Registered:
    """Each key is a fact of its own, of which the latest stands. A key that is taken off has its history still, and
    `all` of the set asks for it no more."""
    ordered = shaped(body, Registering)
    return dispatch.register(database, env, name.removeprefix("/"), ordered, datetime.now(UTC), redaction=redaction)
