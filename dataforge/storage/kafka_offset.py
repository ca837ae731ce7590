"""How far messages are read, in the transaction of what was made of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg import Connection

from dataforge.model.message import Position


class Move(NamedTuple):
    """A partition read on, from its position to the offset of the next message."""

    position: Position
    to: int


GUARD = "set local idle_in_transaction_session_timeout = '10s'"


def guard(connection: Connection) -> None:
    """Makes the server end this transaction if its process is frozen in it: others wait for the environment's lock."""
    connection.execute(GUARD)


LOAD = """
select topic, partition, topic_id, next_offset from kafka_offset
where environment = %s and topic = any(%s::text[]) order by topic, partition
"""


def load(connection: Connection, environment: int, topics: Sequence[str]) -> list[Position]:
    """Where the partitions of these topics stand, those that were ever read."""
    return [Position(*row) for row in connection.execute(LOAD, [environment, list(topics)]).fetchall()]


START = """
insert into kafka_offset (environment, topic, partition, topic_id, next_offset) values (%s, %s, %s, %s, %s)
on conflict do nothing
"""


def start(connection: Connection, environment: int, position: Position) -> None:
    """Begins to read a partition there, unless it was begun."""
    connection.execute(START, [environment, *_row(position)])


ADVANCE = """
update kafka_offset o set next_offset = n.next_offset
from unnest(%(topics)s::text[], %(partitions)s::integer[], %(ids)s::text[], %(offsets)s::bigint[], %(nexts)s::bigint[])
    as n (topic, partition, topic_id, offset_before, next_offset)
where o.environment = %(environment)s and o.topic = n.topic and o.partition = n.partition
    and o.topic_id = n.topic_id and o.next_offset = n.offset_before
"""


def advance(connection: Connection, environment: int, moves: Sequence[Move]) -> bool:
    """Moves the partitions on; False, and the caller undoes all, where one does not stand where it was read from."""
    positions = [move.position for move in moves]
    parameters = {
        "environment": environment,
        "topics": [position.topic for position in positions],
        "partitions": [position.partition for position in positions],
        "ids": [position.topic_id for position in positions],
        "offsets": [position.offset for position in positions],
        "nexts": [move.to for move in moves],
    }
    return connection.execute(ADVANCE, parameters).rowcount == len(moves)


REPLACE = """
update kafka_offset set topic_id = %s, next_offset = %s where environment = %s and topic = %s and partition = %s
"""
DECIDED = """
insert into kafka_reset (
    environment, topic, partition, decided_at, decided_by, reason, old_topic_id, old_offset, new_topic_id, new_offset
)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def reset(
    connection: Connection, environment: int, old: Position, new: Position, by: str, reason: str, now: datetime
) -> None:
    """Lets a partition go on elsewhere, and keeps who decided that and why."""
    connection.execute(REPLACE, [new.topic_id, new.offset, environment, old.topic, old.partition])
    ends = (old.topic_id, old.offset, new.topic_id, new.offset)
    connection.execute(DECIDED, [environment, old.topic, old.partition, now, by, reason, *ends])


def _row(position: Position) -> tuple[str, int, str, int]:
    return position.topic, position.partition, position.topic_id, position.offset
