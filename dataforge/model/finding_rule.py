"""The rules by which findings are found: functions of what is known, without reading anything.

Guarantees that a finding says nothing that what is recorded does not show. Where it cannot be told, nothing is found:

* Clocks of two machines are not told apart below `CLOCKS_AGREE`.
* What nobody has ever been seen to make, such as a file from outside, is not missing; and what was made before anybody
  looked was perhaps there (`ledger.finding_run`).
* A success of which nobody knows how it ended (Spark alone says so) may have been there in time.
* The last attempt of a run counts: a try that failed because it came too early, and was repeated, made nothing.
* A version that was written again and is the same version has not changed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from dataforge.model.event import Relation
from dataforge.model.finding import MOST_SHOWN, Finding, FindingCode, FoundInput, Severity
from dataforge.model.quality import Held
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunState
from dataforge.model.verdict import NodeRef

CLOCKS_AGREE = timedelta(seconds=1)
ENOUGH_RUNS = 5  # of a task, which told what data they touched, before an edge that none of them showed is doubted
_SOON = timedelta(hours=1)  # no source is silent before that
_SEVERAL = 3  # times its usual gap
_ACTIVE_DAYS = 3  # on which a source must have sent something before it has a pace


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stands after its last attempt."""

    task: TaskRef
    run: str
    partitions: tuple[str, ...]
    owner: str | None
    declared: bool  # a source declares its task
    state: RunState
    started_at: datetime
    ended_at: datetime | None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """That another run came to an end on an upstream partition."""

    at: datetime
    run: str
    version: str | None = None
    certain: bool = True  # that it succeeded; False where nobody can say


