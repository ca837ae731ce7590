"""The twin of Spark, by docs/evidence.md: the runs of applications and of the jobs in them, as far as they are to be
believed. What an application says of its own success is worth nothing; what the run above it came to decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from tests.twin.run import EVIDENCE, FINAL, Event, Mark, Output, Run, RunName, Try, precedes

STATES = {"START": "running", "RUNNING": "running", "COMPLETE": "succeeded", "FAIL": "failed", "ABORT": "canceled"}
_TELLING = (*FINAL, "up_for_retry")  # how a run may stand that decides what its application came to
_SHUFFLES = "adaptive_spark_plan"  # of such a plan a listener sees the first failure alone
_UNKNOWN = ("unknown", "inferred")


class Above(NamedTuple):
    """What an application or job takes from the run above it."""

    state: str
    evidence: str
    partition: str


def is_application(event: Event) -> bool:
    return bool(event["job"]["facets"]["jobType"]["jobType"] == "APPLICATION")


def runs_of(events: Iterable[Event], above: Mapping[RunName, Run], marks: Mapping[RunName, Mark]) -> dict[RunName, Run]:
    """The runs of applications and jobs. `above` are the runs of those that started applications."""
    known = list(events)
    applications = _applications([each for each in known if is_application(each)], above, marks)
    by_id = {(run.task, each.external): (run, each) for run in applications.values() for each in run.tries}
    jobs: dict[str, list[Event]] = {}
    for event in known:
        if not is_application(event):
            jobs.setdefault(event["run"]["runId"], []).append(event)
    found = {(name(told[0]), external): _job(external, told, by_id, above) for external, told in jobs.items()}
    return {**applications, **found}


def name(event: Event) -> str:
    return str(event["job"]["name"])


def parent(event: Event, which: str = "parent") -> RunName | None:
    """The run above, or the one at the top (`root`): its task and what its platform calls it."""
    said = event["run"]["facets"].get("parent")
    said = said[which] if said is not None and which == "root" else said
    return (said["job"]["name"], said["run"]["runId"]) if said is not None else None


def observed(events: Iterable[Event], task: str) -> Iterator[str]:
    """The datasets that jobs of an application were seen to write."""
    for event in events:
        above = None if is_application(event) else parent(event)
        if above is not None and above[0] == task:
            yield from (each["name"] for each in event.get("outputs", ()))


def told(events: Iterable[Event]) -> set[str]:
    """The applications that told of themselves."""
    return {name(event) for event in events if is_application(event)}


def applications(events: Iterable[Event]) -> set[str]:
    """Those that their jobs tell of."""
    above = [parent(event) for event in events if not is_application(event)]
    return {each[0] for each in above if each is not None}


def _applications(
    events: Sequence[Event], above: Mapping[RunName, Run], marks: Mapping[RunName, Mark]
) -> dict[RunName, Run]:
    """Runs of one application under the same run are attempts of one, in the order of their starts."""
    told: dict[RunName, dict[str, list[Event]]] = {}
    for event in events:
        external, by = event["run"]["runId"], parent(event)
        run = external if by is None else f"ns/{by[0]}@{by[1]}"
        told.setdefault((name(event), run), {}).setdefault(external, []).append(event)
    found = {}
    for (task, run), attempts in told.items():
        ordered = sorted(attempts.items(), key=lambda each: (_begun(each[1]), each[0]))
        tries = [_application(number, each, above) for number, (_, each) in enumerate(ordered, start=1)]
        found[task, run] = Run(task, run, run, tries, marks.get((task, run)))
    return found


def _application(number: int, events: Sequence[Event], above: Mapping[RunName, Run]) -> Try:
    """Its parent decides what it came to, once that has an end; else nobody can say more than that it failed."""
    by = parent(events[0])
    run = above.get(by) if by is not None else None
    decides = run is not None and run.tries[0].number > 0
    taken = _taken(run, run.last) if run is not None and decides else None
    said = _said(events)
    if taken is not None and taken.state in _TELLING:
        state, evidence = "failed" if taken.state == "up_for_retry" else taken.state, "confirmed"
    else:
        state, evidence = _UNKNOWN if said[0] == "succeeded" else said
    found = _attempt(number, events, taken.partition if taken else "", state, evidence)
    return found._replace(external=events[0]["run"]["runId"], above=by)


def _taken(run: Run, each: Try) -> Above:
    """Of its last attempt a run is as a person has marked it."""
    marked = run.marked if each is run.last else None
    state, evidence = (marked.state, "operator") if marked else (each.state, each.evidence)
    return Above(state, evidence, each.partition)


def _attempt(number: int, events: Sequence[Event], partition: str, state: str, evidence: str) -> Try:
    said, _ = _said(events)
    begins = [_at(each) for each in events if STATES[each["eventType"]] == "running"]
    ends = [_at(each) for each in events if STATES[each["eventType"]] == said and said in FINAL]
    began, ended = min(begins, default=None), max(ends, default=None)
    return Try(number, partition, state, began, ended, {}, {}, None, (), evidence)


def _said(events: Iterable[Event]) -> tuple[str, str]:
    """What events say themselves: that it failed is reported, anything else no more than inferred."""
    found = [(STATES[each["eventType"]], "reported" if each["eventType"] == "FAIL" else "inferred") for each in events]
    return max(found, key=precedes)


def _job(
    external: str,
    events: Sequence[Event],
    applications: Mapping[RunName, tuple[Run, Try]],
    above: Mapping[RunName, Run],
) -> Run:
    """A job, which wrote what its events list, as far as that is believed. It is its application's doing."""
    by = parent(events[0])
    run, of = applications.get(by, (None, None)) if by is not None else (None, None)
    taken = _taken(run, of) if run is not None and of is not None else None
    told = _written(events)
    root = parent(events[0], "root")
    below = (of is not None and of.above is not None) or root != by
    state, evidence = _believed(events, taken, told, below)
    top = above.get(root) if root is not None else None
    partition = (taken.partition if taken else "") or (top.last.partition if top is not None else "")
    found = _attempt(1, events, partition, state, evidence)
    key = _partition(events[0])
    outputs = {(each["name"], key): _output(told, key) for each in told[:1]}
    by_whom = (run.task, run.name) if run is not None else None
    started = of.above if of is not None else by
    return Run(
        name(events[0]), external, external, [found._replace(outputs=outputs)], None, by_whom, started, is_job=True
    )


