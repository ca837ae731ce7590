"""What a query reads, by its plan as it was executed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from dataforge.storage.database import Database

Node = dict[str, Any]  # a step of a plan, as PostgreSQL tells it in JSON
_EXPLAIN = "explain (analyze, format json, timing off) "


@contextmanager
def filled_by(database: Database, fill: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the database, once these statements have filled it."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(fill.encode())
        yield connection


def steps(plan: Node) -> Iterator[Node]:
    """The step and all below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from steps(child)


_PART = re.compile(r"(partition_state)_(rest|before|[0-9]{6})")
_HALF = re.compile(r"\b(run|attempt|touch|outcome|shard_chunk)_[0-9]{4}h[12]")


def whole(text: str) -> str:
    """What names a table or an index, with the whole in the place of its parts by half-years."""
    return _HALF.sub(r"\1", text)


def table_of(step: Node) -> str | None:
    """The table that a step reads; of one that is cut the whole."""
    name: str | None = step.get("Relation Name")
    return _PART.sub(r"\1", whole(name)) if name is not None else None


def rows_of(step: Node) -> float:
    """How many rows a step reads in all its rounds, filtered ones included; PostgreSQL tells the mean of a round."""
    return float(step["Actual Loops"] * (step["Actual Rows"] + step.get("Rows Removed by Filter", 0)))


def reads_all(step: Node) -> bool:
    """Whether a step reads a table from begin to end; a part of one that lies on a page is read so."""
    small = table_of(step) != step.get("Relation Name") and rows_of(step) <= 100 * max(1, step["Actual Loops"])
    return step["Node Type"] == "Seq Scan" and not small


def rows_read(connection: psycopg.Connection[Any], query: str, given: dict[str, Any]) -> dict[str, int]:
    """How many rows a query reads of each table, filtered ones included."""
    row = connection.execute((_EXPLAIN + query).encode(), given, prepare=False).fetchone()
    assert row is not None
    read: dict[str, int] = {}
    for step in steps(row[0][0]["Plan"]):
        if (name := table_of(step)) is not None:
            read[name] = read.get(name, 0) + round(rows_of(step))
    return read
