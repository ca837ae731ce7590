"""The real PostgreSQL behind the tests, and a fresh, migrated database for each test that asks.

The server is the embedded one, started once per test process, or the one that DATAFORGE_TEST_DATABASE_URL
names (a role that may create databases and roles). A test's database is a clone of a migrated template.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from dataforge.local import postgres
from dataforge.storage.database import Database, migrate

# What a test database holds is never needed again, so nothing has to wait for the disk.
_DISPOSABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server on which databases may be created."""
    named = os.environ.get("DATAFORGE_TEST_DATABASE_URL")
    if named:
        yield named
        return
    with _embedded_server() as url:
        yield url


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> Iterator[str]:
    """The name of a database with every migration applied and nothing in it, connected to by nobody."""
    with _new_database(postgres_server) as name:
        migrate(_url_of(postgres_server, name))
        yield name


@pytest.fixture
def database_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """The URL of a fresh database of the newest schema."""
    with _new_database(postgres_server, template_database) as name:
        yield _url_of(postgres_server, name)


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh database without any schema."""
    with _new_database(postgres_server) as name:
        yield _url_of(postgres_server, name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database of the newest schema."""
    database = Database(database_url, min_size=1, max_size=4)
    yield database
    database.close()


@contextmanager
def _embedded_server() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="dataforge-test-"))
    server = postgres.Server(folder / "postgres", folder / "sockets")
    try:
        server.prepare()
        with _running(server, folder / "log"):
            server.create_database()
            with psycopg.connect(server.superuser_url, autocommit=True) as connection:
                connection.execute(f"ALTER ROLE {postgres.ROLE} CREATEDB")
            yield server.url
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(server: postgres.Server, log: Path) -> Iterator[None]:
    command, account = server.command(_DISPOSABLE), postgres.run_as(server.account)
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, **account) as process,
    ):
        try:
            server.wait_until_ready(30)
            yield
        finally:
            process.send_signal(server.STOP_SIGNAL)


@contextmanager
def _new_database(server: str, template: str = "template1") -> Iterator[str]:
    """The name of a database that exists for as long as the block."""
    name = f"dataforge_test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(_statement("CREATE DATABASE {} TEMPLATE {}", name, template))
        try:
            yield name
        finally:
            connection.execute(_statement("DROP DATABASE {} WITH (FORCE)", name))


def _statement(text: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))


def _url_of(server: str, database: str) -> str:
    """The same server's URL, for another of its databases."""
    return urlsplit(server)._replace(path=f"/{database}").geturl()
