"""What a query reads, by its plan as it was executed."""

from typing import Any

import psycopg

_EXPLAIN = "explain (analyze, format json, timing off) "


def rows_read(connection: psycopg.Connection[Any], query: str, given: dict[str, Any]) -> dict[str, int]:
    """How many rows a query reads of each table, filtered ones included."""
    row = connection.execute((_EXPLAIN + query).encode(), given, prepare=False).fetchone()
    assert row is not None
    read: dict[str, int] = {}
    nodes = [row[0][0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Relation Name" in node:
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            name = node["Relation Name"]
            read[name] = read.get(name, 0) + round(rows * node["Actual Loops"])
    return read
