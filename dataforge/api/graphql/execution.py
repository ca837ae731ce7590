"""One request from its bytes to the bytes of the answer.

Guarantees that a field which the ledger refuses says so beside the others' answers, in the words of the other routes,
and that what is the server's fault shows nothing of the inside.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionResult
from strawberry.types.graphql import OperationType

from dataforge.api import problem
from dataforge.api.graphql.limits import no_operation
from dataforge.api.graphql.reading import Reading
from dataforge.api.graphql.request import Request
from dataforge.api.graphql.schema import SCHEMA
from dataforge.model.catalog import shown
from dataforge.model.errors import DataForgeError, FieldError, InvalidInput, NotFound

_log = logging.getLogger(__name__)
_CODES: tuple[tuple[type[DataForgeError], str], ...] = (
    (NotFound, "not_found"),
    (InvalidInput, "invalid_input"),
    (DataForgeError, "refused"),
)


class Answered(msgspec.Struct, frozen=True):
    """An answer, and whether the query was sound enough to be executed."""

    body: bytes
    executed: bool


def answer(asked: Request, reading: Reading) -> Answered:
    """The answer to a request, on one snapshot. Raises what makes one impossible, such as a database that is down.

    It is worked out by a loop of its own, in the caller's thread: loaders wait for each other, and for nobody else.
    """
    with reading:
        result = asyncio.run(_executed(asked, reading))
        reading.check()
    executed = result.data is not None or any(error.path for error in result.errors or ())
    content: dict[str, Any] = {"data": result.data} if executed else {}
    if result.errors:
        content["errors"] = [_said(error) for error in result.errors]
    return Answered(msgspec.json.encode(content), executed)


async def _executed(asked: Request, reading: Reading) -> ExecutionResult:
    """Its root is the request, since `limits` has to know which operation is meant."""
    try:
        found: ExecutionResult = await SCHEMA.execute(
            asked.query,
            asked.variables or {},
            context_value=reading,
            root_value=asked,
            operation_name=asked.operation_name,
            allowed_operation_types=[OperationType.QUERY],
        )
    except CannotGetOperationTypeError:
        return _refused(no_operation(asked.operation_name))
    except (InvalidOperationTypeError, MissingQueryError):
        problem = FieldError("query", shown(asked.query), "a query: nothing is changed this way")
        return _refused(InvalidInput(f"the operation is none: expected {problem.expected}", [problem]))
    return found


def _refused(error: InvalidInput) -> ExecutionResult:
    return ExecutionResult(data=None, errors=[GraphQLError(str(error), original_error=error)])


def _said(error: GraphQLError) -> dict[str, Any]:
    """An error as GraphQL has it, with the fields of a problem document in its extensions."""
    message, extensions = _told(error)
    said: dict[str, Any] = {"message": message, "extensions": extensions}
    if error.locations:
        said["locations"] = [{"line": each.line, "column": each.column} for each in error.locations]
    if error.path:
        said["path"] = error.path
    return said


def _told(error: GraphQLError) -> tuple[str, dict[str, Any]]:
    origin = error.original_error
    if isinstance(origin, DataForgeError):
        refused = problem.refusal(origin)
        extensions: dict[str, Any] = {"code": next(code for kind, code in _CODES if isinstance(origin, kind))}
        if isinstance(origin, InvalidInput):
            extensions["errors"] = refused.errors
        if isinstance(origin, NotFound):
            extensions["candidates"] = refused.candidates
        return refused.detail, extensions
    of_variable = bool(error.locations) and not error.path
    if origin is None or isinstance(origin, GraphQLError) or of_variable:
        return error.message, {"code": "invalid_query"}
    _log.error("a query of GraphQL failed at %s", error.path, exc_info=origin)
    return "this is a fault of the server; its log says more", {"code": "internal"}
