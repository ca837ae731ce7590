"""What an operation takes beyond its signature: bodies that are read raw, filters that are read as one value.

Guarantees that the document and the code cannot part: the filters' parameters are made from the very types that
read them, and a query parameter that the document does not name is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import MediaType, ScopeType
from litestar.exceptions import NotFoundException
from litestar.middleware import ASGIMiddleware
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    Parameter,
    PathItem,
    RequestBody,
    Schema,
)
from litestar.params import PathParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.filter import FilterField, Paging, Shape, fields, read

EnvironmentName = Annotated[
    str, PathParameter(description="The environment: dev, staging, prod, or another that exists.")
]


def answers(container: Any, example: object, description: str, status: int = 200) -> dict[int, ResponseSpec]:
    """The success of an operation: what it answers, with an example."""
    examples = [Example(summary="an example", value=msgspec.to_builtins(example))]
    return {status: ResponseSpec(container, description=description, examples=examples, generate_examples=False)}


def takes_body(description: str, example: object, schema: Schema) -> type[Operation]:
    """An operation that reads its JSON body raw."""

    @dataclass
    class TakesBody(Operation):
        def __post_init__(self) -> None:
            media = OpenAPIMediaType(schema=schema, examples={"example": Example(value=example)})
            self.request_body = RequestBody(
                content={MediaType.JSON: media}, description=f"{description} It may be gzipped.", required=True
            )

    return TakesBody


def takes_query(shape: type[Paging]) -> type[Operation]:
    """An operation whose query parameters are the fields of `shape`."""

    @dataclass
    class TakesQuery(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*(self.parameters or []), *map(_parameter, fields(shape))]

    return TakesQuery


def _parameter(field: FilterField) -> Parameter:
    moment_kind = field.kind == "date-time"
    schema = Schema(
        type=OpenAPIType.STRING if moment_kind else OpenAPIType(field.kind),
        format=OpenAPIFormat.DATE_TIME if moment_kind else None,
        enum=field.choices or None,
        minimum=field.minimum,
        maximum=field.maximum,
        default=field.default,
    )
    return Parameter(field.name, "query", schema, field.description, required=field.required)


def read_query(request: Request[Any, Any, Any], shape: type[Shape]) -> Shape:
    """The query parameters as one value. Raises InvalidInput that names the parameter which is wrong."""
    return read(dict(request.query_params.items()), shape)


class CheckedParameters(ASGIMiddleware):
    """Checks the query of every request. A guard would be run in a thread, for each request anew."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Hands on a request whose query is as the document says."""
        check_parameters(ASGIConnection(scope))
        await next_app(scope, receive, send)


def check_parameters(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Raises InvalidInput for a query parameter that the operation does not take, takes once, needs, or cannot
    hold: a filter that is misspelt would otherwise answer a question that nobody asked."""
    if "\0" in connection.url.path:  # PostgreSQL's text holds none, so nothing can have such a name
        raise NotFoundException
    path = (connection.app.openapi_schema.paths or {}).get(connection.scope["path_template"], PathItem())
    operation = getattr(path, str(connection.scope.get("method", "")).lower(), None)
    if operation is None:
        return
    known = {each.name: each for each in operation.parameters or () if each.param_in == "query"}
    given = connection.query_params.dict()
    for name, values in given.items():
        _refuse_unless(name in known, name, None, f"one of {', '.join(sorted(known)) or 'no query parameters'}")
        _refuse_unless(len(values) == 1, name, ", ".join(values), "one value")
        _refuse_unless("\0" not in values[0], name, values[0], "a value without NUL characters")
        choices = [choice for choice in getattr(known[name].schema, "enum", None) or () if choice is not None]
        expected = f"one of {', '.join(map(str, choices))}"
        _refuse_unless(not choices or values[0] in choices, name, values[0], expected)
    for name, parameter in known.items():
        _refuse_unless(name in given or not parameter.required, name, None, f"a value: {parameter.description}")


def _refuse_unless(right: bool, name: str, value: str | None, expected: str) -> None:
    if not right:
        shown = "" if value is None else f" is {value!r}"
        message = f"the query parameter {name}{shown}: expected {expected}"
        raise InvalidInput(message, [FieldError(name, value, expected)])
