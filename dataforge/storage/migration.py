"""Schema migrations, run by yoyo from the SQL files beside this module.

Guarantees that each file is applied once, in the order of the names, and that a file and the mark that it
was applied commit together, also when the process dies between two of them or two processes start at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yoyo
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import Migration

# Any constant will do, if nothing else on the server locks the same one: "dfmg" in ASCII.
_LOCK = 0x64666D67


def apply_all(url: str, folder: Path) -> None:
    """Applies every migration of `folder` that the database does not have yet."""
    with _Backend(parse_uri(url), "_yoyo_migration") as backend, backend.lock():
        backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(folder))))


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's PostgreSQL, where a crash leaves neither a lock behind nor a file applied without its mark."""

    @contextmanager
    def lock(self, timeout: float = 0) -> Iterator[None]:
        """Waits for whoever migrates now; unlike yoyo's row in a table, the lock dies with its owner."""
        self.execute(f"SELECT pg_advisory_lock({_LOCK})")
        try:
            yield
        finally:
            self.execute(f"SELECT pg_advisory_unlock({_LOCK})")

    def apply_one(self, migration: Migration, force: bool = False, mark: bool = True) -> None:
        """Sends the file whole, so that nothing has to guess where a statement ends."""
        with self.transaction():
            self.connection.execute(Path(migration.path).read_text(encoding="utf-8"))
            self.mark_one(migration, log=False)
