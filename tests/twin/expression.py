"""The twin of conditions on what was reported, by docs/conditions.md: what an expression says of a number of rows."""

from __future__ import annotations

from tests.twin.ledger import Definition


def holds(where: Definition, rows: int | None) -> bool:
    """A comparison of rows, or all, any, or not of some; what was never reported satisfies nothing."""
    return _truth(where, rows) is True


def _truth(where: Definition, rows: int | None) -> bool | None:
    if "not" in where:
        inner = _truth(where["not"], rows)
        return None if inner is None else not inner
    if "field" not in where:
        decisive = "any" in where
        parts = [_truth(each, rows) for each in where["any" if decisive else "all"]]
        return decisive if decisive in parts else None if None in parts else not decisive
    if rows is None:
        return None
    wanted = int(where["value"])
    return {">": rows > wanted, "<": rows < wanted, "=": rows == wanted}[where["op"]]
