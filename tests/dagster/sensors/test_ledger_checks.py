"""The checks that no run evaluates: written where the answer is new, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetKey,
    DagsterInstance,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.test_utils import create_run_for_test

from dataforge_assets.check_result import DIGEST
from dataforge_assets.checks import CURRENT, checked_in
from dataforge_assets.definitions import defs
from dataforge_sensors import ledger_checks as module
from dataforge_sensors.ledger_checks import asked, busy, differing, held_digests, ledger_checks
from dataforge_sensors.time_budget import TimeBudget
from resources import LedgerResource

ORDERS = AssetKey("orders")
CHECKED = checked_in(defs.get_repository_def())


def answer(digest: str, *, passed: bool = True) -> AssetCheckResult:
    return AssetCheckResult(asset_key=ORDERS, check_name=CURRENT, passed=passed, metadata={DIGEST: digest})


def write(instance: DagsterInstance, answers: list[AssetCheckResult]) -> list[AssetCheckEvaluation]:
    news = differing(answers, held_digests(instance, answers))
    for evaluation in news:
        instance.report_runless_asset_event(evaluation)
    return news


def test_an_answer_is_written_once_until_it_differs(instance: DagsterInstance) -> None:
    told = [write(instance, [answer(digest)]) for digest in ("a", "a", "b", "b", "a")]
    assert [len(news) for news in told] == [1, 0, 1, 0, 1]


def test_an_evaluation_of_someone_else_is_followed_by_ours(instance: DagsterInstance) -> None:
    write(instance, [answer("a")])
    instance.report_runless_asset_event(AssetCheckEvaluation(asset_key=ORDERS, check_name=CURRENT, passed=False))
    assert len(write(instance, [answer("a")])) == 1


def tick(instance: DagsterInstance, ledger: LedgerResource) -> SensorResult | SkipReason:
    context = build_sensor_context(instance=instance, definitions=defs, resources={"ledger": ledger})
    with context:
        result = ledger_checks(context)
    assert isinstance(result, SensorResult | SkipReason)
    return result


def test_every_asset_has_its_check_after_one_tick_and_the_next_writes_nothing(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    first = tick(instance, ledger)
    assert isinstance(first, SensorResult)
    for evaluation in first.asset_events:
        instance.report_runless_asset_event(evaluation)
    held = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [AssetCheckKey(each.key, name) for each in CHECKED for name in each.checks]
    )
    assert {key.asset_key for key in held} == {spec.key for spec in CHECKED}
    assert len(held) == sum(len(each.checks) for each in CHECKED)
    second = tick(instance, ledger)
    assert isinstance(second, SensorResult)
    assert not second.asset_events


def test_what_a_run_has_built_a_moment_ago_is_decided_later(instance: DagsterInstance, ledger: LedgerResource) -> None:
    """The ledger may have heard of half of the run, which then looks older than the other half."""
    stg_orders = AssetKey(["warehouse", "stg_orders"])
    create_run_for_test(instance, job_name="build_days", asset_selection=frozenset({stg_orders}))
    result = tick(instance, ledger)
    assert isinstance(result, SensorResult)
    assert {event.asset_key for event in result.asset_events} == {spec.key for spec in CHECKED} - {stg_orders}
    assert busy(instance, CHECKED, datetime.now(UTC)) == {stg_orders}


def test_assets_that_a_tick_has_no_time_for_are_asked_about_by_the_next(
    ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    seen: list[AssetKey | None] = []
    behind: str | None = None
    for _ in range(5):
        answers, behind = asked(ledger, CHECKED, behind, datetime.now(UTC), TimeBudget(0))
        seen += [answer.asset_key for answer in answers]
    assert set(seen) == {each.key for each in CHECKED}
    assert len(seen) == sum(len(each.checks) for each in CHECKED)
    assert behind is None
    answers, behind = asked(ledger, CHECKED, "an asset that is no more", datetime.now(UTC), TimeBudget())
    assert (len(answers), behind) == (len(seen), None)


def test_a_ledger_that_is_down_costs_one_line(instance: DagsterInstance) -> None:
    result = tick(instance, LedgerResource(url="http://127.0.0.1:9"))
    assert isinstance(result, SkipReason)
    assert result.skip_message
    assert "\n" not in result.skip_message


def test_an_environment_that_does_not_exist_costs_one_line_with_what_to_do(
    instance: DagsterInstance, database_url: str
) -> None:
    with LedgerResource(database_url=database_url, environment="elsewhere") as nowhere:
        result = tick(instance, nowhere)
    assert isinstance(result, SkipReason)
    assert "correct DATAFORGE_ENVIRONMENT" in str(result.skip_message)
