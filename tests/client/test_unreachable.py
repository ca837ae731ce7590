"""A ledger that cannot answer is one error of one line, which says where and what to do; what was only lost on the way
is asked again."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from benchmarks.scratch import free_port
from dataforge.client import Client, DirectClient, Ledger, TaskFilter
from dataforge.model.declaration import Declared
from dataforge.model.errors import SettingsError, Unreachable
from dataforge.storage.database import Database
from resources import LedgerResource
from tests.client.conftest import serving

NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"
_EMPTY = b'{"items": [], "next_cursor": null}'


class Server:
    """Some server that is no ledger: it answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, _EMPTY
        self.encoding: str | None = None
        self.lost = 0  # requests whose connection is closed without an answer
        self.seconds = 0.0  # until an answer
        self.asked: list[tuple[dict[str, str], bytes]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if server.lost:
                    server.lost -= 1
                    self.close_connection = True
                    return
                time.sleep(server.seconds)
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.body)))
                if server.encoding:
                    self.send_header("Content-Encoding", server.encoding)
                with suppress(BrokenPipeError):  # who waited no longer has hung up
                    self.end_headers()
                    self.wfile.write(server.body)

            do_POST = do_PUT = do_GET  # noqa: N815  # as the library has it

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def _refused(ledger: Ledger) -> str:
    """The message with which the ledger is unreachable."""
    with ledger, pytest.raises(Unreachable) as refused:
        ledger.tasks(TaskFilter())
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("make", [Client, lambda url: LedgerResource(url=url)])
def test_a_server_that_is_down_is_named_with_what_to_do(make: Callable[[str], Ledger]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    message = _refused(make(url))
    assert url in message
    assert "DATAFORGE_LEDGER" in message
    assert "refused" in message


@pytest.mark.parametrize(
    "make", [lambda url: DirectClient(Database(url)), lambda url: LedgerResource(database_url=url)]
)
def test_a_database_that_is_down_is_named_with_what_to_do(make: Callable[[str], Ledger]) -> None:
    assert "127.0.0.1:1" in _refused(make(NOBODY))


def test_a_database_that_nobody_migrated_is_named_as_such(empty_database_url: str) -> None:
    assert "migrate it with `make up`" in _refused(DirectClient(Database(empty_database_url)))


def test_a_server_without_its_database_cannot_answer(tmp_path: Path) -> None:
    with serving(NOBODY, tmp_path) as url:
        message = _refused(Client(url))
    assert "cannot answer (503)" in message
    assert "127.0.0.1:1" in message


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8700", "ftp://ledger", "http://", "", "http://ledger:port", "postgresql://db/ledger"]
)
def test_a_url_that_is_none_of_a_server_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="such as http://"):
        Client(url)


@pytest.mark.parametrize("status", [200, 302, 404, 422, 500, 502])
def test_another_server_than_a_ledgers_is_named_as_such(server: Server, status: int) -> None:
    server.status, server.body = status, b"<html>It works!</html>"
    assert "no ledger of this release" in _refused(Client(server.url))


def test_an_answer_that_cannot_be_decompressed_is_no_ledgers(server: Server) -> None:
    server.encoding = "gzip"
    assert "no ledger of this release" in _refused(Client(server.url))


def test_a_fault_of_the_server_is_told_as_it_says_it(server: Server) -> None:
    server.status, server.body = 500, b'{"detail": "its log says more"}'
    assert _refused(Client(server.url)).endswith("cannot answer (500): its log says more")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_setting(server: Server, status: int) -> None:
    server.status = status
    assert "DATAFORGE_API_KEY" in _refused(Client(server.url))


def test_an_answer_that_takes_too_long_is_not_waited_for_again(server: Server) -> None:
    server.seconds = 0.5
    assert "does not answer within 0.1 s" in _refused(Client(server.url, patience=0.1))
    assert len(server.asked) == 1


def test_a_manifest_has_a_patience_of_its_own(server: Server) -> None:
    server.seconds = 0.5
    server.body = msgspec.json.encode(Declared(created=1, changed=0, retired=0, unchanged=0, graph_version=1))
    with Client(server.url, patience=0.1, manifest_patience=60.0) as client:
        assert client.declare("shop", {"tasks": []}).created == 1
        assert "does not answer within 0.1 s" in _refused(client)
    with Client(server.url, manifest_patience=0.2) as client, pytest.raises(Unreachable, match=r"within 0\.2 s"):
        client.declare("shop", {"tasks": []})


@pytest.mark.parametrize("lost", [1, 2])
def test_what_a_lost_connection_took_is_asked_again(server: Server, lost: int) -> None:
    server.lost = lost
    with Client(server.url) as client:
        assert client.tasks(TaskFilter()).items == []
    assert len(server.asked) == lost + 1


def test_a_connection_that_is_lost_each_time_is_given_up(server: Server) -> None:
    server.lost = 10
    assert "cannot reach" in _refused(Client(server.url))
    assert len(server.asked) == 3


def test_the_key_goes_with_every_request_and_a_large_body_is_compressed(server: Server) -> None:
    server.body = b'{"received": 200, "applied": 200, "duplicates": 0, "rejected": []}'
    events = [{"number": number, "text": "x" * 100} for number in range(200)]
    with Client(server.url, api_key="secret") as client:
        client.record(events)
        client.record(events[:1])
    (large, compressed), (small, plain) = server.asked
    assert large["authorization"] == small["authorization"] == "Bearer secret"
    assert large["content-encoding"] == "gzip"
    assert msgspec.json.decode(gzip.decompress(compressed)) == events
    assert "content-encoding" not in small
    assert msgspec.json.decode(plain) == events[:1]


def test_a_key_is_sent_without_the_white_space_around_it(server: Server) -> None:
    with Client(server.url, api_key=" secret\n") as client:
        client.tasks(TaskFilter())
    assert server.asked[0][0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize("key", ["sec\nret", "secr\u00e9t"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(SettingsError, match="API key") as refused:
        Client("http://127.0.0.1:8700", api_key=key)
    assert key not in str(refused.value)


def test_without_a_key_none_is_sent(server: Server) -> None:
    with Client(server.url) as client:
        client.tasks(TaskFilter())
    assert "authorization" not in server.asked[0][0]
