"""A replay that is killed, wherever it stands, has changed nothing or everything, and the next one finishes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dataforge.cli.example import load
from dataforge.ingest.replay import replay, verify
from dataforge.ledger.verify import digest
from dataforge.storage.database import Database
from dataforge.storage.environment import LOCK

COMMAND = [sys.executable, "-c", "from dataforge.cli.main import main; main()", "replay"]
WAITS = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@contextmanager
def _replaying(database: Database, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "DATAFORGE_DATABASE_URL": database.url, "DATAFORGE_HOME": str(home)}
    with subprocess.Popen(COMMAND, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_until_it_waits(observer: psycopg.Connection, process: subprocess.Popen[bytes]) -> None:
    while not observer.execute(WAITS).fetchall():
        try:
            raise AssertionError(f"it ended, with {process.wait(0.05)}, and should have waited for a lock")
        except subprocess.TimeoutExpired:
            observer.rollback()


@pytest.fixture
def damaged(database: Database) -> tuple[Database, str, str]:
    """A database whose state is not what its events give, with the digests of the right state and of that one."""
    load(database.url, "dev")
    right = digest(database, "dev")
    with database.transaction() as connection:
        connection.execute("update partition_state set version = 'nonsense'")
        connection.execute("delete from run where kind = 'dag'")
    return database, right, digest(database, "dev")


@pytest.mark.parametrize(
    "held",
    [
        pytest.param("lock table progress in share row exclusive mode", id="reading"),
        pytest.param(LOCK.replace("%s", "'dev'"), id="before-the-swap"),
        pytest.param("select from partition_state where environment = 1 for update", id="in-the-swap"),
    ],
)
def test_a_replay_that_is_killed_before_its_commit_has_changed_nothing(
    damaged: tuple[Database, str, str], tmp_path: Path, held: str
) -> None:
    database, right, wrong = damaged
    with psycopg.connect(database.url) as holder, psycopg.connect(database.url) as observer:
        holder.execute(held.encode())
        with _replaying(database, tmp_path) as process:
            _wait_until_it_waits(observer, process)
            assert digest(database, "dev") == wrong
            process.kill()
    assert digest(database, "dev") == wrong
    assert not replay(database, "dev").found.agrees
    assert digest(database, "dev") == right
    assert _environments(database) == ["dev", "staging", "prod"]


def test_a_replay_that_is_killed_after_its_commit_has_changed_everything(
    damaged: tuple[Database, str, str], tmp_path: Path
) -> None:
    database, right, _ = damaged
    with (
        psycopg.connect(database.url) as holder,
        psycopg.connect(database.url) as second,
        psycopg.connect(database.url) as observer,
    ):
        holder.execute(LOCK.replace("%s", "'dev'").encode())
        with _replaying(database, tmp_path) as process:
            _wait_until_it_waits(observer, process)
            second.execute("select from touch where environment < 0 for update")  # what it removes at the end
            holder.commit()
            while digest(database, "dev") != right:
                assert process.poll() is None
            _wait_until_it_waits(observer, process)
            process.kill()
    assert digest(database, "dev") == right
    assert verify(database, "dev").found.agrees
    assert _environments(database) == ["dev", "staging", "prod"]


def _environments(database: Database) -> list[str]:
    with database.transaction() as connection:
        return [name for (name,) in connection.execute("select name from environment order by id")]
