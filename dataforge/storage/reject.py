"""Rejects: what could not be accepted, with its bytes and what was wrong, so that nothing is lost."""

from hashlib import blake2b

import msgspec
from psycopg import Connection, DataError, IntegrityError
from psycopg.errors import ProgramLimitExceeded
from psycopg.types.json import Jsonb

from dataforge.model.errors import FieldError
from dataforge.storage.body import compress, keep_dictionary

# What PostgreSQL raises for a value it cannot hold, a row it refuses, a name too long for an index: the event's fault,
# not the server's.
REFUSALS = (DataError, IntegrityError, ProgramLimitExceeded)

INSERT = """
insert into reject (environment, id, body, size, errors) values (%s, %s, %s, %s, %s)
on conflict (environment, id) do update set received_at = excluded.received_at, errors = excluded.errors
"""


def insert(connection: Connection, environment: int, body: bytes, errors: list[FieldError]) -> None:
    """Keeps a rejected body; the same bytes again only move its time."""
    keep_dictionary(connection)
    row_id = blake2b(body, digest_size=16).digest()
    shown = [{"field": e.field, "value": e.value, "expected": e.expected} for e in errors]
    clean = Jsonb(shown, dumps=_dumps)
    connection.execute(INSERT, [environment, row_id, compress(body), len(body), clean])


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
