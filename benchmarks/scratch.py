"""A real PostgreSQL of one's own, for tests and measurements, and databases on it that vanish afterwards."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import psycopg
from psycopg import sql

from dataforge.local import postgres
from dataforge.storage.database import Database, migrate

# What a test's database holds is never needed again, so nothing has to wait for the disk, nor is anything vacuumed.
DISPOSABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}

_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory
_ROOM = 4 * 2**30  # bytes that must be free there


@contextmanager
def scratch_server(options: Mapping[str, str]) -> Iterator[str]:
    """The URL of a server on which databases may be created: the one that DATAFORGE_TEST_DATABASE_URL names (a
    role that may create databases), else an embedded one with these options."""
    if named := os.environ.get("DATAFORGE_TEST_DATABASE_URL"):
        yield named
        return
    folder = Path(tempfile.mkdtemp(prefix="dataforge-scratch-", dir=_MEMORY if _in_memory(options) else None))
    server = postgres.Server(folder / "postgres", folder / "sockets")
    try:
        server.prepare()
        with _running(server, folder / "log", options):
            server.create_database()
            with psycopg.connect(server.superuser_url, autocommit=True) as connection:
                connection.execute(f"ALTER ROLE {postgres.ROLE} CREATEDB")
            yield server.url
    finally:
        shutil.rmtree(folder)


def _in_memory(options: Mapping[str, str]) -> bool:
    """Whether the server's files may lie in memory: creating a database there takes a fifth of the time."""
    if options.get("fsync") != "off" or not _MEMORY.is_dir():
        return False
    return min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available) > _ROOM


@contextmanager
def _running(server: postgres.Server, log: Path, options: Mapping[str, str]) -> Iterator[None]:
    command, account = server.command(options), postgres.run_as(server.account)
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
def new_database(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a database that exists for as long as the block."""
    name = f"dataforge_test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(_statement(_CREATE[_waits_for_disk(connection)], name, template))
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            _drop(connection, name)


# Files copied as they are take a third less work than pages copied through the log, but two checkpoints: these cost
# nothing where nothing waits for the disk.
_CREATE: dict[bool, LiteralString] = {
    True: "CREATE DATABASE {} TEMPLATE {}",
    False: "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy",
}


def _waits_for_disk(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT current_setting('fsync')::boolean").fetchone() == (True,)


def _drop(connection: psycopg.Connection, name: str) -> None:
    """Ends whoever is still connected. What vacuums the database may only be asked to leave, by a plain DROP."""
    try:
        connection.execute(_statement("DROP DATABASE {} WITH (FORCE)", name))
    except psycopg.errors.InsufficientPrivilege:
        connection.execute(_statement("DROP DATABASE {}", name))


def _statement(text: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))


@contextmanager
def scratch_database(options: Mapping[str, str] = DISPOSABLE) -> Iterator[Database]:
    """A migrated database on a server of its own."""
    with scratch_server(options) as server, new_database(server) as url:
        migrate(url)
        database = Database(url, max_size=4, statement_timeout_ms=600_000)
        try:
            yield database
        finally:
            database.close()


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
