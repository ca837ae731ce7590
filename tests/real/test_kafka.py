"""The Kafka consumer with a real broker and a real PostgreSQL, both of which are killed.

The producer keeps its own account of what the broker acknowledged. In the end each of it is in the ledger once, and the
ledger is that of one which was fed directly.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.transport.kafka import KafkaConfig, KafkaTransport

from benchmarks import broker as brokers
from benchmarks.broker import Kafka
from benchmarks.scratch import DISPOSABLE
from benchmarks.served import Served, served
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog
from dataforge.ledger.verify import digest
from dataforge.local import postgres
from dataforge.model.catalog import RunItem
from dataforge.model.filter import RejectFilter, RunFilter
from dataforge.storage import event as event_log
from dataforge.storage.database import Database, migrate
from dataforge.storage.environment import LOCK

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(brokers.missing() is not None, reason=f"a broker cannot be started: {brokers.missing()}"),
]
PATIENCE = 90.0  # seconds until what was sent must be recorded
PARTITIONS = 4


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    with brokers.running() as kafka:
        yield kafka


class Postgres:
    """A server that can be stopped as by `-m immediate` and started again."""

    def __init__(self, folder: Path) -> None:
        self._server = postgres.Server(folder / "postgres", folder / "sockets")
        self._server.prepare()
        self._log = folder / "log"
        self.start()
        self._server.create_database()
        with psycopg.connect(self._server.superuser_url, autocommit=True) as connection:
            connection.execute(f"alter role {postgres.ROLE} createdb".encode())

    def database(self, name: str, template: str = "template1") -> str:
        """The URL of a new database, which vanishes with the server."""
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(f"create database {name} template {template}".encode())
        return urlsplit(self._server.url)._replace(path=f"/{name}").geturl()

    def start(self) -> None:
        account = postgres.run_as(self._server.account)
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(self._server.command(DISPOSABLE), stdout=output, stderr=output, **account)
        self._server.wait_until_ready(60)

    def end(self, number: signal.Signals = signal.SIGQUIT) -> None:
        self.process.send_signal(number)
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="dataforge-kafka-"))
    made = Postgres(folder)
    yield made
    made.end()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def template(server: Postgres) -> str:
    migrate(server.database("migrated"))
    return "migrated"


class World:
    """One test's topic and database, its consumers, and the producer's account."""

    def __init__(self, kafka: Kafka, server: Postgres, database: Database) -> None:
        self.kafka, self.server, self.database = kafka, server, database
        self.topic = f"events-{time.monotonic_ns()}"
        self.admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})
        self.make(self.topic)
        self.sent: dict[str, dict[str, Any]] = {}
        self._numbers = count()
        settings = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "reconnect.backoff.max.ms": 1_000}
        self.producer = Producer({"bootstrap.servers": kafka.address, "log_level": 0, **settings})

    def make(self, topic: str, partitions: int = PARTITIONS) -> None:
        self.admin.create_topics([NewTopic(topic, num_partitions=partitions)])[topic].result(30)

    def send(self, many: int) -> None:
        """Sends new events, and returns when the broker has them all."""
        for number in (next(self._numbers) for _ in range(many)):
            event = _event(number)
            body = json.dumps(event).encode()
            self.producer.produce(self.topic, body, key=str(number % 97), on_delivery=self._delivered)
            self.producer.poll(0)
        assert self.producer.flush(PATIENCE) == 0

    def _delivered(self, error: Any, message: Message) -> None:
        assert error is None, error
        event = json.loads(message.value() or b"")
        self.sent[event["id"]] = event

    @contextmanager
    def consumer(self, *topics: str) -> Iterator[subprocess.Popen[bytes]]:
        """A consumer's process, told to stop at the end of the block unless it has gone."""
        process = subprocess.Popen([*COMMAND, "consume"], env=self.environ(*topics))
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def environ(self, *topics: str) -> dict[str, str]:
        return {
            **os.environ,
            "DATAFORGE_DATABASE_URL": self.database.url,
            "DATAFORGE_KAFKA_BOOTSTRAP": self.kafka.address,
            "DATAFORGE_KAFKA_TOPICS": ",".join(topics or [self.topic]),
            "DATAFORGE_KAFKA_GROUP": self.topic,
        }

    def recorded(self) -> Counter[str]:
        with self.database.transaction() as connection:
            pages = list(event_log.read_all(connection, 1))
        return Counter(json.loads(event.body)["id"] for page in pages for event in page)

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, f"{self.recorded().total()} of {len(self.sent)} are recorded"
            time.sleep(0.05)

    def until_recorded(self, many: int) -> None:
        self.until(lambda: self.recorded().total() >= many)

    def examine(self) -> None:
        """Everything that the broker took is there, once, and makes what it makes when it is told directly."""
        self.until_recorded(len(self.sent))
        assert self.recorded() == Counter(dict.fromkeys(self.sent, 1))
        told = [json.dumps(event).encode() for event in self.sent.values()]
        assert record_native(self.database, "staging", told, NOTHING).applied == len(told)
        assert digest(self.database, "dev") == digest(self.database, "staging")


