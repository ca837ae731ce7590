"""From what is known of attempts to what is true of a run: its number, state, evidence, partitions and writes.

Every function here is a function of merged attempts and of what their parents and platforms said, so that the
derived state depends on the set of events alone.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from dataforge.model.attempt import EARLIEST, Attempt, Interval, Source, Touch, merge_sources
from dataforge.model.event import Outcome
from dataforge.model.partition import Partitioning, keys_of
from dataforge.model.shard import ShardCounts
from dataforge.model.state import Evidence, PartitionStatus, RunKind, RunState

PartitionFrom = Literal["event", "declared", "parent", "root"]
UNTRUSTED = frozenset({"spark"})  # platforms whose own COMPLETE is said by every run that was not killed


class Belief(msgspec.Struct, frozen=True):
    """A state and what it rests on."""

    state: RunState
    evidence: Evidence


# Of a mapped instance that sent no end before its DAG run's: Airflow tells of each success and each failure, but not
# that an instance skipped itself, or was skipped because the DAG run took too long.
NO_END = Belief(RunState.SKIPPED, Evidence.INFERRED)


class Ancestor(msgspec.Struct, frozen=True):
    """What a run takes from the run above it (its parent, or the root where the parent has no interval)."""

    belief: Belief
    interval: Interval | None
    partitions: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True):
    """An attempt as it stands: its number within the run and the state that is believed of it."""

    attempt: Attempt
    ordinal: int
    belief: Belief


class Run(msgspec.Struct, frozen=True):
    """An execution as it stands after its last attempt."""

    kind: RunKind
    group_run: str
    map_index: int
    belief: Belief
    ordinal: int  # the platform's attempt number, or the place in the order of starts
    attempt_id: str | None
    partitions: tuple[str, ...]
    partition_from: PartitionFrom | None
    started_at: datetime | None
    ended_at: datetime | None
    interval: Interval | None
    error: str | None
    source: Source
    shards: ShardCounts | None = None


def stand(attempts: Iterable[Attempt], parents: Mapping[str, Ancestor]) -> list[Standing]:
    """The attempts of one run in the order in which they count: incarnation, number, start, id.

    `parents` holds, by attempt id, what is known of the run above each.
    """
    ordered = sorted(attempts, key=_order)
    return [
        Standing(
            attempt=attempt,
            ordinal=attempt.number if attempt.number is not None else place,
            belief=_believe(attempt, parents.get(attempt.key.attempt_id)),
        )
        for place, attempt in enumerate(ordered, start=1)
    ]


def _order(attempt: Attempt) -> tuple[datetime, int, datetime, str]:
    return (
        attempt.incarnation or EARLIEST,
        attempt.number or 0,
        attempt.started_at or ended_at(attempt) or EARLIEST,
        attempt.key.attempt_id,
    )


def _believe(attempt: Attempt, parent: Ancestor | None) -> Belief:
    said = Belief(attempt.statement.state, attempt.statement.evidence)
    if attempt.platform not in UNTRUSTED or attempt.kind is not RunKind.TASK:
        return said
    if parent is not None and said.evidence < Evidence.CONFIRMED and _tells(parent.belief):
        return Belief(_of_parent(parent.belief.state), Evidence.CONFIRMED)
    if said.state is RunState.SUCCEEDED:  # the application's process came to an end; how, it cannot say
        return Belief(RunState.UNKNOWN, Evidence.INFERRED)
    return said


def _tells(parent: Belief) -> bool:
    """Whether a parent's state decides its application's. That it was skipped may be no more than a lost event."""
    if parent == NO_END:
        return False
    return parent.state.final or parent.state is RunState.UP_FOR_RETRY


def _of_parent(state: RunState) -> RunState:
    """How an application ended whose parent ended so: a try that will be repeated has failed."""
    return RunState.FAILED if state is RunState.UP_FOR_RETRY else state


def settle(
    standings: list[Standing],
    outcome: Outcome | None,
    partitioning: Partitioning,
    declared: bool,
    above: list[tuple[PartitionFrom, Ancestor]],
) -> Run:
    """The run of these attempts, of what its platform said of it afterwards, or of both.

    Of a mapped instance `outcome` is the task's, all map indexes together. `above` are the parent and the root of the
    deciding attempt, as far as they are known.
    """
    last = standings[-1] if standings else None
    said = outcome if outcome and (last is None or _later(outcome, last.attempt)) else None
    attempt = last.attempt if last else None
    interval = attempt.interval if attempt and attempt.interval else outcome.interval if outcome else None
    interval, partitions, found = _place(attempt, interval, partitioning, declared, above)
    belief = _verdict(last, said)
    return Run(
        kind=attempt.kind if attempt else RunKind.TASK,
        group_run=attempt.group_run if attempt else outcome.group_run if outcome else "",
        map_index=attempt.map_index if attempt else -1,
        belief=belief,
        ordinal=max(standing.ordinal for standing in standings) if standings else _untried(outcome),
        attempt_id=attempt.key.attempt_id if attempt else None,
        partitions=partitions,
        partition_from=found,
        started_at=attempt.started_at if attempt else None,
        ended_at=ended_at(attempt) if attempt else None,
        interval=interval,
        error=attempt.error if attempt and belief.state is not RunState.SUCCEEDED else None,
        source=_source(standings, outcome),
    )


def ended_at(attempt: Attempt) -> datetime | None:
    """When an attempt ended: when the end that is believed was said, though another may have been said later."""
    return attempt.statement.at if attempt.statement.state.final else attempt.ended_at


def _later(outcome: Outcome, attempt: Attempt) -> bool:
    """A platform's list speaks of the DAG run as it was then: a try after a clear is newer than it."""
    return outcome.incarnation >= (attempt.incarnation or EARLIEST)


