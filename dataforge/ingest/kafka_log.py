"""What a Kafka cluster has: its topics' identities and the ends of their logs, beside how far they are read.

Guarantees that how far reading lags can be told without a consumer that runs, and that a partition which stands still
goes on only by a decision that is kept with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not listed
from msgspec import Meta

from dataforge.model.errors import NotFound, SettingsError, Unreachable
from dataforge.model.message import Log, Position, trouble
from dataforge.storage import environment as environments
from dataforge.storage import kafka_offset as offsets
from dataforge.storage.database import Connection, Database

_SECONDS = 10.0  # that the cluster may take to answer
_Client = TypeVar("_Client")
_Found = TypeVar("_Found")
Place = tuple[str, int]  # a topic and the number of a partition of it


class Broker(NamedTuple):
    """Which cluster, which of its topics, and the group that shares the work."""

    bootstrap: str
    topics: tuple[str, ...]
    group: str
    properties: tuple[tuple[str, str], ...] = ()  # of librdkafka, such as those of TLS and SASL

    def settings(self) -> dict[str, str | int | float | bool]:
        """How librdkafka reaches it."""
        return {**dict(self.properties), "bootstrap.servers": self.bootstrap, "client.id": "dataforge"}


def read_properties(path: Path) -> tuple[tuple[str, str], ...]:
    """The lines `name = value` of a file; those that begin with # are passed over. Raises SettingsError."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, equals, value = (part.strip() for part in line.partition("="))
        if name.startswith("#") or not line.strip():
            continue
        if not name or not equals:
            expected = f"lines such as security.protocol=SASL_SSL (line {number} is none)"
            raise SettingsError("DATAFORGE_KAFKA_PROPERTIES", str(path), expected)
        found.append((name, value))
    return tuple(found)


def administration(broker: Broker) -> AdminClient:
    """What answers for the cluster as a whole. Raises SettingsError for what librdkafka does not take."""
    return client_of(broker, AdminClient, {"log_level": 2})


def client_of(broker: Broker, kind: Callable[[dict[str, Any]], _Client], own: Mapping[str, object]) -> _Client:
    """A client of the cluster; its `own` settings outrank the broker's. Raises SettingsError for what librdkafka does
    not take, by itself or together."""
    try:
        return kind({**broker.settings(), **own})
    except KafkaException as error:
        names = ", ".join(name for name, _ in broker.properties)  # a value may be a password
        expected = f"settings that librdkafka takes ({error.args[0].str()})"
        raise SettingsError("DATAFORGE_KAFKA_PROPERTIES", names, expected) from None


class Lag(msgspec.Struct, frozen=True):
    """How far one partition is read, and what lies before."""

    topic: str
    partition: int
    offset: Annotated[int | None, Meta(description="Of the next message; null where none was ever read.")]
    begin: int
    end: int
    lag: Annotated[int, Meta(description="How many messages are there to be read.")]
    trouble: Annotated[str | None, Meta(description="Why the partition stands still.")]


def logs(admin: AdminClient, topics: Sequence[str], seconds: float = _SECONDS) -> dict[Place, Log]:
    """Every partition of those topics that exist. Raises KafkaException where the cluster does not answer in time."""
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=seconds)
    found = {topic: description for topic, each in described.items() if (description := _existing(each)) is not None}
    places = [(topic, one.id) for topic, description in found.items() for one in description.partitions]
    first, behind = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
    begins, ends = _offsets(admin, places, first, seconds), _offsets(admin, places, behind, seconds)
    return {place: Log(str(found[place[0]].topic_id), begins[place], ends[place]) for place in places}


def _existing(described: Future[Any]) -> Any:
    try:
        return described.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise


def _offsets(admin: AdminClient, places: Iterable[Place], spec: OffsetSpec, seconds: float) -> dict[Place, int]:
    asked = {TopicPartition(topic, partition): spec for topic, partition in places}
    answers = admin.list_offsets(asked, request_timeout=seconds) if asked else {}
    return {(each.topic, each.partition): int(answer.result().offset) for each, answer in answers.items()}


def lags(database: Database, environment: str, broker: Broker) -> list[Lag]:
    """How far each partition of the topics is read. Raises NotFound for an unknown environment or a topic that is not
    there, and Unreachable where the cluster does not answer."""
    there = _reached(broker)
    with database.transaction() as connection:
        stand = _positions(connection, environments.find(connection, environment).id, broker.topics)
    return [_lag(place, log, stand.get(place)) for place, log in sorted(there.items())]


def _lag(place: Place, log: Log, position: Position | None) -> Lag:
    reason = trouble(position, log) if position else None
    begin = position.offset if position and not reason else log.begin
    return Lag(*place, position.offset if position else None, log.begin, log.end, log.end - begin, reason)


def reset(
    database: Database,
    environment: str,
    broker: Broker,
    to: Literal["beginning", "end"],
    decided: tuple[str, str, datetime],
) -> list[Lag]:
    """Lets every partition of the topics that stands still go on at the log's beginning or end, and keeps who decided
    that, why, and when (`decided`). Returns those, as they stand now. Raises as `lags` does."""
    there = _reached(broker)
    moved = []
    with database.transaction() as connection:
        locked = environments.lock(connection, environment)
        for place, old in _positions(connection, locked.id, broker.topics).items():
            log = there.get(place)
            if log is None or trouble(old, log) is None:
                continue
            new = Position(*place, log.topic_id, log.begin if to == "beginning" else log.end)
            offsets.reset(connection, locked.id, old, new, *decided)
            moved.append(_lag(place, log, new))
    return moved


def _positions(connection: Connection, environment: int, topics: Sequence[str]) -> dict[Place, Position]:
    return {(each.topic, each.partition): each for each in offsets.load(connection, environment, topics)}


def _reached(broker: Broker) -> dict[Place, Log]:
    admin = administration(broker)
    there = _asked(broker, lambda: logs(admin, broker.topics))
    if missing := [topic for topic in broker.topics if not any(topic == name for name, _ in there)]:
        listed = _asked(broker, lambda: admin.list_topics(timeout=_SECONDS).topics)
        names = sorted(name for name in listed if not name.startswith("__"))  # not Kafka's own
        raise NotFound(f"there is no topic named {missing[0]!r} at {broker.bootstrap}", candidates=names[:5])
    return there


def _asked(broker: Broker, question: Callable[[], _Found]) -> _Found:
    try:
        return question()
    except KafkaException as error:
        raise Unreachable(
            f"cannot reach Kafka at {broker.bootstrap} ({error.args[0].str()}): start it (`make kafka` starts one"
            " here), or correct DATAFORGE_KAFKA_BOOTSTRAP"
        ) from error
