"""Whether the database has the schema that this release was written for."""

from pathlib import Path

from psycopg import Connection

from dataforge.model.errors import DatabaseUnavailable
from dataforge.storage.database import MIGRATIONS, Database

KNOWN = "select to_regclass('_yoyo_migration') is not null"
APPLIED = "select migration_id from _yoyo_migration"


def missing_migrations(connection: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """The migrations of this release that the database has not had yet, in their order."""
    known = connection.execute(KNOWN).fetchone()
    applied = {name for (name,) in connection.execute(APPLIED)} if known and known[0] else set()
    return [name for name in sorted(path.stem for path in folder.glob("*.sql")) if name not in applied]


def require_newest(database: Database) -> None:
    """Raises DatabaseUnavailable where the database cannot be reached, or has not the schema of this release."""
    with database.transaction() as connection:
        missing = missing_migrations(connection)
    if missing:
        raise DatabaseUnavailable(f"the schema of the database lacks {', '.join(missing)}: migrate it with `make up`")
