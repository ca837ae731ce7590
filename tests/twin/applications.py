"""What the machine draws of Spark: what an application and its jobs say, and what the run says that started it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.twin.question import Definition
from tests.twin.sharing import rarely
from tests.twin.windows import Cut, few_keys

_NAMES = ("t0", "t0", "t2", "t3")  # none of which has instances
_STARTING = ("x", "x", "x", "t3")
_ENDS = (["START"], *[["START", "COMPLETE"]] * 3, ["COMPLETE"], ["START", "COMPLETE", "FAIL"], ["START", "ABORT"])
_PLANS = ("append_data", "append_data", "adaptive_spark_plan")
Event = dict[str, Any]


@st.composite
def told(draw: st.DrawFn, tasks: dict[str, Definition], cuts: dict[str, Cut]) -> list[Event]:
    """Some events, without their times: of one application, of a job of it, and of the run that started it, if any."""
    name = draw(st.sampled_from(_NAMES))
    key = draw(st.sampled_from(few_keys(cuts.get(name))[:2]))
    parent = draw(st.sampled_from(_STARTING))
    alone = draw(rarely(2 if key == "" else 8)) or parent == name
    above = None if alone else _pointer(parent, f"s{draw(st.integers(1, 3))} {key}")
    run = f"{name} {' '.join(_named(above).values()) if above else 'alone'} {draw(st.sampled_from([1, 1, 2]))}"
    found = [_event(each, name, run, "APPLICATION", above) for each in draw(st.sampled_from(_ENDS))]
    if draw(rarely(6)):
        found = []
    if not draw(rarely(4)):
        found += draw(_jobs(name, run, above, tasks, cuts))
    if above is not None and not draw(rarely(3)):
        found += [_started(parent, above, key, each) for each in draw(st.sampled_from(_STARTED))]
    if draw(rarely(5)):
        known = [(name, f"ns/{parent}@{above['run']['runId']}"), (parent, above["run"]["runId"])] if above else []
        task, of = draw(st.sampled_from(known or [(name, run)]))
        found.append(_ordered(task, of, draw(st.sampled_from(_ORDERED))))
    return found


def _ordered(task: str, run: str, said: Event) -> Event:
    """What a person says of an application's run, or of the one that started it."""
    return {**said, "task": {"namespace": "ns", "name": task}, "run": run, "by": "anna", "reason": "because"}


_STARTED = (["running"], *[["running", "succeeded"]] * 5, ["running", "up_for_retry"], ["failed"], ["skipped"])
_ORDERED: tuple[Event, ...] = (
    {"control": "clear"},
    {"control": "clear"},
    {"control": "mark", "state": "succeeded"},
    {"control": "mark", "state": "failed"},
)


@st.composite
def _jobs(
    draw: st.DrawFn, name: str, run: str, above: Event | None, tasks: dict[str, Definition], cuts: dict[str, Cut]
) -> list[Event]:
    declared = [each["name"] for each in tasks.get(name, {}).get("produces", ())]
    dataset, plan = declared[0] if declared else name.replace("t", "d"), draw(st.sampled_from(_PLANS))
    key = draw(st.sampled_from(few_keys(cuts.get(dataset)))) if draw(rarely(4)) else ""
    query = f"INSERT INTO lake.x PARTITION ({'ds' if '-' in key else 'client'} = '{key}') SELECT 1"
    application = _pointer(name, run)
    application["root"] = _pointer(**_named(above)) if above else _pointer(name, run)
    written: Event = {"namespace": "lake", "name": dataset}
    counted = {"outputFacets": {"outputStatistics": {"rowCount": draw(st.sampled_from([0, 7, 9]))}}}
    ends = draw(st.sampled_from([["START"], ["START", "COMPLETE"], ["START", "COMPLETE"], ["START", "FAIL"]]))
    found = []
    for place, each in enumerate(ends):
        said = _event(each, f"{name}.{plan}.{dataset}", f"{run} {plan} {dataset} {key}", "SQL_JOB", application)
        said["job"]["facets"] |= {"sql": {"query": query}} if _is_plain(key) else {}
        last = place == len(ends) - 1 and draw(st.booleans())
        found.append({**said, "outputs": [{**written, **(counted if last else {})}]})
    return found


def _is_plain(key: str) -> bool:
    return key in ("a", "b") or (len(key) == len("2026-10-24") and "|" not in key)


def _pointer(task: str, run: str) -> Event:
    return {"job": {"namespace": "ns", "name": task}, "run": {"runId": run}}


def _named(pointer: Event) -> dict[str, str]:
    return {"task": pointer["job"]["name"], "run": pointer["run"]["runId"]}


def _event(kind: str, name: str, run: str, of: str, parent: Event | None) -> Event:
    job = {"processingType": "BATCH", "integration": "SPARK", "jobType": of}
    return {
        "eventType": kind,
        "producer": "spark",
        "run": {"runId": run, "facets": {"parent": parent} if parent is not None else {}},
        "job": {"namespace": "ns", "name": name, "facets": {"jobType": job}},
    }


def _started(task: str, above: Event, key: str, state: str) -> Event:
    named = {"partition": key} if key else {}
    return {"task": {"namespace": "ns", "name": task}, "run": above["run"]["runId"], "state": state, **named}
