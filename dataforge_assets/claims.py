"""What a step of Dagster holds in the ledger while it runs: the claims of what it is to make.

Guarantees that a step which may not run makes nothing and says why, of each partition; that the ledger hears of each
partition what became of it as soon as the step has ended, out of Dagster's own log; and that its attempts are those of
the run's own events (`dataforge_sensors.run_events`), so that nothing is told twice. A step that is killed says
nothing: its claims run out, or end when Dagster tries again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    DagsterEvent,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterRun,
    Failure,
    MetadataValue,
)
from dagster._core.storage.tags import (
    AUTO_MATERIALIZE_TAG,
    AUTOMATION_CONDITION_TAG,
    BACKFILL_ID_TAG,
    RETRY_NUMBER_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
    USER_TAG,
)

from resources import LedgerResource
from resources.attempt import STEP_BEGINS, runs_before, tries
from resources.identity import own_dataset, own_task, source_of
from resources.materialization import finding_of, named_of, output_of
from resources.model import (
    Again,
    ClaimingTogether,
    ClaimRefused,
    Code,
    DatasetRef,
    EndOf,
    Member,
    NotFound,
    Outcome,
    Said,
    TaskRef,
    Unreachable,
    Verdict,
)

LEASE_SECONDS = 300  # how long after a step was killed another may run, unless Dagster itself tries again before
BEATS = 3  # in the time of a lease, so that one that is lost does no harm
REFUSED = "dataforge/refused"  # metadata of a failure: nothing was begun, since the ledger let nothing run
NOT_BEGUN = "dataforge/not_begun"  # metadata of a failure: the assets that were not tried, since one before them failed
AGAIN = "dataforge/again"  # tag of a run: why what is done is to be run again
_BY_ITSELF = frozenset(
    {
        SCHEDULE_NAME_TAG,
        SENSOR_NAME_TAG,
        BACKFILL_ID_TAG,
        AUTO_MATERIALIZE_TAG,
        AUTOMATION_CONDITION_TAG,
        RETRY_NUMBER_TAG,
    }
)
_MADE = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION}
_OVER = frozenset({Code.ALREADY_DONE, Code.CANCELED})
_DECLARE = "Declare it in the ledger (of an asset that names no task the sensor `assets_to_ledger` does),"
_SHOWN = 20  # partitions whose reasons a failure lists


class Target(NamedTuple):
    """What a step is to make, and who the ledger takes for its maker."""

    asset: AssetKey
    partition: str | None
    task: TaskRef
    dataset: DatasetRef | None


def targets_of(context: AssetExecutionContext) -> list[Target]:
    """What the step is to make."""
    specs = context.assets_def.specs_by_key
    keys = [str(key) for key in partitions_of(context)]
    found = []
    for asset in sorted(context.selected_asset_keys):
        spec = specs[asset]
        task, dataset = own_task(asset, spec.metadata), own_dataset(asset, spec.metadata)
        mine: Sequence[str | None] = [None] if spec.partitions_def is None else keys
        found += [Target(asset, key, task, dataset) for key in mine]
    return found


def partitions_of(context: AssetExecutionContext) -> Sequence[str]:
    """The partitions of the run, as Dagster has their keys; none of what has no partitions."""
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else ()


@contextmanager
def holding(context: AssetExecutionContext, targets: Sequence[Target], lease_seconds: int) -> Iterator[None]:
    """Claims these targets of the step; what is yielded within is written to Dagster's log before it ends. Raises
    Failure where the ledger lets it not run, and then nothing was claimed."""
    ledger: LedgerResource = context.resources.ledger
    claims = _claimed(context, ledger, targets, lease_seconds)
    over = Event()
    beats = Thread(target=_beat, args=(context, ledger, claims, lease_seconds, over), daemon=True)
    beats.start()
    problem: BaseException | None = None
    try:
        yield
    except BaseException as error:
        problem = error
        raise
    finally:
        over.set()
        beats.join()
        _end(context, ledger, dict(zip(targets, claims, strict=True)), problem)


def _claimed(
    context: AssetExecutionContext, ledger: LedgerResource, targets: Sequence[Target], lease_seconds: int
) -> list[str]:
    """The claims, in the order of the targets."""
    run, step = context.run, context.op_execution_context.get_step_execution_context().step.key
    before = tries(context.instance, runs_before(context.instance, run)).get(step, 0)
    attempt = before + context.retry_number + 1
    execution = run.root_run_id or run.run_id
    members = tuple(
        Member(
            name=each.task.name,
            namespace=each.task.namespace,
            partition=each.partition or "",
            run=f"{execution}:{each.partition}" if each.partition else execution,
            attempt=attempt,
        )
        for each in targets
    )
    wanted = ClaimingTogether(
        partitions=members,
        worker=f"Dagster's run {run.run_id}",
        lease_seconds=lease_seconds,
        source={**source_of(run), "step_key": step},
        again=again_of(run),
    )
    try:
        return [each.claim for each in ledger.claim_together(wanted).granted]
    except ClaimRefused as refused:
        raise _refused(targets, refused, by_hand=wanted.again is not None) from None
    except NotFound as unknown:
        remedy = f"{_DECLARE} or make it without `claimed`."
        raise Failure(f"{unknown} {remedy}", metadata={REFUSED: True}) from None
    except Unreachable as error:
        raise Failure(f"The ledger cannot be asked whether this may run: {error}", metadata={REFUSED: True}) from None


def again_of(run: DagsterRun) -> Again | None:
    """Whether what is done is to be run again: where a person has launched the run by hand, or whoever launched it has
    given it the tag `dataforge/again`."""
    by = run.tags.get(USER_TAG, "somebody in Dagster")
    if AGAIN in run.tags:
        return Again(by, run.tags[AGAIN] or "launched so in Dagster")
    return None if _BY_ITSELF & run.tags.keys() else Again(by, f"launched by hand in Dagster, run {run.run_id}")


def _refused(targets: Sequence[Target], refused: ClaimRefused, *, by_hand: bool) -> Failure:
    verdicts = (refused.verdict, *refused.others)
    lines = [f"- {_subject(each)}: {reason.message}" for each in verdicts[:_SHOWN] for reason in each.reasons]
    done = any(reason.code in _OVER for each in verdicts for reason in each.reasons)
    remedy = f" To have it run again, launch it by hand or with the tag {AGAIN}." if done and not by_hand else ""
    return Failure(
        f"{refused}.{remedy}",
        metadata={
            REFUSED: True,
            "dataforge/reasons": MetadataValue.md("\n".join(lines)),
            "dataforge/partitions": len(targets),
        },
    )


def _subject(verdict: Verdict) -> str:
    return f"{verdict.task.name} for {verdict.partition}" if verdict.partition else verdict.task.name


def _beat(
    context: AssetExecutionContext, ledger: LedgerResource, claims: Sequence[str], lease_seconds: int, over: Event
) -> None:
    """Extends the leases until the step is over."""
    while not over.wait(lease_seconds / BEATS):
        try:
            lost = ledger.heartbeat_all(claims, lease_seconds).lost
        except Unreachable as error:  # the lease may run until the ledger answers again
            context.log.warning("The claims could not be extended: %s", error)
        else:
            if lost:
                context.log.error("%d of %d claims are lost, such as: %s", len(lost), len(claims), lost[0].message)
                return


def _end(
    context: AssetExecutionContext,
    ledger: LedgerResource,
    claims: Mapping[Target, str],
    problem: BaseException | None,
) -> None:
    """Tells of each partition what became of it."""
    events = _logged(context)
    made = {place: event for event in events if (place := _made(event)) is not None}
    wrong = dict(_failed_checks(events))
    ends = []
    for target, claim in claims.items():
        event = made.get((target.asset, target.partition)) or made.get((target.asset, None))
        found = wrong.get((target.asset, target.partition)) or wrong.get((target.asset, None))
        ends.append(EndOf(claim=claim, **_ending(target, event, found, problem)))
    try:
        lost = ledger.end_all(ends).lost
    except Unreachable as error:  # the mirror tells what was made; what was not runs out
        context.log.error("The ledger could not be told how this ended: %s", error)
    else:
        if lost:
            context.log.error("Of %d claims the end was not taken, such as: %s", len(lost), lost[0].message)


def _ending(
    target: Target, made: DagsterEvent | None, wrong: str | None, problem: BaseException | None
) -> dict[str, Any]:
    """How one ended: made, made and found to be bad, not chosen, or not made for a reason."""
    if made is not None:
        materialization = made.step_materialization_data.materialization
        written = output_of(target.dataset, target.partition, materialization)
        ending: Said = "failed" if wrong else "completed"
        return {"ending": ending, "outcome": Outcome(outputs=written, error=wrong)}
    if problem is None:
        return {"ending": "skipped"}
    if target.asset.to_user_string() in _not_begun(problem):
        return {"ending": "upstream_failed"}
    named = named_of(target.dataset, target.partition)
    touched = [named] if named else []  # it may have written something
    if isinstance(problem, DagsterExecutionInterruptedError):
        return {"ending": "canceled", "outcome": Outcome(outputs=touched, error="Dagster's run was interrupted")}
    said = problem.description if isinstance(problem, Failure) and problem.description else str(problem)
    return {"ending": "failed", "outcome": Outcome(outputs=touched, error=said or type(problem).__name__)}


def _not_begun(problem: BaseException) -> Sequence[str]:
    named = problem.metadata.get(NOT_BEGUN) if isinstance(problem, Failure) else None
    return named.value if named is not None and isinstance(named.value, list) else ()


def _logged(context: AssetExecutionContext) -> list[DagsterEvent]:
    """What this try of the step has written to Dagster's log of what it made and checked."""
    step = context.op_execution_context.get_step_execution_context().step.key
    records = context.instance.get_records_for_run(context.run.run_id, of_type=STEP_BEGINS | _MADE).records
    found: list[DagsterEvent] = []
    for record in sorted(records, key=lambda record: record.storage_id):
        event = record.event_log_entry.dagster_event
        if event is not None and event.step_key == step:
            found = [] if event.event_type in STEP_BEGINS else [*found, event]
    return found


def _made(event: DagsterEvent) -> tuple[AssetKey, str | None] | None:
    if event.event_type is not DagsterEventType.ASSET_MATERIALIZATION:
        return None
    made = event.step_materialization_data.materialization
    return made.asset_key, None if made.partition is None else str(made.partition)


def _failed_checks(events: Sequence[DagsterEvent]) -> Iterator[tuple[tuple[AssetKey, str | None], str]]:
    """The checks that let nothing be built from an asset."""
    for event in events:
        found = event.event_specific_data
        if isinstance(found, AssetCheckEvaluation) and _lets_nothing_on(found):
            yield (found.asset_key, found.partition), finding_of(found)


def _lets_nothing_on(check: AssetCheckEvaluation) -> bool:
    return bool(check.blocking) and not check.passed and check.severity is AssetCheckSeverity.ERROR
