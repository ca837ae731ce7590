"""The ledger by every way that leads to it: over HTTP, straight to the database, and as Dagster's resource by both."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from threading import Thread

import pytest
import uvicorn

from dataforge.api.app import create_app
from dataforge.client import Client, DirectClient, Ledger
from dataforge.settings import load
from dataforge.storage.database import Database
from resources import LedgerResource

WAYS = ("http", "direct", "resource over http", "resource on the database")
Ways = dict[str, Ledger]


@contextmanager
def serving(database_url: str, home: Path) -> Iterator[str]:
    """The address of a server on this database, which lives as long as the block."""
    settings = load({"DATAFORGE_DATABASE_URL": database_url, "DATAFORGE_HOME": str(home)}, home / "dataforge.toml")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning"))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def every_way(database_url: str, home: Path, environment: str = "dev") -> Iterator[Ways]:
    """One ledger by each of the ways, open for as long as the block."""
    with serving(database_url, home) as url, ExitStack() as stack:
        yield {way: stack.enter_context(_by(way, url, database_url, environment)) for way in WAYS}


def _by(way: str, url: str, database_url: str, environment: str) -> Ledger:
    match way:
        case "http":
            return Client(url, environment)
        case "direct":
            return DirectClient(Database(database_url, max_size=4), environment)
        case "resource over http":
            return LedgerResource(url=url, environment=environment)
        case _:
            return LedgerResource(database_url=database_url, environment=environment)


@pytest.fixture(params=WAYS)
def ledger(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with nothing in it, by each of the ways."""
    server = serving(database_url, tmp_path) if "http" in request.param else nullcontext("")
    with server as url, _by(request.param, url, database_url, "dev") as ledger:
        yield ledger
