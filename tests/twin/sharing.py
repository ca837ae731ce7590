"""What the machine draws of datasets that several make: who else writes them, who updates them, when they are complete."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.twin.ledger import Definition

SHARED = "d1"  # by tasks of both sources
_WHEN: list[Any] = [
    "any_producer",
    "any_producer",
    2,
    3,
    {"manifest": ["a", "b"]},
    {"manifest": ["2026-10-24"]},
    {"manifest": ["2026-10-24", "2026-10-25"]},
]


def rarely(odds: int) -> st.SearchStrategy[bool]:
    return st.integers(1, odds).map(lambda drawn: drawn == odds)


def written(draw: st.DrawFn, own: str) -> str:
    """The dataset that a task writes: mostly its own."""
    return SHARED if draw(rarely(3)) else own


def updated(draw: st.DrawFn, written: Definition, read: list[Definition]) -> list[Definition]:
    """What a task that writes what others write reads of it as well, mostly by the mapping by which it writes."""
    known = any(each.get("dataset", {}).get("name") == SHARED for each in read)
    if known or written["name"] != SHARED or not draw(rarely(3)):
        return []
    mapping = {} if draw(rarely(6)) or "mapping" not in written else {"mapping": written["mapping"]}
    return [{"dataset": {"namespace": "lake", "name": SHARED}, **mapping}]


def complete_when(draw: st.DrawFn, dataset: str) -> dict[str, Any]:
    """What a dataset says of when it is complete; mostly nothing."""
    return {"complete_when": draw(st.sampled_from(_WHEN))} if draw(rarely(3 if dataset == SHARED else 12)) else {}