def _written(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [each for event in events for each in event.get("outputs", ())]


def _partition(event: Event) -> str:
    """The partition that a statement inserts into, where it names one."""
    return str(event["job"]["facets"].get("sql", {}).get("query", "''").split("'")[1])


def _output(told: Sequence[dict[str, Any]], key: str) -> Output:
    counts = [each["outputFacets"]["outputStatistics"]["rowCount"] for each in told if "outputFacets" in each]
    return Output(key, None, max(counts, default=None))


def _believed(
    events: Sequence[Event], application: Above | None, told: Sequence[dict[str, Any]], below: bool
) -> tuple[str, str]:
    said = _said(events)
    done = any(each["eventType"] == "COMPLETE" for each in events)
    confirmed = application is not None and EVIDENCE.index(application.evidence) >= EVIDENCE.index("confirmed")
    counted = any("outputFacets" in each for each in told)
    if said[0] == "failed" or not done:
        lost = application is not None and confirmed and application.state != "succeeded"
        return ("failed", application.evidence) if lost and application else said
    if application is not None and confirmed:
        unseen = application.state == "succeeded" and name(events[0]).split(".")[1] == _SHUFFLES and not counted
        return _UNKNOWN if unseen else (application.state, application.evidence)
    if below or not counted or (application is not None and application.state == "failed"):
        return _UNKNOWN
    return "succeeded", "inferred"


def _begun(events: Sequence[Event]) -> datetime:
    each = _attempt(0, events, "", "", "")
    return each.began or each.ended or _at(events[0])


def _at(event: Event) -> datetime:
    return datetime.fromisoformat(event["eventTime"])
