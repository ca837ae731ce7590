"""The one door to PostgreSQL: a pool of connections whose sessions are all set up alike.

Guarantees that everything done inside one `transaction()` is committed together or not at all, and that a
server that is down, lost or too old is a `DatabaseUnavailable` that says which server and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import Cursor
from psycopg.abc import Params, PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait
from psycopg_pool import ConnectionPool, PoolTimeout

from dataforge.model.errors import DatabaseUnavailable, SettingsError
from dataforge.storage.parameter import adapt

Connection: TypeAlias = psycopg.Connection[TupleRow]  # what the layers above name, so that psycopg stays below
OLDEST_SERVER = 15
MIGRATIONS = Path(__file__).parent / "migrations"
_REMEDY = "start it with `make up`, or correct DATAFORGE_DATABASE_URL"
_CONNECT_SECONDS = 5
# A pool backs off between its attempts to reconnect, up to this long: a server that returns is used again
# within seconds, not minutes.
_RECONNECT_SECONDS = 5.0
adapt()


class Database:
    """A pool of connections to one server, opened at the first transaction."""

    def __init__(
        self,
        url: str,
        min_size: int = 1,
        max_size: int = 8,
        *,
        statement_timeout_ms: int = 30_000,
        wait_seconds: float = 5.0,
    ) -> None:
        """`wait_seconds` is how long a transaction waits for a free connection."""
        self.url = url
        self._session = _session(url, statement_timeout_ms)
        self._lock = Lock()
        self._opened = False
        self._pool: ConnectionPool[psycopg.Connection[TupleRow]] = ConnectionPool(
            url,
            kwargs=self._session,
            min_size=min_size,
            max_size=max_size,
            timeout=wait_seconds,
            reconnect_timeout=_RECONNECT_SECONDS,
            open=False,
        )

    def transaction(self) -> AbstractContextManager[psycopg.Connection[TupleRow]]:
        """A connection inside one transaction, committed when the block ends and undone when it raises."""
        return self._transaction(None)

    def snapshot(self) -> AbstractContextManager[psycopg.Connection[TupleRow]]:
        """The same for reading alone, where every query sees the moment of the first."""
        return self._transaction(psycopg.IsolationLevel.REPEATABLE_READ)

    @contextmanager
    def _transaction(self, isolation: psycopg.IsolationLevel | None) -> Iterator[psycopg.Connection[TupleRow]]:
        self._open()
        connection = self._take()
        try:
            if connection.isolation_level is not isolation:
                connection.isolation_level, connection.read_only = isolation, isolation is not None or None
            with connection.transaction():
                yield connection
        except psycopg.errors.QueryCanceled as error:
            raise DatabaseUnavailable(
                "a statement took longer than it may; others were in its way: try again"
            ) from error
        except psycopg.Error as error:  # to have idled too long in a transaction is not an operational one
            if not connection.broken:
                raise
            raise DatabaseUnavailable(f"{_lost(self.url)} ({_first_line(error)}); {_REMEDY}") from error
        finally:
            broken = connection.broken
            self._pool.putconn(connection)
            if broken:
                # What broke one connection, a restart for one, broke the idle ones too.
                self._pool.check()

    def close(self) -> None:
        """Gives every connection back to the server; no transaction may follow."""
        self._pool.close()

    def _open(self) -> None:
        with self._lock:
            if not self._opened:
                # The pool retries in the background; one plain connection tells at once what is wrong.
                connect(self.url, **self._session).close()
                self._pool.open()
                self._opened = True

    def _take(self) -> psycopg.Connection[TupleRow]:
        try:
            return self._pool.getconn()
        except PoolTimeout as error:
            connect(self.url, **self._session).close()
            message = f"all {self._pool.max_size} connections to {_server(self.url)} stayed busy"
            raise DatabaseUnavailable(f"{message} for {self._pool.timeout:g} s; try again") from error


def connect(url: str, **session: Any) -> psycopg.Connection[TupleRow]:
    """One connection outside any pool, to a server that is known to be new enough."""
    _parameters(url)  # refuses a malformed URL by its setting's name
    session.setdefault("connect_timeout", _CONNECT_SECONDS)
    try:
        connection = psycopg.connect(url, **session)
    except psycopg.OperationalError as error:
        message = f"cannot reach the database at {_server(url)} ({_first_line(error)}); {_REMEDY}"
        raise DatabaseUnavailable(message) from error
    if connection.info.server_version < OLDEST_SERVER * 10_000:
        version = connection.info.server_version // 10_000
        connection.close()
        raise DatabaseUnavailable(
            f"the database at {_server(url)} is PostgreSQL {version}; {OLDEST_SERVER} or newer is needed"
        )
    return connection


def ask(connection: Connection, query: LiteralString, parameters: Params) -> Cursor[TupleRow]:
    """Executes a statement; within a pipeline, lets the server begin while the next one is put together: the driver
    alone would keep the most of a large one until an answer is waited for. Waits for those before it."""
    cursor = connection.execute(query, parameters)
    connection.wait(_sent(connection.pgconn))
    return cursor


def _sent(server: PGconn) -> PQGen[None]:
    while server.flush():
        ready = yield Wait.RW
        if ready & Ready.R:
            server.consume_input()  # else both sides might wait for the other to read


def migrate(url: str, folder: Path = MIGRATIONS) -> None:
    """Brings the database to the newest schema; processes that do so at once wait for each other."""
    # Imported late: the migration library costs more than a whole command line otherwise does.
    from dataforge.storage import body_part, event_part, partition_part, run_part
    from dataforge.storage.change import adopt
    from dataforge.storage.migration import apply_all

    connect(url).close()
    try:
        apply_all(url, folder)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseUnavailable(
            f"the role may not create tables at {_server(url)} ({_first_line(error)});"
            f" make it the owner of the database"
        ) from error
    if folder == MIGRATIONS:
        with connect(url) as connection:
            adopt(connection)
            body_part.premake(connection)
            event_part.premake(connection)
            partition_part.premake(connection)
            run_part.premake(connection)


def _session(url: str, statement_timeout_ms: int) -> dict[str, Any]:
    own = f"-c timezone=UTC -c statement_timeout={statement_timeout_ms}"
    given = _parameters(url).get("options")
    return {
        "application_name": "dataforge",
        "connect_timeout": _CONNECT_SECONDS,
        "options": f"{given} {own}" if given else own,
    }


def _parameters(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError as error:
        expected = "a URL such as postgresql://user:password@host:5432/dataforge"
        raise SettingsError("DATAFORGE_DATABASE_URL", _first_line(error), expected) from error


def _server(url: str) -> str:
    """Which server a URL means, without its password."""
    parameters = _parameters(url)
    place = f"{parameters.get('host', 'localhost')}:{parameters.get('port', 5432)}"
    return f"{place}, database {parameters.get('dbname', 'of the same name as the user')}"


def _lost(url: str) -> str:
    return f"the connection to the database at {_server(url)} was lost"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
