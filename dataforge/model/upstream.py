"""One upstream partition of a question: what it contributes, and what is to be said where it is not enough.

Guarantees that weak evidence satisfies nothing: what is only inferred, or ended without saying how, counts as not
yet done, and says that it needs to be confirmed (invariant I13).
"""

from collections.abc import Sequence, Set
from datetime import datetime, timedelta
from statistics import median

import msgspec
from msgspec.structs import replace

from dataforge.model.attempt import Interval
from dataforge.model.control import Order
from dataforge.model.edge import Role, Staleness
from dataforge.model.expression import Expression, words
from dataforge.model.quality import Held, remedy
from dataforge.model.report import UNSEEN, Seen
from dataforge.model.state import FINAL, Evidence, PartitionStatus, RunState
from dataforge.model.trigger_rule import UpstreamTask
from dataforge.model.verdict import Cause, Code, NodeRef, Reason

CONDITIONS: dict[str, frozenset[RunState]] = {  # the outcomes that satisfy an edge's condition
    "succeeded": frozenset({RunState.SUCCEEDED}),
    "failed": frozenset({RunState.FAILED, RunState.UPSTREAM_FAILED, RunState.CANCELED}),
    "skipped": frozenset({RunState.SKIPPED}),
    "not_failed": frozenset({RunState.SUCCEEDED, RunState.SKIPPED}),
    "finished": FINAL,
}
_READY = frozenset({PartitionStatus.READY, PartitionStatus.STALE})


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger believes of a partition."""

    status: PartitionStatus
    run_state: RunState
    evidence: Evidence
    since: datetime | None = None
    started_at: datetime | None = None  # of the run that decided
    instances: tuple[tuple[RunState | None, int], ...] = ()  # of a mapped task, how many ended how; None: not yet
    told: int | None = None  # how many instances there are, as an event said
    held: Held | None = None  # why it is quarantined
    mark: Order | None = None  # by whom its run was marked or cleared, where that decides
    error: str | None = None  # what was wrong with the failed run, of one that has shards

    @property
    def outcome(self) -> RunState | None:
        """How it ended, as far as anything tells; None while it has not, and for what is quarantined."""
        if self.status in _READY:
            return RunState.SUCCEEDED
        return self.run_state if self.run_state in FINAL and self.status in _ENDED else None

    @property
    def cleared(self) -> bool:
        """Whether a person has had its run cleared, and no new attempt has begun."""
        return self.run_state is RunState.QUEUED and self.evidence is Evidence.OPERATOR

    @property
    def settled(self) -> bool:
        """Whether the outcome rests on more than inference."""
        return self.evidence > Evidence.INFERRED

    @property
    def plain(self) -> bool:
        """Whether it has succeeded, and there is nothing else to say of that."""
        return self.status is PartitionStatus.READY and self.settled and not self.instances

    @property
    def label(self) -> str:
        """The state as it is shown: that of the run where it says more."""
        shown = self.run_state if self.status in (PartitionStatus.RUNNING, PartitionStatus.FAILED) else self.status
        return shown.value


_ENDED = frozenset({PartitionStatus.FAILED, PartitionStatus.SKIPPED})


class History(msgspec.Struct, frozen=True):
    """How earlier partitions came to be: how long their runs took, and how long after their windows they were
    ready. At most the last 20."""

    durations: tuple[timedelta, ...] = ()
    lags: tuple[timedelta, ...] = ()


class LateData(msgspec.Struct, frozen=True):
    """What came for a partition after the watermark had passed it."""

    rows: int
    last: datetime

    @property
    def said(self) -> str:
        """It as a sentence goes on about a partition."""
        return f"got {self.rows:,} {'row' if self.rows == 1 else 'rows'} after its watermark had passed it"


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One partition that an edge asks for."""

    node: NodeRef
    partition: str
    among: tuple[str, ...] = ()  # the partitions of which one is enough, itself included, oldest first
    state: State | None = None  # None: nothing has happened to it
    owner: str | None = None
    window: Interval | None = None
    mapping: str | None = None  # in the words of a manifest, where it is not the default
    condition: str = "succeeded"
    where: Expression | None = None  # what is asked of what its success reported
    reported: Seen = UNSEEN
    required: bool = True
    staleness: Staleness = "warn"
    known: bool = True  # declared, or seen, or written by a task that is
    role: Role = "upstream"
    branching: bool = False  # a task that decides which of those behind it are skipped
    setup: bool = False  # an Airflow setup task
    mapped: bool = False  # over what another task returns, by its definition
    total: int | None = None  # how many instances it has, where its definition says so
    history: History = History()
    obstacle: str | None = None  # why it will not come by itself, where that is known
    late: LateData | None = None  # of what a stream made: what came for it after its watermark
    rerun: Order | None = None  # an order to run it again that no run has carried out yet
    lacks: tuple["Upstream", ...] = ()  # of a dataset that several make: the producers that still have to
    instead: str | None = None  # what is to be said of a producer, where its own state says nothing
    turn: tuple[str, ...] = ()  # where it waits for the asking partition itself: the tasks on the way round
    because: tuple[Cause, ...] = ()  # where it is stale, the way up to what changed

    @property
    def contribution(self) -> UpstreamTask:
        """What it contributes as a whole: of a mapped task a failure at once, else nothing before all have ended."""
        outcome = self.state.outcome if self.state and self.state.settled else None
        open_ = self.unseen > 0 and outcome in (RunState.SUCCEEDED, RunState.SKIPPED)
        return UpstreamTask(None if open_ else outcome, self.setup)

    @property
    def contributions(self) -> tuple[UpstreamTask, ...]:
        """What it contributes to a trigger rule: of a mapped task each instance counts by itself, those too of which
        nothing was seen yet."""
        seen = self.state.instances if self.state else ()
        if not seen:
            return (self.contribution,)
        unseen = ((None, self.unseen),) if self.unseen else ()
        return tuple(UpstreamTask(outcome, self.setup, count) for outcome, count in (*seen, *unseen))

    @property
    def unseen(self) -> int:
        """Of how many instances nothing was seen: at least one where a mapped task never said how many it has."""
        if self.state is None or not self.state.instances:
            return 0
        seen = sum(count for _, count in self.state.instances)
        expected = max((each for each in (self.state.told, self.total) if each is not None), default=None)
        return int(self.uncounted) if expected is None else max(expected - seen, 0)

    @property
    def uncounted(self) -> bool:
        """Whether it is mapped and nobody has said how many instances it has."""
        told = self.state.told if self.state else None
        return self.mapped and told is None and self.total is None

    @property
    def expanded(self) -> bool:
        """Whether it is a mapped task whose instances are known."""
        return self.state is not None and self.state.instances != ()

    @property
    def asked(self) -> str | None:
        """What its edge asks of it, where that is not just a success."""
        other = None if self.condition == "succeeded" else self.condition
        return words(self.where) if self.where is not None else other

    @property
    def label(self) -> str:
        """Its name for a sentence."""
        return f"{self.node.name} for {self.partition}" if self.partition else self.node.name

    @property
    def sought(self) -> str:
        """What was looked for, where one of several partitions is enough."""
        first, last = (self.among[0], self.among[-1]) if self.among else ("", "")
        return f"; none of the {len(self.among)} partitions from {first} to {last} serves" if self.among else ""

    @property
    def state_label(self) -> str:
        """Its state as it is shown."""
        return self.state.label if self.state else PartitionStatus.MISSING.value

    def serves(self, accepted: Set[RunState]) -> bool:
        """Whether its outcome is one of those accepted, and settled."""
        return self.contribution.state in accepted


