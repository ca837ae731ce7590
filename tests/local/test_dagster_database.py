"""Where Dagster keeps its storage, derived from where the ledger is."""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from dataforge.local import dagster_database
from dataforge.model.errors import DatabaseUnavailable, SettingsError, StartupError


@pytest.mark.parametrize(
    ("ledger", "connects_with"),
    [
        (
            "postgresql://me:p%40ss%2Fw%25rd@db.example:6432/ledger?sslmode=require&application_name=a%20b",
            {
                "user": "me",
                "password": "p@ss/w%rd",
                "host": "db.example",
                "port": "6432",
                "dbname": "ledger_dagster",
                "sslmode": "require",
                "application_name": "a b",
            },
        ),
        (
            "postgresql://dataforge@/dataforge?host=%2Fhome%2Fa%20b%2Frun&port=5432",
            {"user": "dataforge", "host": "/home/a b/run", "port": "5432", "dbname": "dataforge_dagster"},
        ),
        ("postgres://[::1]:5433/ledger", {"host": "::1", "port": "5433", "dbname": "ledger_dagster"}),
        (
            "postgresql://me@one:1,two:2/ledger",
            {"user": "me", "host": "one,two", "port": "1,2", "dbname": "ledger_dagster"},
        ),
    ],
)
def test_dagster_connects_as_the_ledger_does_to_a_database_beside_it(
    ledger: str, connects_with: dict[str, str]
) -> None:
    url = make_url(dagster_database.storage_url(ledger))
    assert url.drivername == "postgresql+psycopg2"
    _, arguments = url.get_dialect()().create_connect_args(url)
    assert {name: str(value) for name, value in arguments.items()} == connects_with


def test_a_name_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(SettingsError, match="_dagster"):
        dagster_database.storage_url("postgresql://db/" + "x" * 60)


def test_the_database_is_created_once_beside_the_ledgers(database_url: str) -> None:
    try:
        assert not dagster_database.is_whole(database_url)
        dagster_database.create(database_url)
        dagster_database.create(database_url)
        assert not dagster_database.is_whole(database_url)
        beside = urlsplit(database_url)._replace(path=f"/{dagster_database.name(database_url)}").geturl()
        psycopg.connect(beside).close()
    finally:
        _drop(database_url, dagster_database.name(database_url))


@pytest.mark.skipif("DATAFORGE_TEST_DATABASE_URL" in os.environ, reason="makes a role, as the embedded superuser")
def test_a_role_that_may_not_create_it_is_told_what_an_administrator_runs(database_url: str) -> None:
    role = f"dataforge_test_{uuid4().hex[:8]}"
    with psycopg.connect(_as_role("postgres", database_url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        try:
            with pytest.raises(StartupError) as refused:
                dagster_database.create(_as_role(role, database_url))
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    wanted = dagster_database.name(database_url)
    assert f'CREATE DATABASE "{wanted}" OWNER "{role}"' in str(refused.value)


def test_a_server_that_is_down_is_named_as_such() -> None:
    with pytest.raises(DatabaseUnavailable, match="ledger_dagster"):
        dagster_database.create("postgresql://127.0.0.1:1/ledger")


def _as_role(role: str, url: str) -> str:
    return urlsplit(url)._replace(netloc=f"{role}@").geturl()


def _drop(beside: str, name: str) -> None:
    with psycopg.connect(beside, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
