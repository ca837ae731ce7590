"""How far those have come who show the ledger's states elsewhere: what they say, and what is said of them."""

from __future__ import annotations

from datetime import datetime

from dataforge.model.decoding import shorten
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.mirror import MOST_MIRRORS, MOST_NAME, MirrorItem, MirrorReport, Mirrors, lag
from dataforge.storage import environment as environments
from dataforge.storage import mirror as storage
from dataforge.storage.database import Database
from dataforge.storage.mirror import StoredMirror


def tell(database: Database, environment: str, name: str, report: MirrorReport, now: datetime) -> MirrorItem:
    """Keeps how far a mirror has come. Raises InvalidInput for a name that is none."""
    if not name or len(name) > MOST_NAME:
        expected = f"1 to {MOST_NAME} characters"
        raise InvalidInput(f"name: expected {expected}", [FieldError("name", shorten(name), expected)])
    with database.transaction() as connection:
        storage.put(connection, environments.find(connection, environment).id, name, report, now)
    return _shown(StoredMirror(environment, name, report.shown_through, report.waiting, now), now)


def mirrors(database: Database, environment: str, now: datetime) -> Mirrors:
    """The mirrors of an environment, by name."""
    with database.transaction() as connection:
        found = storage.listed(connection, environments.find(connection, environment).name, MOST_MIRRORS)
    return Mirrors(tuple(_shown(each, now) for each in found))


def all_mirrors(database: Database, now: datetime) -> list[tuple[str, MirrorItem]]:
    """The mirrors of all environments, each with the name of its own."""
    with database.transaction() as connection:
        found = storage.listed(connection, None, MOST_MIRRORS)
    return [(each.environment, _shown(each, now)) for each in found]


def _shown(stored: StoredMirror, now: datetime) -> MirrorItem:
    return MirrorItem(
        name=stored.name,
        shown_through=stored.shown_through,
        waiting=stored.waiting,
        told_at=stored.told_at,
        lag_seconds=round(lag(stored.shown_through, now), 3),
    )