class Finding(msgspec.Struct, frozen=True):
    """A reason, and whether it passes by itself."""

    reason: Reason
    passes: bool = False


def unmet(upstream: Upstream, accepted: Set[RunState], wanted: str, now: datetime) -> Finding:
    """Why this upstream does not serve. `wanted` names the rule or condition that asks for it."""
    code = _code_of_instances(upstream, accepted) or _code(upstream.state, accepted)
    passes = _comes(upstream, code)
    message = f"{upstream.label} {_predicate(upstream, code, now)}{wanted}{upstream.sought}"
    held = upstream.state.held if upstream.state else None
    found = about(
        upstream,
        code,
        message,
        otherwise_since=missing_since(upstream.window, now),
        expected_at=expected_at(upstream) if passes else None,
        run=held.run if held else None,
    )
    return Finding(found, passes)


def incomplete(upstream: Upstream, producer: Upstream, now: datetime) -> Finding:
    """That a dataset's partition is not complete, because this producer has not written it."""
    if producer.instead is None:
        found = unmet(producer, CONDITIONS["succeeded"], "", now)
        said = found.reason.message
    else:
        said, state = f"{producer.label} {producer.instead}", producer.state
        there = state is not None and state.outcome is RunState.SUCCEEDED
        code = Code.UPSTREAM_MISSING if there else _code(state, CONDITIONS["succeeded"])
        found = Finding(about(producer, code, said), passes=_comes(producer, code) and not there)
    return replace(found, reason=replace(found.reason, message=f"{upstream.label} is not complete: {said}"))


