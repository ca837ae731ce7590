"""What keeps Dagster from being ready is told in words, whatever its webserver answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from dataforge.local import dagster_health
from dataforge.settings import Settings, load

# As GraphQL answers where the storage was lost: with the status of a success, and without data.
LOST = json.dumps({"data": None, "errors": [{"message": "the connection was lost"}]}).encode()


STARTING = {"message": "the database system is starting up", "className": "OperationalError"}
FAILED = {"message": "too many retries", "className": "DagsterPostgresException", "errorChain": [{"error": STARTING}]}
ENTRY = {"name": "shop", "loadStatus": "LOADED", "locationOrLoadError": FAILED}
WITHOUT_STORAGE = json.dumps({"data": {"workspaceOrError": {"locationEntries": [ENTRY]}, "instance": {}}}).encode()


class _Webserver(BaseHTTPRequestHandler):
    says = LOST

    def do_GET(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(asked.decode())
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.says)))
        self.end_headers()
        self.wfile.write(self.says)

    asked: ClassVar[list[str]] = []

    do_POST = do_GET  # noqa: N815  # as the library has it

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Of an installation whose webserver has lost its storage."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Webserver)
    settings = load({"DAGSTER_PORT": str(server.server_port)}, tmp_path / "dataforge.toml")
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield settings
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webserver_that_lost_its_storage_is_waited_for(settings: Settings) -> None:
    trouble = dagster_health.trouble(settings, None)
    assert trouble is not None
    assert "the connection was lost" in trouble


def test_a_code_location_that_was_loaded_before_its_database_was_there_is_loaded_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Webserver, "says", WITHOUT_STORAGE)
    assert dagster_health.trouble(settings, None) == "the code location shop found no database, and is loaded again"
    assert "reloadWorkspace" in _Webserver.asked[-1]
