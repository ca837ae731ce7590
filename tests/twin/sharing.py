"""What the machine draws of datasets that several make: who else writes or updates them, when they are complete."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.twin.question import Definition
from tests.twin.windows import Cut

SHARED = "d1"  # by tasks of both sources
READER = "t3"
_WHEN: list[Any] = [
    "any_producer",
    "any_producer",
    2,
    3,
    {"manifest": ["a", "b"]},
    {"manifest": ["2026-10-24"]},
    {"manifest": ["2026-10-24", "2026-10-25"]},
]


def rarely(odds: int = 6) -> st.SearchStrategy[bool]:
    return st.integers(1, odds).map(lambda drawn: drawn == odds)


def written(draw: st.DrawFn, own: str, *, several: bool) -> str:
    """The dataset that a task writes: mostly its own, or where several write one, mostly that."""
    return own if draw(rarely(3)) is several else SHARED


def writers(tasks: dict[str, Definition]) -> list[str]:
    """Those who are declared to write what others write, where there are others."""
    found = [name for name, task in tasks.items() if any(each["name"] == SHARED for each in task["produces"])]
    return found if len(found) > 1 else []


def updated(draw: st.DrawFn, written: Definition, read: list[Definition]) -> list[Definition]:
    """What a task that writes what others write reads of it as well, mostly by the mapping by which it writes."""
    known = any(each.get("dataset", {}).get("name") == SHARED for each in read)
    if known or written["name"] != SHARED or not draw(rarely(3)):
        return []
    mapping = {} if draw(rarely(6)) or "mapping" not in written else {"mapping": written["mapping"]}
    return [{"dataset": {"namespace": "lake", "name": SHARED}, **mapping}]


def together(draw: st.DrawFn, task: Definition) -> Definition:
    """The task as one of those who make it day by day, or as the last, which reads it."""
    of = {"namespace": "lake", "name": SHARED}
    read = [each for each in task["consumes"] if each.get("dataset", {}).get("name") != SHARED]
    if task["name"] != READER:
        return {**task, "produces": [of], "consumes": read if draw(rarely(3)) else []}
    asked = {"mapping": {"kind": "window", "from": -1, "to": 0}} if draw(rarely(3)) else {}
    return {**task, "produces": [], "consumes": [*read, {"dataset": of, **asked}]}


def by_day(draw: st.DrawFn, dataset: Definition, daily: Cut) -> Definition:
    """The same dataset; what they make comes by day, and mostly not all of it is asked for."""
    if dataset["name"] != SHARED:
        return dataset
    when = draw(st.sampled_from([*["any_producer"] * 3, *[2] * 3, 3]))
    return {**dataset, "partitioning": daily, "complete_when": when}


def complete_when(draw: st.DrawFn, dataset: str) -> dict[str, Any]:
    """What a dataset says of when it is complete; mostly nothing."""
    return {"complete_when": draw(st.sampled_from(_WHEN))} if draw(rarely(2 if dataset == SHARED else 12)) else {}
