"""The merged facts of an environment as files: what a checkpoint keeps of every event up to its cut.

Guarantees that the same facts give the same file, byte for byte, and that a file is written and read as a stream. A
column is a fact unless it is named here as derived, so that one that a later migration adds is kept too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import LiteralString

import msgspec
import zstandard
from psycopg import Connection, sql

from dataforge.model.errors import Conflict

_LEVEL = 6
_CHUNK = 2**20  # bytes


class FactTable(msgspec.Struct, frozen=True):
    """A table that holds facts, and which of its columns and rows are something else."""

    name: LiteralString
    derived: tuple[LiteralString, ...] = ()
    only: LiteralString = ""  # a condition: the rows that events gave
    stand_ins: dict[LiteralString, LiteralString] = {}  # what is written in the place of a column that may not be null


_DEFINED = ("declared_by", "definition", "version", "owner", "domain", "partitioning", "partitioning_origin")
# What runs claimed and found that have ended: no attempt is left that it would follow from.
_OF_ENDED = """and attempt_id <> '~watermark' and not exists (select from run r
    where r.environment = x.environment and r.task_id = x.task_id and r.run = x.run)"""
# In the order of their foreign keys.
FACTS: tuple[FactTable, ...] = (
    FactTable("manifest"),
    FactTable("declaration"),
    FactTable("task", derived=("platform", *_DEFINED)),
    FactTable("dataset", derived=_DEFINED, stand_ins={"canonical_id": "id"}),
    FactTable("alias", only="and origin = 'observed'"),
    FactTable("edge", only="and origin = 'observed'"),
    FactTable("upstream_list"),
    FactTable("control"),
    FactTable("quarantine_order"),
    FactTable("mark"),
    FactTable("watermark"),
    FactTable("late"),
    FactTable("stream", derived=("made_for",)),
    FactTable("attempt", derived=("state", "evidence", "ordinal", "span_start", "span_end", "partitions")),
    FactTable("touch"),
    FactTable("column_list"),
    FactTable("outcome"),
    FactTable("shard_chunk"),
    *(FactTable(name, only=_OF_ENDED) for name in ("write", "quality", "failed_check")),
    FactTable("progress"),
)


class Part(msgspec.Struct, frozen=True):
    """One file of a checkpoint."""

    file: str
    rows: int
    sha256: str  # of the file as it is stored
    columns: tuple[str, ...] = ()


def write_lines(path: Path, lines: Iterable[bytes], columns: tuple[str, ...] = ()) -> Part:
    """Writes lines as one zstandard file."""
    rows = 0
    with path.open("wb") as file, zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as out:
        for line in lines:
            out.write(line)
            rows += 1
    return Part(path.name, rows, hash_of(path), columns)


def hash_of(path: Path) -> str:
    """SHA-256, in hex, of a file."""
    total = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of such a file, each with its end."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
        left = b""
        while chunk := plain.read(_CHUNK):
            *whole, left = (left + chunk).split(b"\n")
            for line in whole:
                yield line + b"\n"


COLUMNS = """
select a.attname, coalesce(a.attnum = any(i.indkey), false)
from pg_attribute a left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'environment'
    and a.attgenerated = ''
order by a.attnum
"""
EXPORT = "copy (select {columns} from {table} x where environment = {environment} {only} order by {key}) to stdout"


def export(connection: Connection, environment: int, table: FactTable, folder: Path) -> Part:
    """Writes the facts of one table, in the order of its key."""
    found = connection.execute(COLUMNS, [table.name]).fetchall()
    columns = tuple(name for name, _ in found if name not in table.derived)
    shown = (sql.Identifier(table.stand_ins.get(name, name)) for name in columns)
    statement = sql.SQL(EXPORT).format(
        columns=sql.SQL(", ").join(shown),
        table=sql.Identifier(table.name),
        environment=environment,
        only=sql.SQL(table.only),
        key=sql.SQL(", ").join(sql.Identifier(name) for name, is_key in found if is_key),
    )
    return write_lines(folder / f"{table.name}.zst", _copied(connection, statement), columns)


def _copied(connection: Connection, statement: sql.Composed) -> Iterator[bytes]:
    with connection.cursor().copy(statement) as rows:
        for row in rows:  # the server sends each row by itself, its line ends escaped
            yield bytes(row)


Keep = Callable[[dict[str, bytes]], bool]  # whether a row, by its columns as COPY writes them, is wanted
IMPORT = "copy {table} (environment, {columns}) from stdin"


def load(
    connection: Connection, environment: int, table: FactTable, part: Part, folder: Path, keep: Keep | None = None
) -> None:
    """Loads the facts of one table into an environment that has none of them. Raises Conflict where the table has not
    the columns that the file has."""
    found = {name for name, _ in connection.execute(COLUMNS, [table.name])}
    if unknown := [name for name in part.columns if name not in found]:
        raise Conflict(f"{folder / part.file} has the columns {', '.join(unknown)}, which {table.name} no longer has")
    statement = sql.SQL(IMPORT).format(
        table=sql.Identifier(table.name), columns=sql.SQL(", ").join(map(sql.Identifier, part.columns))
    )
    prefix = f"{environment}\t".encode()
    with connection.cursor().copy(statement) as rows:
        for line in read_lines(folder / part.file):
            if keep is None or keep(dict(zip(part.columns, line.rstrip(b"\n").split(b"\t"), strict=True))):
                rows.write(prefix + line)
