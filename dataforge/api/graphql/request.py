"""A request of GraphQL as it is sent."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class Request(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A query, and what belongs to it."""

    query: Annotated[str, Meta(max_length=100_000, description="The query, of at most 100,000 characters.")]
    variables: Annotated[dict[str, Any] | None, Meta(description="The values of its variables.")] = None
    operation_name: Annotated[str | None, Meta(description="Which operation of the query is meant.")] = None
    extensions: Annotated[dict[str, Any] | None, Meta(description="What a client adds; nothing of it is read.")] = None
