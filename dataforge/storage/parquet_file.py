"""Rows as a Parquet file, written once and known by what it holds.

Guarantees that the digest of a file is over every value of every row, in their order, and the same however the rows
were cut into groups. So a file that was read back has the digest of the rows that it was written from, or is another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet

from dataforge.storage.archive import Archive

_LEVEL = 9  # files are written once; a higher one takes twice the time for a hundredth


class Form(msgspec.Struct, frozen=True):
    """How rows lie in a file."""

    row: type[msgspec.Struct]  # its fields are the columns
    schema: pa.Schema
    dictionaries: Sequence[str]  # the columns of few values
    encodings: dict[str, str]  # of other columns


class Written(msgspec.Struct, frozen=True):
    """What a file holds."""

    rows: int
    digest: bytes


class _Digest:
    """What goes by, row by row."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0

    def add(self, rows: Iterable[msgspec.Struct]) -> None:
        for row in rows:
            self._hash.update(msgspec.msgpack.encode(row))
            self._rows += 1

    def written(self) -> Written:
        return Written(self._rows, self._hash.digest())


def write(archive: Archive, file: str, form: Form, pages: Iterable[Sequence[Any]]) -> Written:
    """Writes a file, a group of rows for each page; returns what it was given."""
    digest = _Digest()
    with (
        archive.writing(file) as stream,
        parquet.ParquetWriter(
            stream,
            form.schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=list(form.dictionaries),
            column_encoding=form.encodings,
            write_statistics=list(form.encodings),  # of what is looked for by ranges; a short file is half footer else
            store_schema=False,
        ) as writer,
    ):
        for page in pages:
            digest.add(page)
            columns = [[getattr(row, name) for row in page] for name in form.schema.names]
            writer.write_table(pa.table(columns, schema=form.schema))
    return digest.written()


def read_back(archive: Archive, file: str, form: Form) -> tuple[Written, int]:
    """What a file holds, by all of its rows, and its size in bytes."""
    digest = _Digest()
    with archive.reading(file) as stream:
        size = int(stream.size())
        for batch in parquet.ParquetFile(stream, pre_buffer=True).iter_batches(batch_size=1_000):
            digest.add(form.row(**row) for row in batch.to_pylist())
    return digest.written(), size
