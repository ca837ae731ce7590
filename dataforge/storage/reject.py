"""Rejects: what could not be accepted, with its bytes and what was wrong, so that nothing is lost."""

from hashlib import blake2b

import msgspec
from psycopg import Connection, InterfaceError, OperationalError
from psycopg.errors import IdleInTransactionSessionTimeout, ProgramLimitExceeded, StatementTooComplex
from psycopg.types.json import Jsonb

from dataforge.model.errors import FieldError
from dataforge.model.message import MessagePlace
from dataforge.storage.body import compress, keep_dictionary


def outage(error: Exception) -> bool:
    """Whether the server, or who stands in the way, is at fault: the same event is taken at the next try. All else
    that recording raises is the event's fault or ours, and must not stop the stream."""
    too_much = isinstance(error, ProgramLimitExceeded | StatementTooComplex)
    frozen = isinstance(error, IdleInTransactionSessionTimeout)  # the process was, in the middle of a transaction
    return frozen or (isinstance(error, OperationalError | InterfaceError) and not too_much)


INSERT = """
insert into reject (environment, id, body, size, errors, topic, topic_partition, topic_offset)
values (%s, %s, %s, %s, %s, %s, %s, %s)
on conflict (environment, id) do update set received_at = excluded.received_at, errors = excluded.errors
"""


def insert(
    connection: Connection,
    environment: int,
    came: bytes,
    body: bytes,
    errors: list[FieldError],
    place: MessagePlace | None = None,
) -> None:
    """Keeps what may be kept (`body`) of the bytes that came; the same bytes again only move its time. Messages of the
    same bytes are told apart by their `place`."""
    keep_dictionary(connection)
    where = (place.topic, place.partition, place.offset) if place else (None, None, None)
    named = f"{place.topic}\0{place.partition}\0{place.offset}\0".encode() if place else b""
    row_id = blake2b(named + came, digest_size=16).digest()
    shown = [{"field": e.field, "value": e.value, "expected": e.expected} for e in errors]
    clean = Jsonb(shown, dumps=_dumps)
    connection.execute(INSERT, [environment, row_id, compress(body), len(came), clean, *where])


def _dumps(value: object) -> bytes:
    """JSON that PostgreSQL takes: values of any input may hold NUL or half a surrogate pair."""
    text = msgspec.json.encode(_clean(value)).decode()
    return text.encode()


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\\0").encode(errors="replace").decode()
    if isinstance(value, list):
        return [_clean(part) for part in value]
    if isinstance(value, dict):
        return {key: _clean(part) for key, part in value.items()}
    return value
