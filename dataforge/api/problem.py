"""Errors as RFC 9457 problems: the one place where an outcome becomes an HTTP status.

Guarantees that every answer that is no success is `application/problem+json` and says what was wrong, where and
what to do, and that nothing of the inside, no traceback and no SQL, is ever part of it.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Meta

from dataforge.model.catalog import Complaint, complaints, shown
from dataforge.model.claim import ClaimRefused, Fenced
from dataforge.model.errors import Conflict, DataForgeError, InvalidInput, NotFound, Unreachable
from dataforge.model.verdict import Verdict

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)
_STATUS: tuple[tuple[type[DataForgeError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Conflict, HTTPStatus.CONFLICT),
    (Unreachable, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, as RFC 9457 has it."""

    type: Annotated[str, Meta(description="Which kind of problem this is, for programs.")]
    title: Annotated[str, Meta(description="The kind of problem in words.")]
    status: Annotated[int, Meta(description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What was wrong here, and what to do.")]
    errors: Annotated[list[Complaint], Meta(description="Of bad input: every field that is wrong.")] = []
    candidates: Annotated[list[str], Meta(description="Of an unknown name: names that would work.")] = []
    cycle: Annotated[list[Any], Meta(description="Of a refused cycle: the way round it.")] = []
    verdict: Annotated[Verdict | None, Meta(description="Of a refused claim: the verdict with every reason.")] = None
    others: Annotated[
        tuple[Verdict, ...], Meta(description="Of what was claimed together: those on further partitions, up to 99.")
    ] = ()


EXAMPLE = Problem(
    type="urn:dataforge:problem:unprocessable-entity",
    title="Unprocessable Entity",
    status=422,
    detail="since is 'yesterday': expected a time such as 2026-11-01T06:00:00Z",
    errors=[Complaint("since", "yesterday", "a time such as 2026-11-01T06:00:00Z")],
)


class TooLarge(InvalidInput):
    """More bytes than the server takes at once."""


class UnsupportedEncoding(InvalidInput):
    """A Content-Encoding that the server cannot undo."""


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The answer to a request that raised `error`."""
    problem = _problem(request, error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "5"
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def of(status: HTTPStatus, detail: str, **more: Any) -> Problem:
    """A problem of this status, of the kind that it has by itself unless `kind` says another."""
    kind = more.pop("kind", None) or status.phrase.lower().replace(" ", "-")
    return Problem(type=f"urn:dataforge:problem:{kind}", title=status.phrase, status=status, detail=detail, **more)


def _problem(request: Request[Any, Any, Any], error: Exception) -> Problem:
    if isinstance(error, DataForgeError):
        return refusal(error)
    if isinstance(error, ValidationException):
        return _validation(request, error)
    if isinstance(error, HTTPException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _http(request, error)
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return of(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of the server; its log says more")


def refusal(error: DataForgeError) -> Problem:
    """What the ledger refused, as a problem."""
    more: dict[str, Any] = {}
    if isinstance(error, InvalidInput):
        more["errors"] = complaints(error.errors)
    if isinstance(error, NotFound):
        more["candidates"] = error.candidates
    if cycle := getattr(error, "cycle", None):
        more["cycle"] = cycle
    if isinstance(error, ClaimRefused):
        more |= {"kind": "claim-refused", "verdict": error.verdict, "others": error.others}
    if isinstance(error, Fenced):
        more["kind"] = "fenced"
    return of(_status(error), str(error), **more)


def _status(error: DataForgeError) -> HTTPStatus:
    if isinstance(error, TooLarge):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if isinstance(error, UnsupportedEncoding):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def _validation(request: Request[Any, Any, Any], error: ValidationException) -> Problem:
    """What Litestar says of a parameter or of a body, field by field."""
    found = [
        Complaint(
            field=str(each.get("key") or "$"),
            value=shown(request.query_params.get(str(each.get("key")))),
            expected=str(each.get("message", "")).removeprefix("Expected ").replace("`", ""),
        )
        for each in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(each, dict)
    ]
    first = f"{found[0].field}: {found[0].expected}" if found else error.detail
    return of(HTTPStatus.UNPROCESSABLE_ENTITY, f"the request is not as the API's document says: {first}", errors=found)


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Problem:
    status, path = HTTPStatus(error.status_code), request.url.path
    details = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {path}: /openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not take {request.method}: /openapi.json says what it takes",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is over 100 MB: send it in smaller batches",
    }
    return of(status, details.get(status, error.detail))
