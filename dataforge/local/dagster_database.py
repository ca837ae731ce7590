"""The database of Dagster's own storage, beside the ledger's on the same server.

Guarantees that nothing of Dagster's lands in the ledger's database, that a role that may not create databases is told
what an administrator has to run, and that a database which was lost is known as such while Dagster runs on.
"""

from __future__ import annotations

import getpass
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from dataforge.model.errors import DatabaseUnavailable, SettingsError, StartupError

SUFFIX = "_dagster"
_TABLES = ("runs", "event_logs", "jobs")  # one of each of Dagster's three storages, by which it knows its own tables
_EXISTS = "SELECT 1 FROM pg_database WHERE datname = %s"
_LONGEST_NAME = 63  # bytes; PostgreSQL cuts a longer name silently, and what was cut off is the suffix


def storage_url(ledger: str) -> str:
    """Where Dagster connects, as SQLAlchemy reads it: the ledger's server, role and options, another database.

    All but role, password and database go into the query, where libpq's own names hold, sockets' folders included.
    """
    options = {name: str(value) for name, value in conninfo_to_dict(ledger).items() if value is not None}
    user, password = options.pop("user", ""), options.pop("password", "")
    options.pop("dbname", None)
    account = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    query = urlencode(options, quote_via=quote)
    return f"postgresql+psycopg2://{account}{'@' if account else ''}/{quote(name(ledger), safe='')}?{query}"


def name(ledger: str) -> str:
    """The database's name."""
    options = conninfo_to_dict(ledger)
    beside = str(options.get("dbname") or options.get("user") or getpass.getuser())
    found = beside + SUFFIX
    if len(found.encode()) > _LONGEST_NAME:
        expected = f"a database whose name leaves room for the {len(SUFFIX)} characters of {SUFFIX}"
        raise SettingsError("the database in DATAFORGE_DATABASE_URL", beside, expected)
    return found


def is_whole(ledger: str) -> bool:
    """Whether the database is there, with the tables that `dagster.storage_prepared` makes; `ledger` is where to
    connect for it."""
    wanted = name(ledger)
    with _connected(ledger, f"look for the database {wanted}") as connection:
        if not connection.execute(_EXISTS, [wanted]).fetchone():
            return False
    with _connected(make_conninfo(ledger, dbname=wanted), f"look into the database {wanted}") as connection:
        found = connection.execute(
            "SELECT bool_and(to_regclass(t) IS NOT NULL) FROM unnest(%s::text[]) t", [[*_TABLES]]
        )
        return found.fetchone() == (True,)


def create(ledger: str) -> None:
    """Makes the database where it is missing; `ledger` is where to connect for it."""
    wanted = name(ledger)
    with _connected(ledger, f"create the database {wanted}") as connection:
        if not connection.execute(_EXISTS, [wanted]).fetchone():
            _create(connection, wanted)


def _connected(url: str, purpose: str) -> psycopg.Connection[TupleRow]:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        reason = str(error).partition("\n")[0]
        raise DatabaseUnavailable(f"cannot connect to {purpose}: {reason}") from error


def _create(connection: psycopg.Connection[TupleRow], wanted: str) -> None:
    try:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(wanted)))
    except psycopg.errors.DuplicateDatabase:
        return  # another `up` was quicker
    except psycopg.errors.InsufficientPrivilege as error:
        role = connection.info.user
        command = f'CREATE DATABASE "{wanted}" OWNER "{role}"'
        raise StartupError(
            f"Dagster's storage needs the database {wanted}, and the role {role} may not create it:"
            f" have an administrator run `{command}`, or set DATAFORGE_DAGSTER=0"
        ) from error
