"""Months of runs are written to files of the archive when they have been over for as long as their environment says.

Guarantees that a file has its name only after it was read back and found to hold what was given to be written, so
whoever reads the folder never sees half a month; and that a call after one that was killed writes what is lacking.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from dataforge.ledger.export import Exported, read_back
from dataforge.storage import ending, parquet_file, run_file, run_month
from dataforge.storage import environment as environments
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database
from dataforge.storage.environment import Environment


class Due(msgspec.Struct, frozen=True):
    """A month of runs that is to be exported."""

    environment: Environment
    month: tuple[datetime, datetime]

    @property
    def stem(self) -> str:
        """What the name of its file begins with; what it holds is behind that."""
        return f"{self.environment.name}/runs/{self.month[0]:%Y-%m}"


def due(database: Database, now: datetime) -> list[Due]:
    """The months of every environment that are to be exported and were not."""
    found: list[Due] = []
    with database.transaction() as connection:
        for here in [environments.find(connection, name) for name in environments.names(connection)]:
            before = now - timedelta(days=run_month.days(connection, here.id))
            months = [Due(here, month) for month in run_month.months(connection, here.id, before)]
            found += [each for each in months if not run_month.is_archived(connection, here.id, each.stem)]
    return found


def export_old(database: Database, now: datetime, archive: Archive) -> list[Exported]:
    """Exports those months, and returns their files."""
    with ending.alone(database):
        return [_export(database, archive, each) for each in due(database, now)]


def _export(database: Database, archive: Archive, each: Due) -> Exported:
    writing = f"{each.stem}.writing"
    pages = run_month.pages(database, each.environment.id, each.month)
    written = parquet_file.write(archive, writing, run_file.FORM, pages)
    found = read_back(archive, writing, run_file.FORM, written)
    file = f"{each.stem}-{written.digest.hex()[:16]}.parquet"
    archive.rename(writing, file)
    with database.transaction() as connection:
        ending.keep(connection, each.environment.id, file, found)
    return Exported(file, written.rows, found[1])


def set_days(database: Database, name: str, days: int) -> None:
    """Sets how long after its end a month of runs of the environment `name` is exported."""
    with database.transaction() as connection:
        run_month.set_days(connection, environments.find(connection, name).id, days)