def in_turn(upstream: Upstream) -> Reason:
    """That the upstream, which nobody declared, waits for the asking partition itself."""
    message = f"{upstream.label} was never made, and would wait in turn for this one ({' after '.join(upstream.turn)})"
    return about(upstream, Code.OBSERVED_CYCLE, f"{message}: this one was only seen to read it, and does not wait")


def about(
    upstream: Upstream,
    code: Code,
    message: str,
    *,
    otherwise_since: datetime | None = None,
    expected_at: datetime | None = None,
    run: str | None = None,
) -> Reason:
    """A reason that names this upstream as it stands; `otherwise_since` is when it began where that has no state."""
    state = upstream.state
    return Reason(
        code=code,
        message=message,
        upstream=upstream.node,
        partition=upstream.partition or None,
        state=upstream.state_label,
        since=state.since if state else otherwise_since,
        owner=upstream.owner,
        expected_at=expected_at,
        run=run,
        mapping=upstream.mapping,
        condition=upstream.asked,
    )


def stale(upstream: Upstream) -> Reason:
    """That the upstream is ready, but built from what has changed since."""
    said = upstream.late.said if upstream.late is not None else "was built from data that has changed since"
    return replace(about(upstream, Code.UPSTREAM_STALE, f"{upstream.label} {said}"), because=upstream.because)


def half_known(upstream: Upstream) -> Reason:
    """That nobody has looked far enough up to say that the upstream is not stale in turn."""
    message = f"whether {upstream.label} is stale in turn was not looked at all the way up; ask for its freshness"
    return about(upstream, Code.PARTITION_UNKNOWN, message)


def to_rerun(upstream: Upstream) -> Reason:
    """That the upstream is ready, but to be run again."""
    assert upstream.rerun is not None, "the caller has looked"
    message = f"{upstream.label} is to be run again, ordered{upstream.rerun.said}"
    found = about(upstream, Code.UPSTREAM_STALE, message)
    return replace(found, since=upstream.rerun.at, owner=upstream.owner or upstream.rerun.by)


def _code_of_instances(upstream: Upstream, accepted: Set[RunState]) -> Code | None:
    """Of a mapped task what is said of its instances: one that ended otherwise than wanted says more than one that has
    not ended. None where all of them serve, and of other tasks."""
    states = {each.state for each in upstream.contributions} if upstream.expanded else set()
    unwanted = sorted((state for state in states if state and state not in accepted), key=lambda state: state.rank)
    if unwanted:
        return _UNWANTED.get(unwanted[-1], Code.UPSTREAM_FAILED)
    return Code.UPSTREAM_RUNNING if None in states else None


def _code(state: State | None, accepted: Set[RunState]) -> Code:
    if state is None or state.status is PartitionStatus.MISSING:
        return Code.UPSTREAM_MISSING
    if state.status is PartitionStatus.QUARANTINED:
        return Code.UPSTREAM_QUARANTINED
    if state.run_state is RunState.UNKNOWN:
        return Code.UPSTREAM_UNCONFIRMED
    if state.outcome is None:
        return Code.UPSTREAM_RUNNING
    if state.outcome in accepted:
        return Code.CONDITION_UNMET if state.settled else Code.UPSTREAM_UNCONFIRMED
    return _UNWANTED.get(state.outcome, Code.UPSTREAM_FAILED)