COMMAND = [sys.executable, "-m", "dataforge.cli"]


def _event(number: int) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "time": f"2026-11-01T06:{number // 60 % 60:02}:{number % 60:02}Z",
        "task": {"namespace": "ns", "name": f"task{number % 7}"},
        "run": f"r{number % 40}",
        "partition": f"2026-11-{number % 9 + 1:02}",
        "state": ["running", "succeeded", "failed", "skipped"][number % 4],
    }


@pytest.fixture
def world(kafka: Kafka, server: Postgres, template: str) -> Iterator[World]:
    database = Database(server.database(f"world_{time.monotonic_ns()}", template), max_size=2)
    yield World(kafka, server, database)
    database.close()


@contextmanager
def busy(world: World) -> Iterator[psycopg.Connection[Any]]:
    """While the block lasts, somebody else writes to `dev`."""
    with psycopg.connect(world.database.url, autocommit=True) as other, other.transaction():
        other.execute(LOCK, ["dev"])
        yield other


def writers(connection: psycopg.Connection[Any]) -> int:
    """How many wait for the environment."""
    row = connection.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted").fetchone()
    assert row is not None
    return int(row[0])


def test_a_consumer_that_is_killed_loses_and_repeats_nothing(world: World) -> None:
    for _ in range(3):
        before = world.recorded().total()
        with world.consumer() as process:
            world.send(600)
            world.until_recorded(before + 100)
            process.kill()
    with world.consumer():
        world.examine()


def test_consumers_that_join_and_leave_share_the_work(world: World) -> None:
    with world.consumer() as first:
        world.send(400)
        with world.consumer(), world.consumer():
            world.send(400)
            world.until_recorded(600)
            first.terminate()
            assert first.wait(30) == 0
            world.send(400)
            world.examine()


def test_three_servers_and_three_consumers_are_one_ledger(world: World) -> None:
    """Only the database is between them: what comes both ways is there once, and each partition is granted once."""
    task = {"namespace": "ns", "name": "load", "partitioning": {"kind": "static", "keys": [f"c{n}" for n in range(30)]}}
    with ExitStack() as beside:
        servers = [beside.enter_context(served(world.database.url)) for _ in range(3)]
        for _ in servers:
            beside.enter_context(world.consumer())
        client = beside.enter_context(httpx.Client(timeout=60))
        threads = beside.enter_context(ThreadPoolExecutor(12))
        by_kafka = threads.submit(world.send, 600)
        by_http = [_event(number) for number in range(300, 900)]  # half of them come both ways
        told = threads.map(lambda n: _post(client, servers[n % 3], "dev/events", by_http[n]), range(len(by_http)))
        assert all(answer.status_code == 200 for answer in told)
        world.sent |= {event["id"]: event for event in by_http}
        by_kafka.result()
        assert _post(client, servers[0], "prod/tasks", task).status_code == 200
        wanted = [
            {"task": "load", "partition": f"c{n // 3}", "worker": f"w{n}", "lease_seconds": 60} for n in range(90)
        ]
        claims = threads.map(lambda n: _post(client, servers[n % 3], "prod/claims", wanted[n]), range(len(wanted)))
        assert Counter(answer.status_code for answer in claims) == {201: 30, 409: 60}
        world.examine()


def _post(client: httpx.Client, server: Served, path: str, body: dict[str, Any]) -> httpx.Response:
    return client.post(f"{server.url}/{path}", json=body)


def test_what_openlineages_own_client_sends_by_kafka_is_in_the_ledger(world: World) -> None:
    config = KafkaConfig(config={"bootstrap.servers": world.kafka.address}, topic=world.topic)
    client = OpenLineageClient(transport=KafkaTransport(config))
    for state in (RunState.START, RunState.COMPLETE):
        at = datetime(2026, 11, 2, 6, tzinfo=UTC).isoformat()
        job, run = Job("shell", "orders.export"), Run("0190c3f5-0000-7000-8000-000000000001")
        client.emit(RunEvent(eventTime=at, run=run, job=job, producer="https://example.com", eventType=state))
    client.close()
    with world.consumer():
        world.until(lambda: [run.state for run in _runs(world)] == ["succeeded"])


def _runs(world: World) -> Sequence[RunItem]:
    return catalog.runs(world.database, "dev", RunFilter()).items


