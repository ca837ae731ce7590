"""Whether the server lives, and whether it can answer."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Meta

from dataforge import __version__
from dataforge.api import problem
from dataforge.api.operation import answers
from dataforge.storage import schema
from dataforge.storage.database import Database


class Health(msgspec.Struct, frozen=True):
    """That the process lives."""

    status: Annotated[Literal["ok"], Meta(description="Always ok.")]
    version: Annotated[str, Meta(description="The release that runs.")]


class Readiness(msgspec.Struct, frozen=True):
    """That the server can answer."""

    status: Annotated[Literal["ready"], Meta(description="Always ready.")]


_UNREADY = problem.Problem(
    type="urn:dataforge:problem:service-unavailable",
    title="Service Unavailable",
    status=503,
    detail="the schema of the database lacks 0002_example: migrate it with `make up`",
)
_UNREADY_EXAMPLE = Example(value=msgspec.to_builtins(_UNREADY))


@get("/health", sync_to_thread=False, responses=answers(Health, Health("ok", "0.1.0"), "The process lives."))
def health() -> Health:
    """Says that the process lives, whatever else is down."""
    return Health("ok", __version__)


@get(
    "/ready",
    sync_to_thread=True,
    responses={
        **answers(Readiness, Readiness("ready"), "The database answers, and its schema is this release's."),
        503: ResponseSpec(
            problem.Problem,
            description="It cannot answer now; the detail says what to do.",
            media_type=problem.MEDIA_TYPE,
            examples=[_UNREADY_EXAMPLE],
            generate_examples=False,
        ),
    },
)
def ready(database: NamedDependency[Database]) -> Readiness:
    """Says that the database answers and has the schema of this release."""
    schema.require_newest(database)
    return Readiness("ready")