def _verdict(last: Standing | None, said: Outcome | None) -> Belief:
    if last is not None and last.attempt.map_index >= 0:
        return NO_END if said is not None and not last.belief.state.final else last.belief
    if said is not None and (last is None or last.belief.evidence <= Evidence.CONFIRMED):
        return Belief(said.state, Evidence.CONFIRMED)
    assert last is not None, "a run has an attempt or an outcome"
    return last.belief


def _untried(outcome: Outcome | None) -> int:
    """Airflow's try number of a task that sent no event: it never tried what it skipped."""
    never = (RunState.SKIPPED, RunState.UPSTREAM_FAILED)
    return 0 if outcome is not None and outcome.state in never else 1


def _source(standings: list[Standing], outcome: Outcome | None) -> Source:
    source: Source = dict(outcome.source) if outcome else {}
    if outcome and outcome.source.get("task_id") is not None and not standings:
        source["try_number"] = _untried(outcome)
    for standing in standings:
        source = merge_sources(source, standing.attempt.source)
    if standings:  # of an application's tries the last one's id is the run's
        source = {**source, **standings[-1].attempt.source}
        tries = [s.attempt.source.get("try_number") for s in standings]
        if any(isinstance(number, int) for number in tries):
            source["try_number"] = max(number for number in tries if isinstance(number, int))
    return dict(sorted(source.items()))


def _place(
    attempt: Attempt | None,
    interval: Interval | None,
    partitioning: Partitioning,
    declared: bool,
    above: list[tuple[PartitionFrom, Ancestor]],
) -> tuple[Interval | None, tuple[str, ...], PartitionFrom | None]:
    """The run's data interval and partitions, and where they were found: the event's own, else the parent's,
    else the root's."""
    if attempt and attempt.partition:
        return interval, (attempt.partition,), "event"
    if interval is not None:
        keys = keys_of(partitioning, interval)
        return interval, keys, ("declared" if declared else "event") if keys else None
    for found, ancestor in above:
        if ancestor.interval is None and not ancestor.partitions:
            continue
        keys = keys_of(partitioning, ancestor.interval) if declared and ancestor.interval else ancestor.partitions
        return ancestor.interval, keys, found if keys else None
    return None, (), None


