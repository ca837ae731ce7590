"""What is detached is exported, read back and dropped: each a step that the next call takes where this one is killed.

Guarantees that nothing is dropped which a file does not hold: each environment's share is written to a file of its own,
read back as a whole, and compared by count and hash with what was given to be written.
"""

from __future__ import annotations

import msgspec

from dataforge.model.errors import ArchiveUnavailable
from dataforge.storage import body_file, body_part, ending, parquet_file
from dataforge.storage.archive import Archive
from dataforge.storage.body_part import Content
from dataforge.storage.database import Connection, Database
from dataforge.storage.ending import Ending
from dataforge.storage.parquet_file import Form, Written
from dataforge.storage.part import Part


class Exported(msgspec.Struct, frozen=True):
    """A file that was written and found right."""

    file: str  # below the archive's folder
    rows: int
    size: int  # bytes


class Away(msgspec.Struct, frozen=True):
    """A part that is detached, or was dropped."""

    name: str  # since it was detached
    part: Part  # as it was before
    events: int


class Gone(msgspec.Struct, frozen=True):
    """What has been dropped, and the files that hold it now."""

    parts: list[Away]
    files: list[Exported]


def on_the_way(connection: Connection) -> list[Away]:
    """The parts that are detached and not dropped."""
    return [_away(each, body_part.content(connection, each.part)) for each in ending.endings(connection)]


def end(database: Database, archive: Archive | None) -> Gone:
    """Exports and drops all that is detached. The caller is alone."""
    with database.transaction() as connection:
        left = ending.endings(connection)
    parts: list[Away] = []
    files: list[Exported] = []
    for each in left:
        with database.transaction() as connection:
            shares = body_part.content(connection, each.part)
        if archive is not None:
            files += [found for share in shares if (found := _export(database, archive, each, share)) is not None]
        with database.transaction() as connection:
            ending.drop(connection, each)
        parts.append(_away(each, shares))
    return Gone(parts, files)


def _export(database: Database, archive: Archive, each: Ending, share: Content) -> Exported | None:
    """Writes an environment's share to its file; None where that was done before."""
    file = f"{share.name}/bodies/{each.was}-{share.first}-{share.last}.parquet"
    with database.transaction() as connection:
        if ending.is_archived(connection, share.environment, file):
            return None
    written = parquet_file.write(archive, file, body_file.FORM, ending.pages(database, each, share))
    if written.rows != share.events:
        raise ArchiveUnavailable(f"{written.rows:,} of {share.events:,} events came from {each.part}: try again")
    found = read_back(archive, file, body_file.FORM, written)
    with database.transaction() as connection:
        ending.keep(connection, share.environment, file, found)
    return Exported(file, written.rows, found[1])


def read_back(archive: Archive, file: str, form: Form, written: Written) -> tuple[Written, int]:
    """What a file holds, and its size. Raises ArchiveUnavailable where that is not what was given to be written."""
    found, size = parquet_file.read_back(archive, file, form)
    if found != written:
        other = f"{found.rows:,} of {written.rows:,} rows" if found.rows != written.rows else "others than were written"
        raise ArchiveUnavailable(f"{archive.place}/{file} holds {other}: see to the archive, and try again")
    return found, size


def _away(each: Ending, shares: list[Content]) -> Away:
    return Away(each.part, Part(each.was, None, None, each.size), sum(share.events for share in shares))