def test_a_consumer_that_is_frozen_holds_nobody_up_for_long_and_repeats_nothing(world: World) -> None:
    with world.consumer() as frozen:
        with busy(world) as other:
            world.send(200)
            world.until(lambda: writers(other) == 1)
            frozen.send_signal(signal.SIGSTOP)
        with world.consumer():
            world.send(200)
            world.until_recorded(400)  # the server has ended the frozen one's transaction, the group its membership
            frozen.send_signal(signal.SIGCONT)
            world.send(200)
            world.examine()


def test_a_consumer_whose_partition_another_has_read_on_records_nothing_of_its_batch(world: World) -> None:
    with world.consumer():
        with busy(world) as other:
            world.send(50)
            world.until(lambda: writers(other) == 1)
            other.execute("update kafka_offset set next_offset = 1000000")
        world.until(lambda: bool(_lags(world)) and all(each["trouble"] for each in _lags(world)))
    assert world.recorded().total() == 0
    assert _reset(world, "beginning") == 0
    with world.consumer():
        world.examine()


def test_a_broker_that_is_killed_costs_nothing_but_time(world: World) -> None:
    with world.consumer():
        world.send(300)
        world.until_recorded(100)
        world.kafka.end(signal.SIGKILL)
        world.kafka.start()
        world.send(300)
        world.examine()


def test_a_database_that_is_stopped_at_once_costs_nothing_but_time(world: World) -> None:
    with world.consumer():
        world.send(600)
        world.until_recorded(100)
        world.server.end()
        world.server.start()
        world.send(200)
        world.until(lambda: _answers(world))
        world.examine()


def _answers(world: World) -> bool:
    try:
        world.recorded()
    except Exception:  # noqa: BLE001 - whatever it says of its connections after a restart
        return False
    return True


POISON: Sequence[bytes | None] = (
    b"{",
    b'{"time": "\xff"}',
    b"",
    None,
    b'{"eventTime": "\\u0000"}',
    b"\0",
    b"[1]",
    b"{}",
)


def test_poison_is_kept_with_its_place_and_stops_nothing(world: World) -> None:
    for body in POISON:
        world.producer.produce(world.topic, body, partition=2)
    world.producer.flush(PATIENCE)
    with world.consumer():
        world.send(100)
        world.examine()
        rejects = {item.message: item for item in catalog.rejects(world.database, "dev", RejectFilter()).items}
        assert sorted(place.offset for place in rejects if place) == list(range(len(POISON)))
        assert {(place.topic, place.partition) for place in rejects if place} == {(world.topic, 2)}
        assert sorted(item.size for item in rejects.values()) == sorted(len(body or b"") for body in POISON)


def test_what_is_no_longer_there_stands_still_until_a_person_decides_and_holds_up_nothing_else(world: World) -> None:
    anew, cut = f"{world.topic}-anew", f"{world.topic}-cut"
    for topic in (anew, cut):
        world.make(topic, 1)
        _tell(world, topic, range(5))
    topics = (world.topic, anew, cut)
    with world.consumer(*topics):
        world.until(lambda: len(world.recorded()) == 10)
        world.admin.delete_topics([anew])[anew].result(30)
        world.until(lambda: anew not in world.admin.list_topics(timeout=10).topics)
        world.make(anew, 1)
        _tell(world, anew, range(5, 20))
    _tell(world, cut, range(5, 20))
    world.admin.delete_records([TopicPartition(cut, 0, 12)])[TopicPartition(cut, 0)].result(30)
    with world.consumer(*topics):
        world.send(40)
        world.until(lambda: world.sent.keys() <= world.recorded().keys())
        told = {each["topic"]: each["trouble"] for each in _lags(world, *topics) if each["trouble"]}
        assert told[anew] == "the topic was deleted and made anew"
        assert told[cut] == "7 messages are gone before they were read"
        assert _reset(world, "beginning", *topics) == 0
        world.until(lambda: len(world.recorded()) == 50 + 15 + 8)
    with world.database.transaction() as connection:
        decided = connection.execute("select topic, decided_by, reason, new_offset from kafka_reset").fetchall()
    assert sorted(decided) == [(anew, "ops", "looked into", 0), (cut, "ops", "looked into", 12)]


def _tell(world: World, topic: str, numbers: range) -> None:
    for number in numbers:
        body = json.dumps({**_event(number), "id": f"{topic}-{number}"}).encode()
        world.producer.produce(topic, body)
    assert world.producer.flush(PATIENCE) == 0


def _lags(world: World, *topics: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*COMMAND, "consume", "--lag", "--json"], env=world.environ(*topics), capture_output=True, check=False
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == any(each["trouble"] for each in found)
    return found


def _reset(world: World, to: str, *topics: str) -> int:
    command = [*COMMAND, "consume", "--reset", to, "--reason", "looked into", "--by", "ops"]
    return subprocess.run(command, env=world.environ(*topics), capture_output=True, check=False).returncode