def counted(run: Run, counts: ShardCounts, short: str | None) -> Run:
    """The run with its shards. Where too many of them failed or are missing (`short` says so) it is no success, whoever
    says that it is: they are its own word too, and tell more."""
    if short is None or run.belief.state is not RunState.SUCCEEDED:
        return replace(run, shards=counts)
    return replace(run, belief=_fallen(run.belief), error=short, shards=counts)


def fallen(standing: Standing, short: str | None) -> Standing:
    """An attempt of such a run, which made nothing that stays either."""
    if short is None or standing.belief.state is not RunState.SUCCEEDED:
        return standing
    return replace(standing, belief=_fallen(standing.belief))


def _fallen(belief: Belief) -> Belief:
    return Belief(RunState.FAILED, min(belief.evidence, Evidence.REPORTED))


def status_of(belief: Belief) -> PartitionStatus:
    """What a run in this state makes of its partition. A run whose end nobody knows counts as not yet over."""
    return _STATUS[belief.state]


_STATUS = {
    RunState.UNKNOWN: PartitionStatus.RUNNING,
    RunState.QUEUED: PartitionStatus.RUNNING,
    RunState.RUNNING: PartitionStatus.RUNNING,
    RunState.UP_FOR_RETRY: PartitionStatus.RUNNING,
    RunState.SUCCEEDED: PartitionStatus.READY,
    RunState.SKIPPED: PartitionStatus.SKIPPED,
    RunState.CANCELED: PartitionStatus.FAILED,
    RunState.UPSTREAM_FAILED: PartitionStatus.FAILED,
    RunState.FAILED: PartitionStatus.FAILED,
}


def output_belief(step: Standing, touch: Touch, application: Belief | None, parented: bool) -> Belief:
    """What is believed of an output that a Spark job lists (facts of openlineage-spark, invariant I13).

    FAIL stands whatever follows it. Else the application's confirmed outcome decides, for a job that came to
    its end. Without it, a job with a parent that has not spoken stays open; one that nobody will ever confirm
    is believed, weakly, when its last event carries statistics of what was written, or when there are none to carry.
    """
    said = step.belief
    if said.state is RunState.FAILED or not step.attempt.completed:
        refuted = application is not None and application.evidence >= Evidence.CONFIRMED
        failed = refuted and application is not None and application.state is not RunState.SUCCEEDED
        return Belief(RunState.FAILED, application.evidence) if failed and application else said
    if application is not None and application.evidence >= Evidence.CONFIRMED:
        lost = application.state is RunState.SUCCEEDED and _perhaps_lost(step.attempt, touch)
        return Belief(RunState.UNKNOWN, Evidence.INFERRED) if lost else application
    shown = touch.measured or _only_defines(step.attempt)
    if parented or not shown or (application is not None and application.state is RunState.FAILED):
        return Belief(RunState.UNKNOWN, Evidence.INFERRED)
    return Belief(RunState.SUCCEEDED, Evidence.INFERRED)


def _perhaps_lost(attempt: Attempt, touch: Touch) -> bool:
    """Whether the write may have failed in an application that succeeded, having caught the error.

    A plan with a shuffle or a broadcast takes several Spark jobs, and Spark's listener tells of the first job's
    failure alone. When a later one fails, nothing is left of it but that nobody counted what was written. (A write
    of no rows into partitions looks the same, and makes no partition either.)
    """
    return attempt.source.get("plan") == "adaptive_spark_plan" and not touch.measured and touch.version is None


def _only_defines(attempt: Attempt) -> bool:
    """Whether the job is a CREATE TABLE without rows."""
    plan = str(attempt.source.get("plan"))
    return plan.startswith(("create_table", "execute_create_")) and "select" not in plan


def wrote_nothing(attempt: Attempt, touch: Touch) -> bool:
    """Whether a write was over before any Spark job began: of the modes `errorifexists`, Spark's default, and `ignore`
    on an output that exists. It stays what it was."""
    return (
        attempt.source.get("plan") == "execute_insert_into_hadoop_fs_relation_command"
        and attempt.source.get("job_id") is None
        and attempt.completed
        and attempt.started_at is not None  # else the events of its Spark jobs may be lost as well
        and not touch.measured
    )
