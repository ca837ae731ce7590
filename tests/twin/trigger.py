"""The twin of triggers, by docs/conditions.md: which updates wait for a task's next run, and which a run consumed.

Airflow's queue is not kept, but told anew each time: what was updated since the last run began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from tests.twin.claim import claims_of
from tests.twin.fold import State
from tests.twin.ledger import View
from tests.twin.question import Definition
from tests.twin.run import Run

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_BY_HAND = ("manual__", "scheduled__", "backfill__")  # begin Airflow's ids of runs that consume nothing


class Update(NamedTuple):
    """A success that wrote a partition of a dataset."""

    at: datetime
    dataset: str
    key: str
    version: str | None
    task: str
    run: str


class Start(NamedTuple):
    """When a run of a triggered task began for the first time; its mapped instances are one."""

    began: datetime
    group: str
    run: Run  # one of them, which goes on if any does
    goes_on: bool


@lru_cache(maxsize=1_000)
def updates(view: View, task: str) -> list[Update]:
    """Every update of the datasets that a trigger names, the earliest first; of a run its last success is one."""
    named = set(_named(view, view.tasks[task]["trigger"]))
    found = {
        Update(claim.since, view.canonical(claim.place[1]), claim.place[2], claim.version, claim.of_task, claim.of_run)
        for run in view.runs.values()
        for claim in claims_of(run, view.leads)
        if claim.status == "ready"
        and claim.evidence != "inferred"
        and claim.place[0] == "dataset"
        and claim.since is not None
    }
    return sorted((each for each in found if each.dataset in named), key=lambda each: (each.at, each[1:3], each[4:]))


def starts(view: View, task: str) -> list[Start]:
    """When each run began that takes something from the queue, the earliest first."""
    groups: dict[str, list[Run]] = {}
    for run in view.runs.values():
        if run.task == task and not run.group.startswith(_BY_HAND):
            groups.setdefault(run.group, []).append(run)
    found = []
    for group, runs in groups.items():
        begins = [began for run in runs for began in _begins(run)]
        going = [run for run in runs if _goes_on(run)]
        if begins:
            found.append(Start(min(begins), group, (going or runs)[0], bool(going)))
    return sorted(found, key=lambda each: each[:2])


def _begins(run: Run) -> Iterator[datetime]:
    """When its tries began; where nobody told, their end stands for it, and of a run only marked, the mark."""
    told = [each.began or each.ended for each in run.tries]
    known = [each for each in told if each is not None]
    if not known and run.marked is not None and run.marked.state != "queued":
        known = [run.marked.at]
    yield from known


def _goes_on(run: Run) -> bool:
    """What a person has cleared does not go on: it is to be run again."""
    state = run.marked.state if run.marked is not None else run.last.state
    return state in ("unknown", "queued", "running", "up_for_retry") and not (
        run.marked is not None and state == "queued"
    )


def going_on(view: View, task: str) -> State | None:
    """What there is of a triggered task's own: the run that decides while it goes on, or the last while it does."""
    own = view.states.get(("task", task, ""))
    if own is not None and own.status == "running":
        return own
    last = starts(view, task)[-1:]
    if not last or not last[0].goes_on:
        return None
    began, _, run, _ = last[0]
    return State("running", "running", began, task, run.name, began, None, (), ())


def consumed(view: View, task: str, run: str | None) -> list[Update]:
    """The updates that a run consumed; without one, those that wait for the next."""
    known = starts(view, task)
    if run is None:
        after, until = max((each.began for each in known), default=_EARLIEST), None
    else:
        group = view.runs[task, run].group
        own = next((each.began for each in known if each.group == group), None)
        if own is None:
            return []
        after, until = max((each.began for each in known if each.began < own), default=_EARLIEST), own
    return [each for each in updates(view, task) if after < each.at and (until is None or each.at <= until)]


def waited_for(view: View, task: str) -> tuple[set[str], bool]:
    """The datasets that the next run still waits for, and whether they come by themselves: whether it would be due if
    all were updated that anything is known to write. What is quarantined triggers nothing."""
    said = view.tasks[task]["trigger"]
    queued = {each.dataset for each in consumed(view, task, None) if not _is_held(view, each)}
    written = {name for name in _named(view, said) if view.writers(name)}
    return _missing(view, said, queued), not _missing(view, said, queued | written)


def _is_held(view: View, update: Update) -> bool:
    state = view.states.get(("dataset", update.dataset, update.key))
    return state is not None and state.status == "quarantined"


def _named(view: View, said: Definition) -> Iterator[str]:
    if "dataset" in said:
        yield view.canonical(said["dataset"]["name"])
    for part in _parts(said):
        yield from _named(view, part)


def _parts(said: Definition) -> Sequence[Definition]:
    return [*said.get("all", ()), *said.get("any", ())]


def _missing(view: View, said: Definition, updated: set[str]) -> set[str]:
    """Any of these would bring the trigger nearer to holding; none where it holds."""
    if "dataset" in said:
        return set(_named(view, said)) - updated
    parts = [_missing(view, part, updated) for part in _parts(said)]
    return set() if "any" in said and not all(parts) else set().union(*parts)
