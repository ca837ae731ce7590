"""Floors of ingestion, on the same server and with the same batches: what is the least that anybody would have to do.

* `bare`: a binary COPY of the bytes into a table without a key. Nothing is known afterwards but that they came.
* `least`: the least that the outcome needs. The bytes once each, found by their id, and of each partition the state
  that was said last: a COPY into a temporary table, an insert and an upsert from it. What that leaves out is what the
  ledger is for: runs and attempts, evidence, lineage, precedence, wake-ups. The events come parsed, at no cost.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.reference import node_id
from dataforge.storage.database import Database

BARE = "binary COPY of the same bytes into a bare table"
LEAST = "COPY, the bytes once each and an upsert of each partition's last state"

TABLES = """
create table bare (id bigint generated always as identity, body bytea not null);
create table least_event (id bytea primary key, body bytea not null);
create table least_state (
    node bigint, partition text, at timestamptz not null, state text not null, run text not null,
    primary key (node, partition)
) with (fillfactor = 80);
"""
COME = """
create temporary table if not exists come
    (id bytea, body bytea, node bigint, partition text, at timestamptz, state text, run text) on commit delete rows
"""
KEEP = "insert into least_event select id, body from come order by id on conflict do nothing"
STAND = """
insert into least_state as known
select distinct on (node, partition) node, partition, at, state, run from come order by node, partition, at desc
on conflict (node, partition) do update set at = excluded.at, state = excluded.state, run = excluded.run
where known.at <= excluded.at
"""
TYPES = ["bytea", "bytea", "int8", "text", "timestamptz", "text", "text"]
Row = tuple[bytes, bytes, int, str, datetime, str, str]


def make(database: Database) -> None:
    """The tables of the floors."""
    with database.transaction() as connection:
        connection.execute(TABLES)


def bare(database: Database, bodies: Sequence[bytes]) -> None:
    """Keeps the bytes of one batch."""
    with (
        database.transaction() as connection,
        connection.cursor() as cursor,
        cursor.copy("copy bare (body) from stdin (format binary)") as copy,
    ):
        copy.set_types(["bytea"])
        for body in bodies:
            copy.write_row([body])


def rows(bodies: Sequence[bytes]) -> list[Row]:
    """Native events as `least` takes them: a row for each partition that an event tells of."""
    return [row for body in bodies for row in _rows(body)]


def _rows(body: bytes) -> Iterator[Row]:
    event: dict[str, Any] = msgspec.json.decode(body)
    at, state, run = datetime.fromisoformat(event["time"]), event["state"], event.get("run", "")
    named = [event["task"], *event.get("outputs", ())]
    for place, node in enumerate(named):
        key = node.get("partition", event.get("partition", ""))
        found = blake2b(body + bytes([place]), digest_size=16).digest()
        yield found, body if place == 0 else b"", node_id(node["namespace"], node["name"]), key, at, state, run


def least(database: Database, batch: Sequence[Row]) -> None:
    """Keeps one batch, and where its partitions stand."""
    with database.transaction() as connection:
        connection.execute(COME)
        _copy(connection, batch)
        connection.execute(KEEP)
        connection.execute(STAND)


def _copy(connection: Connection[Any], batch: Sequence[Row]) -> None:
    with connection.cursor() as cursor, cursor.copy("copy come from stdin (format binary)") as copy:
        copy.set_types(TYPES)
        for row in batch:
            copy.write_row(row)
