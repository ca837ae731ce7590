"""Batches of events, as they came, into the ledger: one transaction, and what is bad in it never stops the rest.

Guarantees that when a call returns, every event of its batches is either recorded or kept in the rejects with its
bytes, durably; when it raises, none of it is. What is bad in one batch changes nothing of what another is told.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from dataforge.ingest import native, openlineage
from dataforge.ingest.envelope import decode
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.record import record
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.event import Event
from dataforge.model.message import MessagePlace
from dataforge.storage import environment as environments
from dataforge.storage import reject
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment

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


class Batch(NamedTuple):
    """What one sender sent at once, read: the events by their place in it, and what cannot be read."""

    bodies: Sequence[object]  # each as bytes or as decoded JSON
    redaction: Redaction
    events: dict[int, Event]
    unread: list[Rejected]
    places: Sequence[MessagePlace] = ()  # of messages: which each of the bodies was


def record_openlineage(
    database: Database, environment: str, bodies: Sequence[object], redaction: Redaction
) -> BatchResult:
    """Records OpenLineage events, each given as bytes or as decoded JSON."""
    return _record_one(database, environment, read(bodies, redaction, openlineage.parse))


def record_native(database: Database, environment: str, bodies: Sequence[object], redaction: Redaction) -> BatchResult:
    """Records native events, each given as bytes or as decoded JSON."""
    return _record_one(database, environment, read(bodies, redaction, native.parse))


def record_any(database: Database, environment: str, bodies: Sequence[object], redaction: Redaction) -> BatchResult:
    """Records events of either kind, as a file may hold them."""
    return _record_one(database, environment, read(bodies, redaction, parse_any))


def parse_any(body: object, redaction: Redaction) -> Event:
    """An event of either kind: a native event names a `task`, an order its `control`."""
    document = decode(body) if isinstance(body, bytes) else body
    is_native = (
        isinstance(document, dict) and "eventTime" not in document and bool({"task", "control"} & document.keys())
    )
    return (native.parse if is_native else openlineage.parse)(document, redaction)


def read(bodies: Sequence[object], redaction: Redaction, parse: Parse) -> Batch:
    """A batch of its bodies; what cannot be read is part of it."""
    batch = Batch(bodies, redaction, {}, [])
    for index, body in enumerate(bodies):
        try:
            batch.events[index] = parse(body, redaction)
        except InvalidInput as error:
            batch.unread.append(Rejected(index, _complaints(error)))
        except Exception as error:  # noqa: BLE001 - a fault of ours: the event is kept, and the stream goes on
            _log.exception("an event could not be read, and is kept in the rejects")
            batch.unread.append(Rejected(index, [FieldError("$", None, f"an event that can be read ({error!r})")]))
    return batch


def _record_one(database: Database, environment: str, batch: Batch) -> BatchResult:
    (result,) = record_batches(database, environment, [batch])
    return result


def record_batches(database: Database, environment: str, batches: Sequence[Batch]) -> list[BatchResult]:
    """Records several batches in one transaction; the result of each, in their order."""
    with database.transaction() as connection:
        return record_into(connection, environments.lock(connection, environment), batches)


def record_into(connection: Connection, locked: Environment, batches: Sequence[Batch]) -> list[BatchResult]:
    """Records several batches in the caller's transaction, which holds the environment's lock."""
    events = [_Placed(number, index, e) for number, batch in enumerate(batches) for index, e in batch.events.items()]
    refused = [_Refused(placed, errors) for placed in events if (errors := _forgotten(locked, placed.event))]
    known = [placed for placed in events if not _forgotten(locked, placed.event)] if refused else events
    new = _record_part(connection, locked, known, refused)
    results = []
    for number, batch in enumerate(batches):
        late = [Rejected(each.placed.place, each.errors) for each in refused if each.placed.batch == number]
        rejected = sorted(batch.unread + late, key=lambda each: each.index)
        for each in rejected:
            body, place = batch.bodies[each.index], batch.places[each.index] if batch.places else None
            kept = _bytes(body, batch.redaction)
            reject.insert(connection, locked.id, _bytes(body, NOTHING), kept, each.errors, place)
        applied = new & {event.id for event in batch.events.values()}
        new -= applied  # of equal events in two batches, the first is the one that was applied
        duplicates = len(batch.bodies) - len(rejected) - len(applied)
        results.append(BatchResult(len(batch.bodies), len(applied), duplicates, rejected))
    return results


class _Placed(NamedTuple):
    batch: int
    place: int  # in the batch
    event: Event


class _Refused(NamedTuple):
    placed: _Placed
    errors: list[FieldError]


def _record_part(
    connection: Connection, locked: Environment, part: Sequence[_Placed], refused: list[_Refused]
) -> set[bytes]:
    """Records what can be recorded, and returns the ids of what was new. Where the whole cannot be, each half is tried
    by itself, down to the one event that is to blame."""
    if not part:
        return set()
    try:
        with connection.transaction():
            return record(connection, locked, [placed.event for placed in part])
    except Exception as error:
        if reject.outage(error):
            raise
        if len(part) == 1:
            _log.warning("an event could not be recorded, and is kept in the rejects", exc_info=True)
            refused.append(_Refused(part[0], _refusal(error)))
            return set()
    half = len(part) // 2
    return _record_part(connection, locked, part[:half], refused) | _record_part(
        connection, locked, part[half:], refused
    )


def _forgotten(locked: Environment, event: Event) -> list[FieldError]:
    """What is wrong with an event from a time of which nobody knows any more what was recorded: it may be a repeat."""
    begin = locked.events_known_from
    if begin is None or event.occurred_at >= begin:
        return []
    field = "time" if event.kind in ("native", "control") else "eventTime"
    expected = f"a time from {begin.isoformat()} on: of what occurred before it is no longer known what was recorded"
    return [FieldError(field, event.occurred_at.isoformat(), expected)]


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
