"""How far messages are read: it moves on only from where it was read from."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import Connection

from dataforge.model.errors import FieldError
from dataforge.model.message import MessagePlace, Position
from dataforge.storage import kafka_offset as offsets
from dataforge.storage import reject
from dataforge.storage.database import Database
from dataforge.storage.kafka_offset import Move

FIRST, SECOND = Position("events", 0, "id", 5), Position("events", 1, "id", 7)


def begin(connection: Connection) -> None:
    for position in (FIRST, SECOND):
        offsets.start(connection, 1, position)


def test_a_partition_is_begun_once(database: Database) -> None:
    with database.transaction() as connection:
        begin(connection)
        offsets.start(connection, 1, Position("events", 0, "another", 0))
        assert offsets.load(connection, 1, ["events", "none"]) == [FIRST, SECOND]
        assert offsets.load(connection, 2, ["events"]) == []


def test_partitions_move_on_from_where_they_were_read_from(database: Database) -> None:
    with database.transaction() as connection:
        begin(connection)
        assert offsets.advance(connection, 1, [Move(FIRST, 9), Move(SECOND, 8)])
        assert [each.offset for each in offsets.load(connection, 1, ["events"])] == [9, 8]


@pytest.mark.parametrize("other", [Position("events", 0, "id", 4), Position("events", 0, "anew", 5)])
def test_whoever_read_from_elsewhere_is_told(database: Database, other: Position) -> None:
    with database.transaction() as connection:
        begin(connection)
        assert not offsets.advance(connection, 1, [Move(other, 9), Move(SECOND, 8)])
        assert not offsets.advance(connection, 2, [Move(FIRST, 9)])


def test_a_decision_moves_a_partition_and_is_kept(database: Database) -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    with database.transaction() as connection:
        begin(connection)
        offsets.reset(connection, 1, FIRST, Position("events", 0, "anew", 0), "ops", "looked into", now)
        assert offsets.load(connection, 1, ["events"])[0] == Position("events", 0, "anew", 0)
        kept = connection.execute("select decided_by, reason, old_offset, new_topic_id from kafka_reset").fetchall()
    assert kept == [("ops", "looked into", 5, "anew")]


def test_equal_messages_are_rejects_of_their_own_and_one_that_comes_again_is_the_same(database: Database) -> None:
    wrong = [FieldError("$", None, "JSON")]
    with database.transaction() as connection:
        for offset in (3, 4, 4):
            reject.insert(connection, 1, b"", b"", wrong, MessagePlace("events", 0, offset))
        reject.insert(connection, 1, b"", b"", wrong)
        found = connection.execute("select topic_offset from reject order by topic_offset").fetchall()
    assert found == [(3,), (4,), (None,)]


def test_a_reject_is_of_a_whole_message_or_of_none(database: Database) -> None:
    with (
        pytest.raises(psycopg.errors.CheckViolation),
        database.transaction() as connection,
    ):
        reject.insert(connection, 1, b"", b"", [FieldError("$", None, "JSON")])
        connection.execute("update reject set topic = 'events'")


def test_offsets_are_found_by_the_primary_key(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into kafka_offset select 1, 'topic' || n % 50, n / 50, 'id', n from generate_series(1, 5000) n"
        )
        connection.execute("analyze kafka_offset")
        named = {"environment": 1, "topics": ["topic3"], "partitions": [4], "ids": ["id"], "offsets": [1], "nexts": [2]}
        plans = [
            connection.execute("explain " + offsets.LOAD, [1, ["topic3"]]).fetchall(),
            connection.execute("explain " + offsets.ADVANCE, named).fetchall(),
        ]
    assert all("kafka_offset_pkey" in str(plan) and "Seq Scan" not in str(plan) for plan in plans)