class Needed(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream partition that a run needed, and what was made of it around that time, by other runs."""

    node: NodeRef
    partition: str
    owner: str | None
    read_from: datetime  # from when on the run may have read it
    read_until: datetime  # and until when
    made: tuple[Made, ...] = ()  # the last before `read_from`, and those after, as far as they were looked up
    missing: bool = False  # never made, though it is known that it was to be
    version: str | None = None  # of it, as the run recorded what it read
    held: Held | None = None  # why it was quarantined when the run began to read it


def started_too_early(run: Execution, needed: Iterable[Needed]) -> Finding | None:
    """That the run started before a partition it needs was ready for the first time."""
    late = [(_first(each), each) for each in needed if _was_late(each)]
    if not late:
        return None
    late.sort(key=lambda found: (found[0] is not None, -_seconds(found[0], run.started_at), _name(found[1])))
    at, worst = late[0]
    said = (
        f"{_begun(run)}, {_span(at - worst.read_from)} before {_label(worst)} was ready ({_moment(at)} UTC)"
        if at is not None
        else f"{_begun(run)}, and {_label(worst)}, which it needs, has never been seen to be ready"
    )
    return _of_run(
        run,
        FindingCode.STARTED_TOO_EARLY,
        Severity.HIGH if _is_firm(run) else Severity.MEDIUM,
        said,
        [_input(each, first, next((made.run for made in each.made if made.at == first), None)) for first, each in late],
    )


def started_on_quarantined(run: Execution, needed: Iterable[Needed]) -> Finding | None:
    """That a partition which the run read was quarantined when it began to."""
    held = sorted(((each.held.at, _name(each), each, each.held) for each in needed if each.held), key=lambda it: it[:2])
    if not held:
        return None
    at, _, worst, why = held[0]
    return _of_run(
        run,
        FindingCode.STARTED_ON_QUARANTINED,
        Severity.HIGH if _is_firm(run) else Severity.MEDIUM,
        f"{_begun(run)}, and {_label(worst)} was quarantined then (since {_moment(at)} UTC){why.said}",
        [_input(each, since, why.run) for since, _, each, why in held],
    )


def input_changed(run: Execution, needed: Iterable[Needed]) -> Finding | None:
    """That a partition which the run read, and which was ready then, was written again before the run had ended."""
    changed = [(each, again) for each in needed if (again := _again(each)) is not None]
    if not changed:
        return None
    changed.sort(key=lambda found: (not found[0].partition, found[1].at, _name(found[0])))
    worst, again = changed[0]
    until = f"to {_moment(run.ended_at)} UTC" if run.ended_at else "on"
    said = (
        f"{_subject(run)} ran from {_moment(run.started_at)} {until}, and {_label(worst)} was written again"
        f" under it ({_moment(again.at)} UTC)"
    )
    # A whole table that is written again while it is read is what a dimension reloaded every night looks like.
    severity = Severity.MEDIUM if _is_firm(run) and any(each.partition for each, _ in changed) else Severity.LOW
    inputs = [_input(each, made.at, made.run) for each, made in changed]
    return _of_run(run, FindingCode.INPUT_CHANGED, severity, said, inputs)


def _begun(run: Execution) -> str:
    return f"{_subject(run)} started at {_moment(run.started_at)} UTC"


def _is_firm(run: Execution) -> bool:
    """Whether what it needs is declared, and it did not stumble over that itself."""
    return run.declared and run.state is not RunState.FAILED


def _was_late(needed: Needed) -> bool:
    """Whether it was not ready when the run may have begun to read it, and was made later or never."""
    if any(each.at <= needed.read_from + CLOCKS_AGREE for each in needed.made):
        return False
    return needed.missing or any(each.certain for each in needed.made)


def _first(needed: Needed) -> datetime | None:
    return min((each.at for each in needed.made if each.certain), default=None)


def _again(needed: Needed) -> Made | None:
    """The first success within the time of reading, after one that was there before."""
    before = [each for each in needed.made if each.certain and each.at <= needed.read_from]
    if not before:
        return None
    there = max(before, key=lambda each: each.at)
    same = {version for version in (there.version, needed.version) if version is not None}
    begun, ended = needed.read_from + CLOCKS_AGREE, needed.read_until - CLOCKS_AGREE
    later = (each for each in needed.made if each.certain and begun < each.at < ended and each.version not in same)
    return min(later, key=lambda each: each.at, default=None)


def _input(needed: Needed, at: datetime | None, run: str | None) -> FoundInput:
    return FoundInput(node=needed.node, partition=needed.partition or None, owner=needed.owner, at=at, run=run)


def _of_run(run: Execution, code: FindingCode, severity: Severity, said: str, inputs: Sequence[FoundInput]) -> Finding:
    more = f", and {len(inputs) - 1} more of its inputs" if len(inputs) > 1 else ""
    return Finding(
        code=code,
        severity=severity,
        message=said + more,
        node=NodeRef("task", run.task.namespace, run.task.name),
        partitions=run.partitions,
        run=run.run,
        owner=run.owner,
        since=run.started_at,
        inputs=tuple(inputs[:MOST_SHOWN]),
    )


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """An edge of a task that a source declares."""

    task: TaskRef
    owner: str | None
    source: str | None  # that declares the task, where it speaks of the edge
    relation: Relation
    node: NodeRef
    since: datetime  # when the task's definition was declared, or when the edge was first observed


def edge_never_observed(use: Use, runs: int, last_run_at: datetime) -> Finding | None:
    """That an edge is declared, and none of at least `ENOUGH_RUNS` successes since then showed it, though each showed
    some data. `runs` counts them, up to that many."""
    if runs < ENOUGH_RUNS:
        return None
    verb, done = _VERBS[use.relation]
    said = (
        f"{use.task.name} is declared by {use.source} to {verb} {_edge_label(use)}, and none of its last {runs} runs"
        f" that told of data was seen to have {done} it (the latest {_moment(last_run_at)} UTC)"
    )
    return _of_edge(use, FindingCode.EDGE_NEVER_OBSERVED, Severity.LOW, said)


def edge_never_declared(use: Use, last_at: datetime) -> Finding:
    """That an edge was observed, and what declares its task does not name it. Of what a task consumes nobody waits for
    it, so that weighs more."""
    verb, _ = _VERBS[use.relation]
    said = (
        f"{use.task.name} was seen to {verb} {_edge_label(use)} (last at {_moment(last_at)} UTC), and {use.source},"
        f" which declares it, does not say so"
    )
    severity = Severity.MEDIUM if use.relation == "consumes" else Severity.LOW
    return _of_edge(use, FindingCode.EDGE_NEVER_DECLARED, severity, said)


def observed_cycle(closing: Use, way: Sequence[NodeRef], last_at: datetime) -> Finding:
    """That tasks each need what the one before them brings, until it comes round (`way`, from upstream to downstream,
    the first one again at the end), and that the edge which closed the loop, and perhaps others, was only observed. All
    of it was last seen at `last_at`."""
    verb, _ = _VERBS[closing.relation]
    said = (
        f"{closing.task.name} was seen to {verb} {_edge_label(closing)}, which closes a loop:"
        f" {' -> '.join(_written(each) for each in way)} (last seen {_moment(last_at)} UTC); nobody waits along it for"
        f" what was only observed"
    )
    return _of_edge(closing, FindingCode.OBSERVED_CYCLE, Severity.MEDIUM, said)


_VERBS = {"consumes": ("consume", "consumed"), "produces": ("produce", "produced"), "runs": ("run", "run")}


def _of_edge(use: Use, code: FindingCode, severity: Severity, said: str) -> Finding:
    return Finding(
        code=code,
        severity=severity,
        message=said,
        node=NodeRef("task", use.task.namespace, use.task.name),
        upstream=use.node,
        source=use.source,
        owner=use.owner,
        since=use.since,
    )


def usual_gap(times: Iterable[datetime]) -> timedelta | None:
    """The longest time for which a source usually sends nothing; None where it has no pace yet.

    It is the longest gap between two of these times, so that nights and weekends are usual. A gap that came once in a
    stretch at least four times as long, and is more than twice the next one, was an outage, and the next one counts.
    Something must have come on at least three days: a burst has no pace.
    """
    ordered = sorted(set(times))
    if len({each.date() for each in ordered}) < _ACTIVE_DAYS:
        return None
    gaps = sorted((after - before for before, after in pairwise(ordered)), reverse=True)
    outage = ordered[-1] - ordered[0] >= 4 * gaps[0] and gaps[0] > 2 * gaps[1]
    return gaps[1] if outage else gaps[0]


def silent_from(last_at: datetime, gap: timedelta) -> datetime:
    """When a source with this usual gap counts as silent: three times as long after its last event, or an hour."""
    return last_at + max(_SEVERAL * gap, _SOON)


def source_silent(source: str, times: Sequence[datetime], last_at: datetime, now: datetime) -> Finding | None:
    """That a source which used to send events has sent none for at least three times its usual gap (`usual_gap`)."""
    gap = usual_gap([*times, last_at])
    if gap is None or now < silent_from(last_at, gap):
        return None
    said = (
        f"{source} has sent nothing for {_span(now - last_at)} (last at {_moment(last_at)} UTC); it used to send"
        f" something at least once in {_span(gap)}"
    )
    return Finding(code=FindingCode.SOURCE_SILENT, severity=Severity.MEDIUM, message=said, source=source, since=last_at)


def _subject(run: Execution) -> str:
    if not run.partitions:
        return run.task.name
    more = f" and {len(run.partitions) - 1} more" if len(run.partitions) > 1 else ""
    return f"{run.task.name} for {run.partitions[0]}{more}"


def _label(needed: Needed) -> str:
    """Its name for a sentence: of a dataset in full, as people write a path or a table."""
    name = _written(needed.node)
    return f"{name} for {needed.partition}" if needed.partition else name


def _edge_label(use: Use) -> str:
    return _written(use.node)


def _written(node: NodeRef) -> str:
    return f"{node.namespace}/{node.name}" if node.kind == "dataset" else node.name


def _name(needed: Needed) -> tuple[NodeRef, str]:
    return (needed.node, needed.partition)


def _seconds(at: datetime | None, begun: datetime) -> float:
    return 0.0 if at is None else (at - begun).total_seconds()


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _span(span: timedelta) -> str:
    """How long something took, in its two largest units."""
    seconds = max(1, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min {seconds % 60} s" if seconds % 60 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
