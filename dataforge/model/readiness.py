"""Whether a partition of a task may run: the rule itself, without reading anything.

Guarantees that the answer is a function of the question alone, that it is runnable exactly when there is no
reason against it, and that every unmet reason is named (invariant I6).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from dataforge.model import scheduling
from dataforge.model.admission import FREE, Admission, keeping_out
from dataforge.model.attempt import Interval
from dataforge.model.condition import short_of
from dataforge.model.edge import TriggerRule
from dataforge.model.quality import remedy
from dataforge.model.reference import TaskRef
from dataforge.model.state import PartitionStatus, RunState
from dataforge.model.trigger import Queue, missing
from dataforge.model.trigger_rule import SATISFIED
from dataforge.model.upstream import (
    CONDITIONS,
    Finding,
    State,
    Upstream,
    about,
    in_turn,
    incomplete,
    stale,
    to_rerun,
    unmet,
)
from dataforge.model.verdict import Basis, Code, Fate, Reason, Status, Verdict

_Key = TypeVar("_Key")


class Problem(msgspec.Struct, frozen=True):
    """An edge whose upstream partitions cannot be told."""

    reason: Reason
    required: bool


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """All that the answer depends on."""

    task: TaskRef
    partition: str
    now: datetime
    graph_version: int
    platform: str = ""
    basis: Basis = "declared"
    misfit: Reason | None = None  # why the partition is none of the task's; then nothing else was looked up
    own: State | None = None
    window: Interval | None = None
    run_after: timedelta | None = None  # the end of the window
    dependencies_known: bool = True
    rule: TriggerRule | None = TriggerRule.ALL_SUCCESS  # None: the task has one, and nobody knows which
    instances: int | None = None  # of a mapped task, where its definition says how many
    upstreams: tuple[Upstream, ...] = ()  # what has plainly succeeded may be left out, where that decides nothing
    problems: tuple[Problem, ...] = ()
    queue: Queue | None = None  # of a task that updates of datasets trigger; `own` is then a run that still goes on
    changed: tuple[Reason, ...] = ()  # what is newer than the partition, where that has been built
    admission: Admission = FREE
    observed_through: dict[str, datetime] = {}

    @property
    def standing(self) -> State | None:
        """Its own state as far as it counts. What is to be run again has none, nor has an attempt whose lease ran out:
        it has failed, though that may not be written down yet."""
        lease, own = self.admission.lease, self.own
        if own is not None and own.cleared:
            return None
        if own is not None and own.status is PartitionStatus.RUNNING:
            over = lease is not None and lease.ran_out(self.now) and own.started_at == lease.since
            return None if over else own
        return None if self.admission.rerun is not None else own

    @property
    def alike(self) -> tuple[object, ...] | None:
        """All that decides where nothing stands of the partition itself and of no upstream anything is to be said: the
        same of many partitions, of whatever tasks. None for any other question."""
        if self.upstreams or self.problems or self.changed or self.own or self.misfit or self.queue:
            return None
        if self.admission is not FREE:
            return None
        seen, when = self.observed_through.items(), (self.now, self.window, self.run_after)
        known = (self.graph_version, self.platform, self.basis, self.dependencies_known)
        return (*when, *known, self.rule, self.instances, *seen)


def decide_all(questions: Mapping[_Key, Question]) -> dict[_Key, Verdict]:
    """The verdict on each, decided once for those that are alike: of these it says nothing of task and partition but
    which they are."""
    found: dict[_Key, Verdict] = {}
    known: dict[tuple[object, ...], Verdict] = {}
    for key, question in questions.items():
        alike = question.alike
        if alike is None:
            found[key] = decide(question)
            continue
        verdict = known.get(alike)
        if verdict is None:
            verdict = known[alike] = decide(question)
        found[key] = replace(verdict, task=question.task, partition=question.partition or None)
    return found


def decide(question: Question) -> Verdict:
    """The verdict: reasons and warnings in one order, whatever the order of the upstreams."""
    findings = _look(question)
    return Verdict(
        task=question.task,
        partition=question.partition or None,
        runnable=not findings,
        status=_status(question, findings),
        fate=_fate(question),
        basis=question.basis,
        reasons=_in_order(finding.reason for finding in findings),
        warnings=() if question.misfit is not None else _in_order(_warnings(question)),
        observed_through=dict(sorted(question.observed_through.items())),
        decided_at=question.now,
        graph_version=question.graph_version,
    )


def obstacle(question: Question) -> str | None:
    """Why this partition, which something waits for, will not come by itself: the failure behind it, where one is
    known. What is merely not known to come is no obstacle."""
    findings = _look(question)
    status = _status(question, findings)
    if status in (Status.FAILED, Status.UPSTREAM_FAILED):
        return f"{question.task.name} failed"
    if status is not Status.BLOCKED:
        return None
    failures = _in_order(finding.reason for finding in findings if finding.reason.code in _FINAL)
    return _of_task(question, failures[0]) if failures else min(_obstacles(question), default=None)


def _obstacles(question: Question) -> Iterable[str]:
    required = (upstream for upstream in question.upstreams if upstream.required)
    return (each.obstacle for upstream in required for each in (upstream, *upstream.lacks) if each.obstacle)


def _of_task(question: Question, reason: Reason) -> str:
    """A reason as one reads it elsewhere: of what concerns the task itself with its name."""
    return reason.message if reason.upstream else f"{question.task.name}: {reason.message}"


_FINAL = frozenset(
    {Code.UPSTREAM_FAILED, Code.UPSTREAM_QUARANTINED, Code.CANCELED, Code.PAUSED, Code.GATE_PENDING, Code.POOL_FULL}
)


def _look(question: Question) -> list[Finding]:
    if question.misfit is not None:
        return [Finding(question.misfit)]
    findings = _own(question) + _leased(question) + _not_before(question) + _unknown(question)
    findings += keeping_out(question.admission, question.now)
    findings += _by_rule(question)
    findings += _of_upstreams(question) if question.upstreams else ()
    findings += _queued(question)
    findings += [Finding(problem.reason) for problem in question.problems if problem.required]
    return findings


def _of_upstreams(question: Question) -> list[Finding]:
    """What is against it beside the trigger rule."""
    required = [upstream for upstream in question.upstreams if upstream.required]
    findings = _each(question, [upstream for upstream in required if not scheduling.concerns(upstream)])
    findings += _branches(question, required) + _lengths(question, required)
    findings += [Finding(stale(u)) for u in required if _is_stale(u) and u.staleness == "block"]
    findings += [Finding(to_rerun(u), passes=True) for u in required if u.rerun is not None and _waits(question, u)]
    return findings


def _own(question: Question) -> list[Finding]:
    own = question.standing
    if own is None or own.status is PartitionStatus.MISSING:
        return []
    if own.status is PartitionStatus.RUNNING:
        return [_about_own(Code.ALREADY_RUNNING, _RUNNING.get(own.run_state, "it is running"), own, passes=True)]
    if own.run_state is RunState.CANCELED:
        return [_about_own(Code.CANCELED, "its run was canceled", own)]
    if own.status is PartitionStatus.FAILED:
        return []
    weak = "" if own.settled else ", as far as can be inferred"
    held = _held(question, own) if own.status is PartitionStatus.QUARANTINED else ""
    return [_about_own(Code.ALREADY_DONE, f"{_DONE[own.status]}{weak}{held}", own)]


def _held(question: Question, own: State) -> str:
    return (own.held.said if own.held else "") + remedy("task", question.task.name, question.partition)


_RUNNING = {
    RunState.QUEUED: "it is queued",
    RunState.UP_FOR_RETRY: "a try of it failed, and its platform will try again",
    RunState.UNKNOWN: "it has a run of which nobody can say how it ended; have its outcome confirmed",
}
_DONE = {
    PartitionStatus.READY: "it has succeeded",
    PartitionStatus.STALE: "it has succeeded, though what it was built from has changed since",
    PartitionStatus.SKIPPED: "it was skipped",
    PartitionStatus.QUARANTINED: "it is done, and its result is quarantined",
}


def _about_own(code: Code, message: str, own: State, *, passes: bool = False) -> Finding:
    return Finding(Reason(code=code, message=message, state=own.label, since=own.since), passes)


def _leased(question: Question) -> list[Finding]:
    """Who holds the lease, unless the run that it is for says so already."""
    lease, own = question.admission.lease, question.own
    runs = own is not None and own.status is PartitionStatus.RUNNING and not own.cleared
    if lease is None or lease.ran_out(question.now) or runs:
        return []
    message = f"{lease.worker} has it until {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC (attempt {lease.attempt})"
    reason = Reason(code=Code.ALREADY_RUNNING, message=message, since=lease.since, expected_at=lease.expires_at)
    return [Finding(reason, passes=True)]


def _waits(question: Question, upstream: Upstream) -> bool:
    """Whether it waits for an upstream that is to be run again: where it is itself, so that they come in order, and
    where it takes nothing stale."""
    return question.admission.rerun is not None or upstream.staleness == "block"


def _not_before(question: Question) -> list[Finding]:
    """Nothing runs for a window before that has ended, and been over for as long as is declared: as Airflow and Dagster
    have it, in which the partition does not exist before."""
    if question.window is None:
        return []
    due = question.window.end + (question.run_after or timedelta(0))
    if question.now >= due:
        return []
    message = f"it runs from {due:%Y-%m-%d %H:%M} UTC on"
    return [Finding(Reason(code=Code.NOT_BEFORE, message=message, expected_at=due), passes=True)]


def _unknown(question: Question) -> list[Finding]:
    if not question.dependencies_known:
        message = "nobody knows what it depends on; declare it"
    elif question.rule is None:
        message = "no event shows its trigger rule; declare its trigger_rule"
    else:
        return []
    return [Finding(Reason(code=Code.DEPENDENCIES_UNKNOWN, message=message))]


def _by_rule(question: Question) -> list[Finding]:
    if question.rule is None:
        return []
    upstreams = scheduling.concerned(question.upstreams)
    return scheduling.findings(question.rule, upstreams, question.instances, question.now)


def _each(question: Question, upstreams: list[Upstream]) -> list[Finding]:
    """Edges that are judged by themselves: the datasets, and tasks of which another outcome is wanted."""
    return [finding for upstream in upstreams for finding in _judged(upstream, question.now)]


def _judged(upstream: Upstream, now: datetime) -> list[Finding]:
    if upstream.turn:
        return [Finding(in_turn(upstream))]
    accepted = CONDITIONS[upstream.condition]
    if upstream.serves(accepted):
        short = short_of(upstream)
        return [] if short is None else [short]
    if upstream.lacks:
        return [incomplete(upstream, producer, now) for producer in upstream.lacks]
    return [unmet(upstream, accepted, _wanted(upstream), now)]


def _wanted(upstream: Upstream) -> str:
    return "" if upstream.condition == "succeeded" else f" (wanted: {upstream.condition})"


def _branches(question: Question, upstreams: list[Upstream]) -> list[Finding]:
    """What lies behind a branch or a short circuit may be skipped whatever its rule, until its own state shows
    otherwise."""
    if question.own is not None:
        return []
    return [
        Finding(about(upstream, Code.BRANCH_UNDECIDED, f"{upstream.label} {_CHOOSES}"), passes=True)
        for upstream in upstreams
        if (upstream.branching or upstream.role == "short_circuit") and _may_branch(upstream)
    ]


def _queued(question: Question) -> list[Finding]:
    """What a triggered task still waits for. What a person wants run again, by an order or a clear, waits for none."""
    again = question.admission.rerun is not None or (question.own is not None and question.own.cleared)
    return missing(question.queue) if question.queue is not None and not again else []


def _lengths(question: Question, upstreams: list[Upstream]) -> list[Finding]:
    """How many instances a task gets that is mapped over what others returned: none perhaps, and then it is skipped."""
    rule, sources = question.rule, [upstream for upstream in upstreams if upstream.role == "mapped_over"]
    if question.own is not None or rule is None or not sources:
        return []
    if scheduling.ruling(rule, scheduling.concerned(upstreams), question.instances) != SATISFIED:
        return []
    return [
        Finding(about(upstream, Code.BRANCH_UNDECIDED, f"{_MAPPED} {upstream.label} returned, {_UNTOLD}"), passes=True)
        for upstream in sources
    ]


_MAPPED = "how many instances this task has, if any, is decided by what"
_UNTOLD = "and nothing tells yet"
_CHOOSES = "decides whether this task is skipped, and nothing tells yet what it chose"


def _may_branch(upstream: Upstream) -> bool:
    """A branch that ended without success chose nothing."""
    return upstream.contribution.state in (None, RunState.SUCCEEDED)


def _is_stale(upstream: Upstream) -> bool:
    return upstream.state is not None and upstream.state.status is PartitionStatus.STALE


def _warnings(question: Question) -> list[Reason]:
    found = _ordered(question) + _marked(question)
    found += _of_upstreams_too(question) if question.upstreams else ()
    found += [problem.reason for problem in question.problems if not problem.required]
    return found + list(question.changed) + _fated(question)


def _of_upstreams_too(question: Question) -> list[Reason]:
    """What there is to know of upstreams although it is not against it."""
    found = [finding.reason for finding in _each(question, [u for u in question.upstreams if not u.required])]
    found += [stale(u) for u in question.upstreams if _is_stale(u) and _warns(u)]
    found += [to_rerun(u) for u in question.upstreams if u.rerun is not None and _warns(u) and not _waits(question, u)]
    if question.rule is None:
        found += [_listed(upstream) for upstream in question.upstreams if scheduling.concerns(upstream)]
    return found


def _ordered(question: Question) -> list[Reason]:
    order = question.admission.rerun
    if order is None:
        return []
    message = f"it is to be run again, ordered{order.said}"
    return [Reason(code=Code.RERUN_ORDERED, message=message, since=order.at, owner=order.by)]


def _marked(question: Question) -> list[Reason]:
    """What a person said of its run, which decides how it stands."""
    own = question.own
    if own is None or own.mark is None:
        return []
    said = "was cleared" if own.cleared else f"was marked {own.run_state}"
    again = ", and is to be run again" if own.cleared else ""
    message = f"its run {said}{own.mark.said}{again}"
    return [Reason(code=Code.MARKED, message=message, state=own.label, since=own.mark.at, owner=own.mark.by)]


def _warns(upstream: Upstream) -> bool:
    return upstream.staleness == "warn" or (upstream.staleness == "block" and not upstream.required)


def _listed(upstream: Upstream) -> Reason:
    """An upstream of a task whose rule is unknown: whether it counts, nobody can say."""
    message = f"it comes after {upstream.label}, now {upstream.state_label}"
    return about(upstream, Code.DEPENDENCIES_UNKNOWN, message)


def _fate(question: Question) -> Fate | None:
    """What Airflow makes of a task that can no longer be started."""
    if question.platform != "airflow" or question.rule is None or question.own is not None or question.misfit:
        return None
    upstreams = scheduling.concerned(question.upstreams)
    others = [u for u in question.upstreams if u.required and not scheduling.concerns(u)]
    held = any(_judged(upstream, question.now) for upstream in others)
    outcome = scheduling.ruling(question.rule, upstreams, question.instances, held=held).outcome
    return None if outcome is None else _FATES[outcome]


_FATES: dict[RunState, Fate] = {RunState.SKIPPED: "skipped", RunState.UPSTREAM_FAILED: "upstream_failed"}


def _fated(question: Question) -> list[Reason]:
    fate = _fate(question)
    if fate is None:
        return []
    message = f"its trigger rule {question.rule} can no longer be met: Airflow marks it {fate}"
    return [Reason(code=Code.CONDITION_UNMET, message=message)]


def _status(question: Question, findings: list[Finding]) -> Status:
    if question.misfit is not None:
        return Status.UNKNOWN
    own = question.standing
    if own is not None and own.status in _STATUS:
        return _OF_RUN.get(own.run_state, _STATUS[own.status])
    if not findings:
        return Status.RUNNABLE
    return Status.WAITING if all(finding.passes for finding in findings) else Status.BLOCKED


_STATUS = {
    PartitionStatus.RUNNING: Status.RUNNING,
    PartitionStatus.READY: Status.SUCCEEDED,
    PartitionStatus.STALE: Status.SUCCEEDED,
    PartitionStatus.SKIPPED: Status.SKIPPED,
    PartitionStatus.FAILED: Status.FAILED,
    PartitionStatus.QUARANTINED: Status.BLOCKED,
}
_OF_RUN = {  # where the state of the run says more
    RunState.UNKNOWN: Status.UNKNOWN,
    RunState.UPSTREAM_FAILED: Status.UPSTREAM_FAILED,
    RunState.CANCELED: Status.BLOCKED,
}


def _in_order(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda reason: reason.order))
