"""The route of GraphQL. What executes a query is loaded with the first one, a third of a second that no other client of
the server need wait for.

There is no page to try queries on: the one that the library ships loads its scripts from other hosts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import HeaderParameter, RawBody
from msgspec import Meta

from dataforge.api.body import shaped
from dataforge.api.graphql.request import Request
from dataforge.api.operation import answers, takes_body
from dataforge.graph.follower import Follower
from dataforge.settings import Settings
from dataforge.storage.database import Database

_JSON, _GRAPHQL = "application/json", "application/graphql-response+json"


class GraphQLAnswer(msgspec.Struct, frozen=True):
    """What a query found."""

    data: Annotated[dict[str, Any] | None, Meta(description="What was asked for; left out of a query that is unsound.")]
    errors: Annotated[
        list[dict[str, Any]], Meta(description="What was refused: message, path, and extensions with a code.")
    ] = []


_QUERY = """query Waiting($day: String) {
  environment(name: "prod") {
    tasks(owner: "team-orders@example.com", limit: 100) {
      items { name verdict(partition: $day) { status reasons { message } } }
      nextCursor
    }
  }
}"""
_EXAMPLE: dict[str, Any] = {"query": _QUERY, "variables": {"day": "2026-11-01"}}
_REASON = {"message": "orders.extract for 2026-11-01 failed"}
_ITEM = {"name": "orders.load", "verdict": {"status": "blocked", "reasons": [_REASON]}}
_FOUND = GraphQLAnswer({"environment": {"tasks": {"items": [_ITEM], "nextCursor": None}}})
_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["query"],
    properties={
        "query": Schema(type=OpenAPIType.STRING, description="The query, of at most 100,000 characters."),
        "variables": Schema(type=OpenAPIType.OBJECT, description="The values of its variables."),
        "operationName": Schema(type=OpenAPIType.STRING, description="Which operation of the query is meant."),
    },
)


@post(
    "/graphql",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("A query of GraphQL.", _EXAMPLE, _SCHEMA),
    responses=answers(GraphQLAnswer, _FOUND, "What the query found, and what of it was refused."),
    summary="Ask for many things at once",
)
def query_graphql(
    database: NamedDependency[Database],
    follower: NamedDependency[Follower],
    settings: NamedDependency[Settings],
    body: RawBody,
    accept: Annotated[
        str, HeaderParameter(name="Accept", description=f"{_GRAPHQL} answers an unsound query with the status 400.")
    ] = _JSON,
) -> Response[bytes]:
    """Tasks, datasets, runs, partitions, verdicts and graphs in one answer, all of one snapshot."""
    from dataforge.api.graphql.execution import answer
    from dataforge.api.graphql.reading import Reading

    asked = shaped(body, Request)
    found = answer(asked, Reading(database, follower, settings.environment, datetime.now(UTC)))
    media_type = _GRAPHQL if _GRAPHQL in accept else _JSON
    unsound = media_type == _GRAPHQL and not found.executed
    return Response(found.body, media_type=media_type, status_code=400 if unsound else 200)
