"""Messages of logs, cut into topics and partitions, as Kafka has them: their places, and how far one is read."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class MessagePlace(msgspec.Struct, frozen=True):
    """Which message it was."""

    topic: Annotated[str, Meta(description="The topic.")]
    partition: Annotated[int, Meta(description="The partition of the topic.")]
    offset: Annotated[int, Meta(description="The message's offset in it.")]


class Position(msgspec.Struct, frozen=True):
    """How far one partition of a topic is read."""

    topic: str
    partition: int
    topic_id: str  # Kafka's own: a topic made anew under the same name has another
    offset: int  # of the next message


class Log(msgspec.Struct, frozen=True):
    """One partition as the broker has it."""

    topic_id: str
    begin: int  # the offset of the first message that is kept
    end: int  # the offset that the next one will get


def trouble(position: Position, log: Log) -> str | None:
    """Why reading cannot go on from there; None where it can."""
    if position.topic_id != log.topic_id:
        return "the topic was deleted and made anew"
    if position.offset < log.begin:
        return f"{log.begin - position.offset:,} messages are gone before they were read"
    if position.offset > log.end:
        return f"the partition ends at {log.end:,}, before what was read"
    return None
