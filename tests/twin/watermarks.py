"""What the machine draws of streams: how far a run has come, with all or with one output, and what came late."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.twin.question import Definition
from tests.twin.windows import Cut, few_keys, windowed

LATENESS = ("PT30M", "PT6H")
_BEHIND = (-12, 0, 3, 6, 20, 30, 50)  # hours, before the time at which it is said


@st.composite
def late(draw: st.DrawFn, passed: list[tuple[str, str]], tasks: dict[str, Definition]) -> dict[str, Any]:
    """Data for one of these partitions of tasks, which watermarks have passed; without its time."""
    name, key = draw(st.sampled_from(passed))
    found = _of(name, draw(st.sampled_from(["s1", "s2"])))
    found["late"] = [draw(_late(_written(tasks, name), [key]))]
    return found


@st.composite
def streams(draw: st.DrawFn, names: list[str], tasks: dict[str, Definition], cuts: dict[str, Cut]) -> dict[str, Any]:
    """One statement of a stream, without its time; `said` makes a watermark of how far it is `behind`. It is a task's
    that is cut by time, where there is one."""
    timed = [name for name in names if windowed(cuts.get(name))]
    name = draw(st.sampled_from(timed or names))
    found = _of(name, draw(st.sampled_from(["s1", "s1", "s2"])))
    kind = draw(st.sampled_from(["all", "all", "one", "late"]))
    if kind == "all":
        found["behind"] = draw(st.sampled_from(_BEHIND))
    if kind == "one" or draw(st.booleans()):
        found["outputs"] = [{"namespace": "lake", "name": _written(tasks, name)}]
    if kind == "one":
        found["outputs"][0]["behind"] = draw(st.sampled_from(_BEHIND))
    if kind == "late":
        found["late"] = [draw(_late(_written(tasks, name), few_keys(cuts.get(name))))]
    return found


def _of(task: str, run: str) -> dict[str, Any]:
    return {"task": {"namespace": "ns", "name": task}, "state": "running", "run": run}


def _written(tasks: dict[str, Definition], task: str) -> str:
    declared = [each["name"] for each in tasks.get(task, {}).get("produces", ())]
    return str(declared[0]) if declared else task.replace("t", "d")


@st.composite
def _late(draw: st.DrawFn, dataset: str, keys: list[str]) -> dict[str, Any]:
    of = {"dataset": {"namespace": "lake", "name": dataset}} if draw(st.booleans()) else {}
    return {"partition": draw(st.sampled_from(keys)) or "a", "rows": draw(st.integers(1, 9)), **of}


def said(event: dict[str, Any]) -> dict[str, Any]:
    """The same with its watermarks, now that it has a time."""
    at = datetime.fromisoformat(event["time"])
    outputs = {"outputs": [_reached(each, at) for each in event["outputs"]]} if "outputs" in event else {}
    return {**_reached(event, at), **outputs}


def _reached(told: dict[str, Any], at: datetime) -> dict[str, Any]:
    if "behind" not in told:
        return told
    kept = {key: value for key, value in told.items() if key != "behind"}
    return {**kept, "watermark": (at - timedelta(hours=told["behind"])).isoformat()}
