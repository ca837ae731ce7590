"""The consumer of Kafka: messages become events of the ledger, each recorded once.

Its contract:

- **Once.** What a batch of messages brought, what of it was refused, and how far its partitions are read are one
  transaction. A consumer, a broker or a database that is killed at any moment loses nothing and repeats nothing.
- **Fenced.** The last statement of that transaction moves the offsets on from what the batch was read from. A consumer
  that was frozen, and whose partitions another one has by now, finds other numbers there: all of its batch is undone,
  and it joins anew. A frozen one keeps the environment's lock for ten seconds at most.
- **No message stops a partition.** What is no event (no JSON, no UTF-8, empty, a tombstone) goes to the rejects, with
  its topic, partition and offset.
- **What does stop one** is a log that does not continue where it was left: the topic was made anew, or messages are
  gone before they were read. That partition stands still, says so in the log of the process and in `dataforge consume
  --lag`, and goes on where a person decides; the others go on meanwhile.
- **It blocks** in `consume`, until `stop` is set: then the batch in hand is committed or undone, and the group is left.
  An outage of the broker or of the database is waited for. Only an unknown environment raises, settings that librdkafka
  does not take, and a fault of ours.

Any number of consumers may share the work: Kafka's group gives each some partitions. Group offsets are committed as
well, after the database, and only for tools that show lag: nothing reads them here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from threading import Event
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dataforge.ingest.batch import parse_any, read, record_into
from dataforge.ingest.kafka_log import Broker, Place, administration, client_of, logs
from dataforge.ingest.redaction import Redaction
from dataforge.model.errors import DatabaseUnavailable
from dataforge.model.message import Log, MessagePlace, Position, trouble
from dataforge.storage import environment as environments
from dataforge.storage import kafka_offset as offsets
from dataforge.storage import reject
from dataforge.storage.database import Database
from dataforge.storage.kafka_offset import Move

MOST_MESSAGES = 1_000  # of a batch
_PAUSE = 0.05  # seconds that a batch may wait for more
_AGAIN = 1.0  # seconds from the end of one membership to the next
_LOOK_SECONDS = 5.0  # between two looks at whether the topics are still the same
_LOOK_PATIENCE = 2.0  # seconds for the answer
_SETTINGS: dict[str, str | int | bool] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",  # a gap is never skipped without a word
    "partition.assignment.strategy": "cooperative-sticky",  # who keeps a partition reads on while others move
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 2_000,
    "reconnect.backoff.max.ms": 1_000,  # 10 s by default, which an outage would last longer
    "topic.metadata.refresh.interval.ms": 10_000,  # new partitions are seen within
    "queued.max.messages.kbytes": 16_384,  # read ahead, of all partitions together
    "log_level": 2,  # what matters comes by the error callback
}
_REMEDY = "say where it goes on by `dataforge consume --reset`"
_log = logging.getLogger(__name__)


class _Superseded(Exception):
    """Another consumer has the partitions, or a topic is another: what was read counts for nothing."""


class Reader(NamedTuple):
    """Into which ledger messages are read, and by which rules."""

    database: Database
    environment: str
    redaction: Redaction


def consume(reader: Reader, broker: Broker, stop: Event) -> None:
    """Consumes until it is told to stop; see the contract above. Raises NotFound for an unknown environment."""
    down = False
    while not stop.is_set():
        try:
            with reader.database.transaction() as connection:
                environments.find(connection, reader.environment)
            down = False
            _consume(reader, broker, stop)
        except _Superseded as error:
            _log.warning("joining anew: %s", error)
        except Exception as error:
            if not isinstance(error, DatabaseUnavailable | KafkaException) and not reject.outage(error):
                raise
            if not down:
                _log.warning("waiting: %s", error)
            down = True
        stop.wait(_AGAIN)


def _consume(reader: Reader, broker: Broker, stop: Event) -> None:
    session = _Session(reader, broker)
    try:
        while not stop.is_set():
            session.step()
    finally:
        session.close()


class _Session:
    """One membership in the group: it ends at the first failure, and the next one begins from what is recorded."""

    def __init__(self, reader: Reader, broker: Broker) -> None:
        self._reader = reader
        self._topics = broker.topics
        self._held: dict[Place, Position] = {}
        self._still: dict[Place, Position] = {}
        self._failure: Exception | None = None
        self._unreachable = False
        self._looked = time.monotonic()
        self._admin = administration(broker)
        group = {"group.id": f"{broker.group}.{reader.environment}", "error_cb": self._heard}
        self._consumer = client_of(broker, Consumer, {**_SETTINGS, **group})
        self._consumer.subscribe(
            list(broker.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def step(self) -> None:
        """Takes what has come, at most a batch, and records it."""
        messages = self._consumer.consume(MOST_MESSAGES, _PAUSE)
        if self._failure:
            raise self._failure
        wanted = [message for message in messages if self._wants(message)]
        if wanted:
            self._record(wanted)
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()

    def close(self) -> None:
        """Leaves the group: others have the partitions at once."""
        self._consumer.close()

    def _record(self, messages: Sequence[Message]) -> None:
        bodies = [message.value() or b"" for message in messages]
        batch = read(bodies, self._reader.redaction, parse_any)._replace(places=list(map(_place, messages)))
        ends = {(place.topic, place.partition): place.offset + 1 for place in batch.places}
        moves = [Move(self._held[key], end) for key, end in ends.items()]
        with self._reader.database.transaction() as connection:
            offsets.guard(connection)
            locked = environments.lock(connection, self._reader.environment)
            record_into(connection, locked, [batch])
            if not offsets.advance(connection, locked.id, moves):
                raise _Superseded("another consumer has read on from where this one did")
        for (topic, partition), end in ends.items():
            self._held[topic, partition] = Position(topic, partition, self._held[topic, partition].topic_id, end)
        committed = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
        self._consumer.commit(offsets=committed, asynchronous=True)

    def _wants(self, message: Message) -> bool:
        """Whether it is a message of a partition that is still held, and not an error."""
        if (error := message.error()) is not None:
            self._complain(message, error)
            return False
        place = _place(message)
        held = self._held.get((place.topic, place.partition))
        return held is not None and place.offset >= held.offset

    def _complain(self, message: Message, error: KafkaError) -> None:
        place, where = (message.topic(), message.partition()), f"{message.topic()}[{message.partition()}]"
        if error.code() != KafkaError._AUTO_OFFSET_RESET:
            _log.warning("%s: %s", where, error.str())
        elif place in self._held:
            raise _Superseded(f"{where} is no longer there to be read from: {error.str()}")

    def _heard(self, error: KafkaError) -> None:
        """What the client says of its connections: of an outage, the first of hundreds."""
        if not self._unreachable:
            _log.warning("the broker: %s", error.str())
        self._unreachable = True

    def _look(self) -> None:
        """Sees what no message tells: a topic that was made anew would be read on at the old one's offset, and what
        stands still may go on by now."""
        self._looked = time.monotonic()
        if self._still:
            with self._reader.database.transaction() as connection:
                environment = environments.find(connection, self._reader.environment).id
                stand = offsets.load(connection, environment, self._topics)
            if not set(self._still.values()) <= set(stand):
                raise _Superseded("a partition that stood still may go on")
        try:
            there = logs(self._admin, self._topics, _LOOK_PATIENCE)
        except KafkaException:  # an outage, which the consumer itself waits for
            return
        self._unreachable = False
        for place, position in self._held.items():
            if place in there and (reason := trouble(position, there[place])):
                raise _Superseded(f"{position.topic}[{position.partition}]: {reason}")

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begins to read what the group gave, from where it was left; what cannot go on is held still."""
        try:
            there = logs(self._admin, self._topics)
            for given in partitions:
                given.offset = self._begin((given.topic, given.partition), there)
        except Exception as error:  # noqa: BLE001 - raised where the step ends: here it would leave the group in limbo
            self._failure = error
        consumer.incremental_assign(partitions)
        consumer.pause([given for given in partitions if (given.topic, given.partition) in self._still])

    def _begin(self, place: Place, there: dict[Place, Log]) -> int:
        """Holds a partition, or holds it still; the offset to read it from."""
        if place not in there:
            raise _Superseded(f"{place[0]}[{place[1]}] is not there any more")
        position = self._position(place, there[place])
        if reason := trouble(position, there[place]):
            self._still[place] = position
            _log.error("%s[%d] stands still: %s; %s", *place, reason, _REMEDY)
        else:
            self._held[place] = position
        return position.offset

    def _position(self, place: Place, log: Log) -> Position:
        """Where a partition is to be read from: the first time, from its first message."""
        with self._reader.database.transaction() as connection:
            environment = environments.find(connection, self._reader.environment).id
            offsets.start(connection, environment, Position(*place, log.topic_id, log.begin))
            found = offsets.load(connection, environment, [place[0]])
        return next(each for each in found if each.partition == place[1])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Lets go: callbacks run inside `step`, before anything of it is recorded."""
        for gone in partitions:
            self._held.pop((gone.topic, gone.partition), None)
            self._still.pop((gone.topic, gone.partition), None)
        consumer.incremental_unassign(partitions)


def _place(message: Message) -> MessagePlace:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None, "every message that came has a place"
    assert partition is not None, "the same"
    assert offset is not None, "the same"
    return MessagePlace(topic, partition, offset)
