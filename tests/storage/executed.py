"""What statements read while the ledger works: each is explained as it is executed, and then executed for good.

A statement that writes is undone between the two, so that what it is explained with is what it finds. It is explained
as if no table were read whole where an index can be used: that it can is the question, and small tables tell nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.sql import Composable

from tests.storage.plan import rows_of, steps, whole

_EXPLAINED = re.compile(r"\s*(with|select|insert|update|delete)\b", re.IGNORECASE)


class Scan(NamedTuple):
    """That a statement read a table: how, by which index under which condition, and how many rows of it."""

    statement: str
    table: str
    kind: str  # as PostgreSQL names the step: Seq Scan, Index Scan, ...
    by: str  # the index
    condition: str
    rows: int  # those that a filter left out included


@contextmanager
def executed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Scan]]:
    """Every scan of every statement that is executed in the block."""
    found: list[Scan] = []
    plain = psycopg.Connection.execute

    def execute(self: Any, query: Any, params: Any = None, **more: Any) -> Any:
        text = query.as_string(self) if isinstance(query, Composable) else query
        text = text.decode() if isinstance(text, bytes) else text
        if _EXPLAINED.match(text) and self.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            plain(self, "savepoint explained")
            plain(self, "set local enable_seqscan = off")
            row = plain(self, f"explain (analyze, format json, timing off) {text}", params, prepare=False).fetchone()
            plain(self, "rollback to savepoint explained")
            assert row is not None
            found.extend(_scans(" ".join(text.split())[:120], row[0][0]["Plan"]))
        return plain(self, query, params, **more)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", execute)
        yield found


def _scans(statement: str, plan: dict[str, Any]) -> Iterator[Scan]:
    for node in steps(plan):
        if "Relation Name" in node and "Scan" in node["Node Type"]:
            for by in [*_bitmaps(node)] or [node]:
                yield Scan(
                    statement,
                    whole(node["Relation Name"]),
                    node["Node Type"],
                    whole(by.get("Index Name", "")),
                    by.get("Index Cond", ""),
                    round(rows_of(node)),
                )


def _bitmaps(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The indexes that a scan takes its pages from, of which there may be several."""
    for each in node.get("Plans", ()):
        if each["Node Type"] == "Bitmap Index Scan":
            yield each
        elif each["Node Type"] in ("BitmapOr", "BitmapAnd"):
            yield from _bitmaps(each)