_UNWANTED = {RunState.SUCCEEDED: Code.CONDITION_UNMET, RunState.SKIPPED: Code.UPSTREAM_SKIPPED}


def _comes(upstream: Upstream, code: Code) -> bool:
    """Whether the upstream will come by itself."""
    missing = code is Code.UPSTREAM_MISSING and upstream.known and upstream.obstacle is None
    return missing or code is Code.UPSTREAM_RUNNING


def _predicate(upstream: Upstream, code: Code, now: datetime) -> str:
    """What is to be said of an upstream, after its name."""
    state = upstream.state
    if code is Code.UPSTREAM_MISSING or state is None:
        return _missing(upstream, now)
    if code is Code.UPSTREAM_UNCONFIRMED and state.run_state is RunState.UNKNOWN:
        return "has a run of which nobody can say how it ended; have its outcome confirmed"
    if code is Code.UPSTREAM_UNCONFIRMED:
        return f"is {state.label}, but by inference alone; have its outcome confirmed"
    if code is Code.UPSTREAM_QUARANTINED:
        return f"is quarantined{_held(upstream)}"
    return _instances(upstream) if upstream.expanded else _as_it_stands(state)


def _as_it_stands(state: State) -> str:
    if state.cleared:
        return f"was cleared{state.mark.said if state.mark else ''}, and is to be run again"
    how = ": " + state.error if state.error else ""
    return _SAID[state.outcome or state.run_state] + how + (f", as marked{state.mark.said}" if state.mark else "")


def _held(upstream: Upstream) -> str:
    """Why it is quarantined, and what lets it go."""
    held = upstream.state.held if upstream.state else None
    node = upstream.node
    return (held.said if held else "") + remedy(node.kind, node.name, upstream.partition)


def _instances(upstream: Upstream) -> str:
    """A mapped task by its instances: 2 succeeded, 1 was skipped."""
    counted: dict[str, int] = {}
    for each in upstream.contributions:
        said = _SAID[each.state] if each.state else "not done yet"
        counted[said] = counted.get(said, 0) + each.count
    return f"is mapped: of its instances {', '.join(f'{count} {said}' for said, count in sorted(counted.items()))}"


_SAID = {
    RunState.QUEUED: "is queued",
    RunState.RUNNING: "is running",
    RunState.UP_FOR_RETRY: "failed a try and will be tried again",
    RunState.SUCCEEDED: "succeeded",
    RunState.SKIPPED: "was skipped",
    RunState.CANCELED: "was canceled",
    RunState.UPSTREAM_FAILED: "did not run, because something upstream of it failed",
    RunState.FAILED: "failed",
}


def _missing(upstream: Upstream, now: datetime) -> str:
    task, window = upstream.node.kind == "task", upstream.window
    absent = "has not run yet" if task else "has not been written yet"
    if not upstream.known:
        unknown = "is not known; no source declares it and no event has shown it"
        return unknown if task else f"{absent}, and no task is known that writes it"
    if upstream.obstacle is not None:
        return f"{absent} and will not by itself: {upstream.obstacle}"
    if window is None:
        return absent
    return f"{absent}; its window {'ended' if window.end <= now else 'ends'} {window.end:%Y-%m-%d %H:%M} UTC"


def missing_since(window: Interval | None, now: datetime) -> datetime | None:
    """What has not run is late from the end of its window on."""
    return window.end if window is not None and window.end <= now else None


def expected_at(upstream: Upstream) -> datetime | None:
    """When the upstream should be there: a running one its usual time after its start, one that has not begun its
    usual time after its window. None without history. It may have passed: then it is overdue."""
    state, history = upstream.state, upstream.history
    if state is not None and state.status is PartitionStatus.RUNNING:
        return state.started_at + _typical(history.durations) if state.started_at and history.durations else None
    return upstream.window.end + _typical(history.lags) if upstream.window and history.lags else None


def _typical(durations: Sequence[timedelta]) -> timedelta:
    return timedelta(seconds=median(duration.total_seconds() for duration in durations))
