"""Whether the database has the schema that this release was written for."""

from pathlib import Path

from psycopg import Connection

from dataforge.storage.database import MIGRATIONS

KNOWN = "select to_regclass('_yoyo_migration') is not null"
APPLIED = "select migration_id from _yoyo_migration"


def missing_migrations(connection: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """The migrations of this release that the database has not had yet, in their order."""
    known = connection.execute(KNOWN).fetchone()
    applied = {name for (name,) in connection.execute(APPLIED)} if known and known[0] else set()
    return [name for name in sorted(path.stem for path in folder.glob("*.sql")) if name not in applied]
