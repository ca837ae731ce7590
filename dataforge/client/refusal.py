"""An answer that is no success, as the error that the use case raised behind it."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from dataforge.model.catalog import Complaint
from dataforge.model.claim import ClaimRefused, Fenced
from dataforge.model.declaration import CycleError
from dataforge.model.errors import Conflict, DataForgeError, FieldError, InvalidInput, NotFound, Unreachable
from dataforge.model.verdict import Verdict

REMEDY = "start it with `make up`, or correct DATAFORGE_LEDGER"
_INVALID = {400, 413, 415, 422}
_FORBIDDEN = {401, 403}


class _Problem(msgspec.Struct):
    detail: str
    type: str = ""
    verdict: Verdict | None = None
    others: tuple[Verdict, ...] = ()
    errors: list[Complaint] = []
    candidates: list[str] = []
    cycle: list[Any] = []


def error_of(response: httpx.Response, url: str) -> DataForgeError:
    """The error that the answer of the ledger at `url` tells of."""
    status = response.status_code
    if status in _FORBIDDEN:
        return Unreachable(f"the ledger at {url} refuses the API key ({status}): correct DATAFORGE_API_KEY")
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return no_ledger(url, f"it answered {status} without saying why")
    refusal = _refusal(status, problem)
    return refusal or Unreachable(f"the ledger at {url} cannot answer ({status}): {problem.detail}")


def _refusal(status: int, problem: _Problem) -> DataForgeError | None:
    """What is refused for good; None where the same may be answered later."""
    if status == 404:
        return NotFound(problem.detail, problem.candidates)
    if status == 409:
        return _conflict(problem)
    if status not in _INVALID:
        return None
    if problem.cycle:
        return CycleError(problem.cycle)
    return InvalidInput(problem.detail, [FieldError(*msgspec.structs.astuple(each)) for each in problem.errors])


def _conflict(problem: _Problem) -> Conflict:
    if problem.verdict is not None:
        return ClaimRefused(problem.detail, problem.verdict, problem.others)
    return (Fenced if problem.type.endswith(":fenced") else Conflict)(problem.detail)


def no_ledger(url: str, found: str) -> Unreachable:
    """What answers at the URL is something else, or a ledger of another release."""
    return Unreachable(f"what answers at {url} is no ledger of this release ({found}); {REMEDY}")
