"""Events over HTTP in groups: an answer means a commit, whoever goes away, stops or fails meanwhile."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from litestar.testing import TestClient

from benchmarks.served import Served, served
from dataforge.api.app import create_app
from dataforge.ingest.batch import record_native
from dataforge.ingest.group import GroupCommit
from dataforge.ingest.redaction import NOTHING
from dataforge.settings import Settings
from dataforge.storage import event as event_log
from dataforge.storage.database import Database
from dataforge.storage.environment import LOCK


def event(number: int, **changes: Any) -> dict[str, Any]:
    task = {"namespace": "ns", "name": f"task{number % 7}"}
    whole = {"id": f"e{number}", "time": "2026-11-01T06:00:00Z", "task": task, "run": f"r{number}"}
    return {**whole, "state": "succeeded", **changes}


@contextmanager
def busy(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """While the block lasts, somebody else writes to `dev`."""
    with psycopg.connect(database_url, autocommit=True) as other, other.transaction():
        other.execute(LOCK, ["dev"])
        yield other


def someone_waits(connection: psycopg.Connection[Any]) -> None:
    """Returns when a writer waits for the environment."""
    while not connection.execute("select from pg_locks where locktype = 'advisory' and not granted").fetchall():
        pass


def send(one: Served, number: int) -> socket.socket:
    """A request whose answer nobody has read yet."""
    body = json.dumps(event(number)).encode()
    head = f"POST /api/v1/dev/events HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", one.port))
    connection.sendall(head.encode() + body)
    return connection


def answer_to(connection: socket.socket) -> bytes:
    with connection:
        return connection.recv(2**16)


def recorded(database: Database) -> set[str]:
    with database.transaction() as connection:
        return {json.loads(each.body)["id"] for page in event_log.read_all(connection, 1) for each in page}


@pytest.fixture(scope="module")
def api(module_database: Database) -> Iterator[Served]:
    """A process of the API, which the tests of this module share."""
    with served(module_database.url) as one:
        yield one


def test_whoever_hangs_up_stops_nothing(api: Served, module_database: Database) -> None:
    with busy(module_database.url) as other:
        connections = [send(api, number) for number in range(10)]
        someone_waits(other)
        assert httpx.get(f"{api.root}/health").is_success  # by now the requests before it are read
        for connection in connections[:5]:
            connection.close()
    answers = [answer_to(connection) for connection in connections[5:]]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    assert {f"e{number}" for number in range(10)} <= recorded(module_database)


def test_in_an_outage_everybody_who_waited_is_told_to_send_again(api: Served, module_database: Database) -> None:
    with busy(module_database.url) as other:
        connections = [send(api, number) for number in range(20, 30)]
        someone_waits(other)
        assert httpx.get(f"{api.root}/health").is_success
        other.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted")
        first = answer_to(connections[0]).lower()
    assert first.startswith(b"http/1.1 503")
    assert b"retry-after: 5" in first
    for number, connection in enumerate(connections[1:], start=21):
        told = answer_to(connection)
        assert told.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
        assert told.startswith(b"HTTP/1.1 200") == (f"e{number}" in recorded(module_database))


def test_processes_beside_each_other_record_once_and_one_that_stops_answers_what_it_accepted(
    api: Served, module_database: Database
) -> None:
    with served(module_database.url) as second:
        numbers = [*range(100, 160), *range(120, 180)]
        with httpx.Client(timeout=60) as client, ThreadPoolExecutor(16) as threads:

            def post(place: int) -> dict[str, int]:
                url = (api, second)[place % 2].url
                answer: dict[str, int] = client.post(f"{url}/dev/events", json=event(numbers[place])).json()
                return answer

            answers = list(threads.map(post, range(len(numbers))))
        assert sum(answer["applied"] for answer in answers) == 80
        assert sum(answer["duplicates"] for answer in answers) == 40
        stop_while_busy(second, module_database)


def stop_while_busy(one: Served, database: Database) -> None:
    with busy(database.url) as other:
        connections = [send(one, number) for number in range(200, 220)]
        someone_waits(other)
        assert httpx.get(f"{one.root}/health").is_success
        one.process.send_signal(signal.SIGTERM)
        while not refused(one):
            pass
    assert all(answer_to(connection).startswith(b"HTTP/1.1 200") for connection in connections)
    one.process.wait(30)
    assert {f"e{number}" for number in range(200, 220)} <= recorded(database)


def refused(one: Served) -> bool:
    """Whether nothing listens any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", one.port)) != 0


def test_a_full_queue_is_answered_with_when_to_come_again(settings: Settings) -> None:
    assert settings.database_url is not None
    database, app = Database(settings.database_url), create_app(settings)
    app.state.group_commit = GroupCommit(database, NOTHING, most_held=1)
    with TestClient(app, raise_server_exceptions=False) as client, ThreadPoolExecutor(1) as thread:
        with busy(settings.database_url) as other:
            taken = thread.submit(client.post, "/api/v1/dev/events", json=event(1))
            someone_waits(other)
            answer = client.post("/api/v1/dev/events", json=event(2))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "send them again in some seconds" in answer.json()["detail"]
        assert taken.result().json()["applied"] == 1
    assert record_native(database, "dev", [event(2)], NOTHING).applied == 1
    database.close()
