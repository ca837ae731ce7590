"""Millions of rows of numbers as columns, without an object for each value, or for each row.

Each column comes as one array in PostgreSQL's binary form; a driver that reads rows takes two microseconds for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import Connection, sql

if TYPE_CHECKING:
    from numpy.typing import NDArray

Columns: TypeAlias = "dict[str, NDArray[Any]]"
NUMBER, FLAGS = ">i8", ">i2"  # bigint and smallint, as PostgreSQL writes them
_HEADER = 20  # bytes before the first element: dimensions, whether there are nulls, the type, the size, the first index


def columns(connection: Connection, query: sql.Composed, fields: Sequence[tuple[str, str]]) -> Columns:
    """What the query gives, by the names of `fields`: (name, NUMBER or FLAGS) in the query's order; without nulls."""
    arrays = sql.SQL(", ").join(sql.SQL("array_send(array_agg({}))").format(sql.Identifier(name)) for name, _ in fields)
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in fields)
    statement = sql.SQL("select {} from ({}) as read ({})").format(arrays, query, names)
    row = connection.execute(statement, binary=True).fetchone()
    assert row is not None, "an aggregate gives one row"
    return {name: _column(content, kind) for (name, kind), content in zip(fields, row, strict=True)}


def _column(content: bytes | None, kind: str) -> NDArray[Any]:
    """The elements, before each of which stands its length."""
    import numpy as np  # late: who never asks for the graph need not wait for it

    element = np.dtype([("length", ">i4"), ("value", kind)])
    values = np.frombuffer(content, dtype=element, offset=_HEADER) if content else np.zeros(0, dtype=element)
    return values["value"].astype(kind.replace(">", "="))
