"""What the verbs work on: the installation's database, the shelf of checkpoints, and the archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataforge.cli.invocation import Invocation

if TYPE_CHECKING:
    from dataforge.ledger.checkpoint import Shelf
    from dataforge.settings import Settings
    from dataforge.storage.archive import Archive
    from dataforge.storage.database import Database


@contextmanager
def opened(invocation: Invocation, *, patient: bool = True) -> Iterator[Database]:
    """The installation's database, whose statements may take as long as they need, or, where the verb is not `patient`,
    as long as a service's."""
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    unlimited = {"statement_timeout_ms": 0} if patient else {}
    database = Database(database_url(invocation.settings), max_size=1, **unlimited)
    try:
        yield database
    finally:
        database.close()


def shelf_of(settings: Settings, environment: str | None = None) -> Shelf:
    """Where the installation keeps the checkpoints of an environment; of its own where none is named."""
    from dataforge.ledger.checkpoint import Shelf
    from dataforge.storage.signing_key import trusted_key

    trusted = trusted_key(settings.home / "keys")
    return Shelf(settings.home / "checkpoints", environment or settings.environment, trusted)


def archive_of(settings: Settings) -> Archive | None:
    """Where the installation exports what ends to; None where it is told to export nothing."""
    from dataforge.storage.archive import Archive

    return Archive(settings.archive) if settings.archive is not None else None
