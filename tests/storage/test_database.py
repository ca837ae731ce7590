"""One door to PostgreSQL: transactions, sessions, unreachable servers, migrations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from select import select

import psycopg
import pytest
from psycopg.rows import TupleRow

from dataforge.model.errors import DatabaseUnavailable, SettingsError
from dataforge.storage.database import Database, migrate


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text(
        "-- An essay; with a semicolon.\n"
        "CREATE TABLE first (id int PRIMARY KEY);\n"
        "CREATE FUNCTION add_one() RETURNS int LANGUAGE plpgsql AS $$\n"
        "BEGIN INSERT INTO first VALUES (1); RETURN 1; END $$;\n"
    )
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (id int);\nSELECT add_one();\n")
    return tmp_path


def _count(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_transaction_commits_all_or_nothing(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with database.transaction() as connection:
        connection.execute("CREATE TABLE kept (id int)")
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        raise ZeroDivisionError
    with database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES (2)")
    database.close()
    assert _count(empty_database_url, "kept") == 1


def test_nothing_inside_a_transaction_can_commit(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(psycopg.ProgrammingError), database.transaction() as connection:
        connection.commit()
    database.close()


def test_every_session_is_set_up_alike(empty_database_url: str) -> None:
    database = Database(empty_database_url, statement_timeout_ms=12_000)
    query = (
        "SELECT current_setting('TimeZone'), current_setting('statement_timeout'), current_setting('application_name')"
    )
    with database.transaction() as connection:
        assert connection.execute(query).fetchone() == ("UTC", "12s", "dataforge")
    database.close()


def test_a_malformed_url_is_refused_before_connecting() -> None:
    with pytest.raises(SettingsError, match="DATAFORGE_DATABASE_URL"):
        migrate("postgresql://host/database?what")


def test_nothing_connects_before_the_first_transaction() -> None:
    Database("postgresql://dataforge@127.0.0.1:1/nowhere").close()


def test_an_unreachable_server_is_named_without_its_password() -> None:
    database = Database("postgresql://dataforge:secret@127.0.0.1:1/nowhere")
    with pytest.raises(DatabaseUnavailable) as refused, database.transaction():
        pass
    message = str(refused.value)
    assert "127.0.0.1:1, database nowhere" in message
    assert "DATAFORGE_DATABASE_URL" in message
    assert "secret" not in message


def test_a_malformed_url_names_its_setting() -> None:
    with pytest.raises(SettingsError, match="DATAFORGE_DATABASE_URL"):
        Database("postgresql://host:port:more/x?y")


def test_a_lost_connection_is_reported_and_replaced(empty_database_url: str) -> None:
    database = Database(empty_database_url, min_size=1, max_size=1)
    with pytest.raises(DatabaseUnavailable, match="lost"), database.transaction() as connection:
        _terminate(empty_database_url, connection.info.backend_pid)
        connection.execute("SELECT 1")
    with database.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    database.close()


def test_a_transaction_that_the_server_ended_because_it_idled_is_reported_as_lost(empty_database_url: str) -> None:
    database = Database(empty_database_url, min_size=1, max_size=1)
    with pytest.raises(DatabaseUnavailable, match="lost"), database.transaction() as connection:
        _idle_too_long(connection)
        connection.execute("SELECT 1")
    with database.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    database.close()


def test_a_pool_that_stays_busy_says_so(empty_database_url: str) -> None:
    database = Database(empty_database_url, max_size=1, wait_seconds=0.05)
    with database.transaction(), pytest.raises(DatabaseUnavailable, match="all 1 connections"):
        database.transaction().__enter__()
    database.close()


def test_a_migration_is_applied_once(empty_database_url: str, migrations: Path) -> None:
    migrate(empty_database_url, migrations)
    migrate(empty_database_url, migrations)
    assert _count(empty_database_url, "first") == 1


def test_a_failed_migration_leaves_nothing_and_can_be_corrected(empty_database_url: str, migrations: Path) -> None:
    third = migrations / "0003_third.sql"
    third.write_text("CREATE TABLE third (id int); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database_url, migrations)
    third.write_text("CREATE TABLE third (id int);")
    migrate(empty_database_url, migrations)
    assert _count(empty_database_url, "third") == 0


def test_processes_that_migrate_at_once_wait_for_each_other(empty_database_url: str, migrations: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(migrate, empty_database_url, migrations) for _ in range(4)]:
            done.result()
    assert _count(empty_database_url, "first") == 1


def test_the_projects_own_migrations_apply_to_an_empty_database(database: Database) -> None:
    with database.transaction() as connection:
        assert connection.execute("SELECT 1 FROM _yoyo_migration").fetchone() is not None


def _idle_too_long(connection: psycopg.Connection[TupleRow]) -> None:
    """As a process that is frozen does, until the server has ended its session."""
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
    assert select([connection], [], [], 10)[0]


def _terminate(url: str, backend: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
