"""Ingestion from Kafka: messages that lie in a real broker, read by one consumer's process."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks import broker, workload
from benchmarks.broker import Kafka
from benchmarks.figure import Bench
from dataforge.storage.database import Database

ROUNDS, MESSAGES, PARTITIONS = 3, 12_000, 4


def measure(bench: Bench, database: Database, floor: float, beside: str) -> None:
    """Messages a second, from the first that is recorded to the last; nothing where there is no Java or Maven."""
    if lacking := broker.missing():
        print(f"ingest.kafka is left out: {lacking}")
        return
    with broker.running() as kafka:
        rates = [_round(kafka, database, number) for number in range(ROUNDS)]
    bench.rate("ingest.kafka", median(rates), beside, median(rates) / floor)


def _round(kafka: Kafka, database: Database, number: int) -> float:
    topic, bodies = f"bench-{number}", workload.native(MESSAGES, seed=50_000 + number)
    _produce(kafka, topic, bodies)
    named = {"DATAFORGE_DATABASE_URL": database.url, "DATAFORGE_KAFKA_BOOTSTRAP": kafka.address}
    environ = {**os.environ, **named, "DATAFORGE_KAFKA_TOPICS": topic, "DATAFORGE_KAFKA_GROUP": topic}
    with subprocess.Popen([sys.executable, "-m", "dataforge.cli", "consume"], env=environ) as process:
        first = _wait(process, database, topic, 1)
        began = time.perf_counter()
        last = _wait(process, database, topic, MESSAGES)
        taken = time.perf_counter() - began
        process.terminate()
    return (last - first) / taken


def _wait(process: "subprocess.Popen[bytes]", database: Database, topic: str, most: int) -> int:
    """Returns when so many messages are recorded; how many there are by then."""
    while (found := _recorded(database, topic)) < most:
        if process.poll() is not None:
            raise RuntimeError("the consumer has ended")
        time.sleep(0.02)
    return found


def _produce(kafka: Kafka, topic: str, bodies: Sequence[bytes]) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.address})  # what it began ends with it
    admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS)])[topic].result(30)
    producer = Producer({"bootstrap.servers": kafka.address, "acks": "all"})
    for number, body in enumerate(bodies):
        producer.produce(topic, body, partition=number // 2 % PARTITIONS)  # a run's two together, as its key keeps them
        producer.poll(0)
    producer.flush()


def _recorded(database: Database, topic: str) -> int:
    """How far the topic is read, which the consumer writes down with the events."""
    with database.transaction() as connection:
        row = connection.execute("select sum(next_offset) from kafka_offset where topic = %s", [topic]).fetchone()
    return int(row[0] or 0) if row else 0
