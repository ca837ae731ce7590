"""Keeps the checks of every asset at what the ledger says now, without a run.

Guarantees that an evaluation is written where the answer differs from the one that Dagster holds, and nowhere else: it
is read back each time, so that nothing has to be remembered and a repeated tick writes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetKey,
    DagsterInstance,
    DefaultSensorStatus,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from dataforge_assets.check_result import DIGEST
from dataforge_assets.checks import Checked, checked_in, key_of, last_of, results
from dataforge_sensors.dagster_to_ledger import INTERVAL_SECONDS
from dataforge_sensors.time_budget import TimeBudget
from resources import LedgerResource
from resources.model import DataForgeError
from resources.refusal import one_line

AT_ONCE = 5_000  # assets of one question to the ledger, as many as a location has
MOST_NEWS = 1_000  # evaluations of a tick, 50 a second: what is amiss first, and the rest by the next ticks
HEARD_AFTER = timedelta(seconds=2 * INTERVAL_SECONDS)  # the other sensor's ticks, from the end of a run


@sensor(
    name="ledger_checks",
    description="Evaluates the checks of all assets by one question to the ledger.",
    minimum_interval_seconds=20,
    default_status=DefaultSensorStatus.RUNNING,
)
def ledger_checks(context: SensorEvaluationContext, ledger: LedgerResource) -> SensorResult | SkipReason:
    """One tick: all the answers, or as many as there is time for, of which those that are new are written."""
    now = datetime.now(UTC)
    assert context.repository_def is not None, "a sensor that the daemon runs has its code location"
    every = checked_in(context.repository_def)
    try:
        answers, behind = asked(ledger, every, context.cursor, now, TimeBudget())
    except DataForgeError as error:
        return SkipReason(one_line(error, "The checks stay as they are until it answers."))
    unsettled = busy(context.instance, every, now)
    settled = [answer for answer in answers if answer.asset_key not in unsettled]
    news = differing(settled, held_digests(context.instance, settled))[:MOST_NEWS]
    rest = len(every) - len({answer.asset_key for answer in answers})
    left = "" if behind is None else f" {rest} assets are asked about by the next ticks."
    summary = f"{len(news)} of {len(answers)} answers are new.{left}"
    return SensorResult(asset_events=news, skip_reason=summary, cursor=behind or "")


def asked(
    ledger: LedgerResource, assets: Sequence[Checked], after: str | None, now: datetime, budget: TimeBudget
) -> tuple[list[AssetCheckResult], str | None]:
    """The answers about these assets, a question at a time, and where there was no time for all the asset behind which
    the next tick goes on. `after`: the asset behind which this one does; from the first on, where there is none."""
    in_order = sorted(assets, key=lambda asset: asset.key)
    names = [asset.key.to_user_string() for asset in in_order]
    begin = names.index(after) + 1 if after in names[:-1] else 0
    answers: list[AssetCheckResult] = []
    for place in range(begin, len(in_order), AT_ONCE):
        answers += results(ledger, in_order[place : place + AT_ONCE], now, last_of(in_order))
        if budget.is_spent and place + AT_ONCE < len(in_order):
            return answers, names[place + AT_ONCE - 1]
    return answers, None


def busy(instance: DagsterInstance, assets: Sequence[Checked], now: datetime) -> set[AssetKey]:
    """The assets that a run is building, or has built a moment ago: of a run the ledger may have heard only a part yet,
    so that one asset of it seems older than another. The next tick decides on them."""
    moment = now - HEARD_AFTER
    records = [
        *instance.get_run_records(RunsFilter(updated_after=moment)),
        *instance.get_run_records(RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))),
    ]
    every = {asset.key for asset in assets}
    chosen = [record.dagster_run.asset_selection for record in records]
    return {key for selected in chosen for key in (every if selected is None else selected)}


def differing(answers: Sequence[AssetCheckResult], held: Mapping[AssetCheckKey, str]) -> list[AssetCheckEvaluation]:
    """The evaluations of those answers that are not held already. None names a partition: Dagster's table has one row
    for each check and partition outside of runs, so that a second evaluation of the same would fail the tick."""
    news = [answer for answer in answers if held.get(key_of(answer)) != _digest(answer.metadata)]
    return [evaluation_of(answer) for answer in sorted(news, key=lambda answer: answer.passed)]


def held_digests(instance: DagsterInstance, answers: Sequence[AssetCheckResult]) -> dict[AssetCheckKey, str]:
    """The digests of the latest evaluations that Dagster holds, by one query; of a check that a run is evaluating
    just now, or that was never evaluated, there is none."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key([key_of(answer) for answer in answers])
    evaluations = {
        key: record.event.dagster_event.event_specific_data
        for key, record in records.items()
        if record.event and record.event.dagster_event
    }
    return {
        key: digest
        for key, evaluation in evaluations.items()
        if isinstance(evaluation, AssetCheckEvaluation) and (digest := _digest(evaluation.metadata))
    }


def evaluation_of(answer: AssetCheckResult) -> AssetCheckEvaluation:
    """An answer as what is reported without a run."""
    key = key_of(answer)
    return AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=answer.passed,
        metadata=answer.metadata,
        severity=answer.severity,
        description=answer.description,
    )


def _digest(metadata: Mapping[str, object]) -> str | None:
    return getattr(metadata.get(DIGEST), "value", None)
