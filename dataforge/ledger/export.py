"""What is detached is exported, read back and dropped: each a step that the next call takes where this one is killed.

Guarantees that nothing is dropped which a file does not hold: each environment's share is written to a file of its own,
read back as a whole, and compared by count and hash with what was given to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from dataforge.model.errors import ArchiveUnavailable
from dataforge.storage import ending, parquet_file
from dataforge.storage.archive import Archive
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
    events: int  # or what else its rows are


class Gone(msgspec.Struct, frozen=True):
    """What has been dropped, and the files that hold it now."""

    parts: list[Away]
    files: list[Exported]


class Share(NamedTuple):
    """What a part holds of one environment, and the file that it goes to."""

    environment: int
    file: str
    rows: int
    form: Form
    pages: Callable[[], Iterator[Sequence[Any]]]
    listed: bool = False  # whether others read the folder: then the file has its name only when it was read back


_Content = TypeVar("_Content")


class Held(NamedTuple, Generic[_Content]):
    """A table whose parts end."""

    table: str
    content: Callable[[Connection, str], Sequence[_Content]]  # what a part of this name holds, one for each file
    share: Callable[[Database, Ending, _Content], Share]


def on_the_way(database: Database, held: Held[_Content]) -> list[Away]:
    """The parts of a table that are detached and not dropped."""
    with database.transaction() as connection:
        left = ending.endings(connection, held.table)
    return [_away(each, _shares(database, each, held)) for each in left]


def end(database: Database, archive: Archive | None, held: Held[_Content]) -> Gone:
    """Exports and drops all that is detached of a table. The caller is alone."""
    with database.transaction() as connection:
        left = ending.endings(connection, held.table)
    parts: list[Away] = []
    files: list[Exported] = []
    for each in left:
        shares = _shares(database, each, held)
        if archive is not None:
            files += [found for share in shares if (found := _export(database, archive, each, share)) is not None]
        with database.transaction() as connection:
            ending.drop(connection, each)
        parts.append(_away(each, shares))
    return Gone(parts, files)


def _shares(database: Database, each: Ending, held: Held[_Content]) -> list[Share]:
    with database.transaction() as connection:
        content = held.content(connection, each.part)
    return [held.share(database, each, of) for of in content]


def _export(database: Database, archive: Archive, each: Ending, share: Share) -> Exported | None:
    """Writes an environment's share to its file; None where that was done before."""
    with database.transaction() as connection:
        if ending.is_archived(connection, share.environment, share.file):
            return None
    writing = f"{share.file}.writing" if share.listed else share.file
    written = parquet_file.write(archive, writing, share.form, share.pages())
    if written.rows != share.rows:
        raise ArchiveUnavailable(f"{written.rows:,} of {share.rows:,} rows came from {each.part}: try again")
    found = _read_back(archive, writing, share.form, written)
    if share.listed:
        archive.rename(writing, share.file)
    with database.transaction() as connection:
        ending.keep(connection, share.environment, share.file, found)
    return Exported(share.file, written.rows, found[1])


def _read_back(archive: Archive, file: str, form: Form, written: Written) -> tuple[Written, int]:
    """What a file holds, and its size. Raises ArchiveUnavailable where that is not what was given to be written."""
    found, size = parquet_file.read_back(archive, file, form)
    if found != written:
        other = f"{found.rows:,} of {written.rows:,} rows" if found.rows != written.rows else "others than were written"
        raise ArchiveUnavailable(f"{archive.place}/{file} holds {other}: see to the archive, and try again")
    return found, size


def _away(each: Ending, shares: list[Share]) -> Away:
    return Away(each.part, Part(each.was, None, None, each.size), sum(share.rows for share in shares))
