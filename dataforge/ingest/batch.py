"""A batch of events, as it came, into the ledger: one transaction, and what is bad in it never stops the rest.

Guarantees that when the call returns, every event of the batch is either recorded or kept in the rejects with
its bytes, durably; when it raises, none of it is.
"""

import logging
from collections.abc import Callable, Sequence

import msgspec

from dataforge.ingest import native, openlineage
from dataforge.ingest.envelope import decode
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.record import record
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.event import Event
from dataforge.storage import environment as environments
from dataforge.storage import reject
from dataforge.storage.database import Database

_log = logging.getLogger(__name__)
Parse = Callable[[object, Redaction], Event]


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not accepted: its place in the batch, and what was wrong."""

    index: int
    errors: list[FieldError]
    retriable: bool = False  # the same bytes would be refused again


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch."""

    received: int
    applied: int
    duplicates: int
    rejected: list[Rejected]


def record_openlineage(
    database: Database, environment: str, bodies: Sequence[object], redaction: Redaction
) -> BatchResult:
    """Records OpenLineage events, each given as bytes or as decoded JSON."""
    return _record(database, environment, bodies, redaction, openlineage.parse)


def record_native(database: Database, environment: str, bodies: Sequence[object], redaction: Redaction) -> BatchResult:
    """Records native events, each given as bytes or as decoded JSON."""
    return _record(database, environment, bodies, redaction, native.parse)


def record_any(database: Database, environment: str, bodies: Sequence[object], redaction: Redaction) -> BatchResult:
    """Records events of either kind, as a file may hold them: a native event names a `task`, an order its `control`."""
    return _record(database, environment, bodies, redaction, _parse_any)


def _parse_any(body: object, redaction: Redaction) -> Event:
    document = decode(body) if isinstance(body, bytes) else body
    is_native = (
        isinstance(document, dict) and "eventTime" not in document and bool({"task", "control"} & document.keys())
    )
    return (native.parse if is_native else openlineage.parse)(document, redaction)


def _record(
    database: Database, environment: str, bodies: Sequence[object], redaction: Redaction, parse: Parse
) -> BatchResult:
    accepted: list[tuple[int, Event]] = []
    rejected: list[Rejected] = []
    for index, body in enumerate(bodies):
        try:
            accepted.append((index, parse(body, redaction)))
        except InvalidInput as error:
            rejected.append(Rejected(index, _complaints(error)))
        except Exception as error:  # noqa: BLE001 - a fault of ours: the event is kept, and the stream goes on
            _log.exception("an event could not be read, and is kept in the rejects")
            rejected.append(Rejected(index, [FieldError("$", None, f"an event that can be read ({error!r})")]))
    with database.transaction() as connection:
        locked = environments.lock(connection, environment)
        applied = 0
        try:
            with connection.transaction():
                applied = record(connection, locked, [event for _, event in accepted]).applied
        except Exception as failure:
            if reject.outage(failure):
                raise
            for index, event in accepted:
                try:
                    with connection.transaction():
                        applied += record(connection, locked, [event]).applied
                except Exception as error:
                    if reject.outage(error):
                        raise
                    _log.warning("an event could not be recorded, and is kept in the rejects", exc_info=True)
                    rejected.append(Rejected(index, _refusal(error)))
        for each in rejected:
            body = bodies[each.index]
            reject.insert(connection, locked.id, _bytes(body, NOTHING), _bytes(body, redaction), each.errors)
    rejected.sort(key=lambda each: each.index)
    return BatchResult(len(bodies), applied, len(bodies) - len(rejected) - applied, rejected)


def _complaints(error: InvalidInput) -> list[FieldError]:
    return error.errors or [FieldError("$", None, str(error))]


def _refusal(error: Exception) -> list[FieldError]:
    if isinstance(error, InvalidInput):  # what only shows beside what is recorded already
        return _complaints(error)
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return [FieldError("$", None, f"values that can be recorded: {first}")]


def _bytes(body: object, redaction: Redaction) -> bytes:
    """What is kept of a rejected event: its bytes; with redaction rules its redacted JSON, and nothing of what is no
    JSON, in which no rule finds what it is for."""
    if isinstance(body, bytes):
        if not redaction.rules:
            return body
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""
    else:
        document = body
    try:
        return openlineage.canonical(redaction.apply(document))
    except InvalidInput:
        return repr(body).encode(errors="backslashreplace")
    except RecursionError:  # what cannot be redacted is not stored either
        return b""
