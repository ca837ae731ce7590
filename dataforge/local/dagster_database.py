"""The database of Dagster's own storage, beside the ledger's on the same server.

Guarantees that nothing of Dagster's lands in the ledger's database, and that a role that may not create databases is
told what an administrator has to run.
"""

from __future__ import annotations

import getpass
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from dataforge.model.errors import DatabaseUnavailable, SettingsError, StartupError

SUFFIX = "_dagster"
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


def create(ledger: str) -> None:
    """Makes the database where it is missing; `ledger` is where to connect for it."""
    wanted = name(ledger)
    try:
        connection = psycopg.connect(ledger, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        reason = str(error).partition("\n")[0]
        raise DatabaseUnavailable(f"cannot connect to create the database {wanted}: {reason}") from error
    with connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [wanted]).fetchone():
            _create(connection, wanted)


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
