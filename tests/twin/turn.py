"""The twin of what waits in turn: whether what a partition was seen to need waits for that partition itself; and what
is drawn of tasks that were seen to read what the other one writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from hypothesis import strategies as st

from tests.twin.ledger import View
from tests.twin.plans import DATASETS, MAPPED, TASKS
from tests.twin.question import Definition, Need
from tests.twin.windows import Cut, few_keys, is_key

MOST_STEPS = 12
Partition = tuple[str, str]  # a task and a key of it


@st.composite
def rings(draw: st.DrawFn, cuts: dict[str, Cut]) -> list[Definition]:
    """Runs of two or three tasks, undeclared ones among them, of which each reads what the one before writes."""
    names = [name for name in (*TASKS, "x", "y", "y") if name != MAPPED]
    tasks = draw(st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True))
    written = draw(st.permutations(DATASETS))[: len(tasks)]
    return [
        {
            "task": {"namespace": "ns", "name": task},
            "run": "in turn",
            "state": draw(st.sampled_from(["running", "succeeded"])),
            "partition": draw(st.sampled_from(["2026-10-24", *filter(None, few_keys(cuts.get(task)))])),
            "inputs": [{"namespace": "lake", "name": before}],
            "outputs": [{"namespace": "lake", "name": own}],
        }
        for task, before, own in zip(tasks, written[-1:] + written[:-1], written, strict=True)
    ]


def waits_in_turn(view: View, own: Partition, need: Need, now: datetime) -> bool:
    """Whether nobody declared the need, it was never made, and the way up from it comes back, over what was never made
    either."""
    if "observed" not in need.edge or need.place in view.states:
        return False
    reached = ahead = set(_makers(view, need, now))
    for _ in range(MOST_STEPS):
        if own in ahead:
            return True
        missing = {each for each in ahead if ("task", *each) not in view.states and _is_partition(view, *each)}
        ahead = {maker for each in missing for maker in _behind(view, each, now)} - reached
        reached = reached | ahead
    return False


def _is_partition(view: View, task: str, key: str) -> bool:
    cut = view.cut("task", task)
    return cut is None or (is_key(cut, key) and (key != "" or cut["kind"] == "none"))


def _behind(view: View, partition: Partition, now: datetime) -> Iterator[Partition]:
    needs, _, _ = view.needs(*partition, now)
    for need in needs:
        state = view.states.get(need.place)
        if need.edge.get("required", True) and not need.among and (state is None or state.status == "failed"):
            yield from _makers(view, need, now)


def _makers(view: View, need: Need, now: datetime) -> list[Partition]:
    if need.kind == "task":
        return [(need.name, need.place[2])]
    return view.makers(need.name, need.place[2], now)
