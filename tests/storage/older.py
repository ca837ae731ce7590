"""A database of an older schema, to see what migrations make of what lies in it."""

from __future__ import annotations

from pathlib import Path

from dataforge.storage.database import MIGRATIONS, migrate


def migrate_before(url: str, folder: Path, migration: str) -> None:
    """Brings a database to the schema before a migration, such as 0034, by way of a folder that is not there yet."""
    folder.mkdir()
    for file in MIGRATIONS.glob("*.sql"):
        if file.stem < migration:
            (folder / file.name).write_bytes(file.read_bytes())
    migrate(url, folder)
