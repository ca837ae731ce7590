"""What Dagster cannot hold, that partitions are running or have failed elsewhere, as a check of the asset."""

from __future__ import annotations

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    AssetSelection,
    DagsterInstance,
    Definitions,
    SensorResult,
    define_asset_job,
)

from dataforge_assets.ledger_state import CHECK, ledger_state_of, result_of
from resources import LedgerResource
from resources.model import DatasetRef
from tests.dagster.sensors.mirror_ticks import LAKE, ORDERS, PAYMENTS, Mirror, event, log, spec

SPECS = [spec(ORDERS), spec(PAYMENTS)]


@pytest.fixture
def mirror(instance: DagsterInstance, ledger: LedgerResource) -> Mirror:
    """A mirror of two assets with the check, seeded from an empty ledger."""
    definitions = Definitions(assets=SPECS, asset_checks=[ledger_state_of(SPECS)], resources={"ledger": ledger})
    mirror = Mirror(instance, ledger, definitions)
    mirror.tick()
    return mirror


def evaluations(mirror: Mirror, key: AssetKey = ORDERS) -> list[AssetCheckEvaluation]:
    """All results of an asset's check, the newest first."""
    found = mirror.instance.event_log_storage.get_asset_check_execution_history(AssetCheckKey(key, CHECK), limit=100)
    told = [record.event.dagster_event for record in found if record.event]
    data = [each.event_specific_data for each in told if each]
    return [each for each in data if isinstance(each, AssetCheckEvaluation)]


def test_a_failed_partition_is_a_failed_check_with_the_reason_until_it_is_made(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2026-01-02", "failed", 2, run="r7", error="no space left\non /lake")])
    mirror.tick()
    [failed] = evaluations(mirror)
    assert (failed.passed, failed.severity) == (False, AssetCheckSeverity.ERROR)
    assert failed.description == (
        "1 failed: partition 2026-01-02 is failed since 2026-03-01 00:02 UTC by run r7 of load_orders: no space left."
    )
    mirror.ledger.record([event("orders", "2026-01-02", "succeeded", 3, run="r8")])
    mirror.tick()
    assert evaluations(mirror)[0].passed
    assert not evaluations(mirror, PAYMENTS)


def test_a_running_partition_is_a_warning_and_a_failed_one_beside_it_is_named_first(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2026-01-03", "running", 2)])
    mirror.tick()
    mirror.ledger.record([event("orders", "2026-01-01", "failed", 3)])
    mirror.tick()
    both, running = evaluations(mirror)
    assert (running.passed, running.severity) == (False, AssetCheckSeverity.WARN)
    assert (both.passed, both.severity) == (False, AssetCheckSeverity.ERROR)
    assert (both.description or "").startswith("1 failed, 1 running: partition 2026-01-01 is failed since")


def test_only_what_changes_is_written_and_ready_partitions_change_nothing(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2026-01-01", "failed", 1)])
    mirror.tick()
    mirror.ledger.record([event("orders", f"2026-01-{day:02}", "succeeded", day) for day in range(2, 9)])
    mirror.tick()
    mirror.tick()
    assert len(evaluations(mirror)) == 1


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_a_tick_that_is_killed_leaves_the_state_and_its_check_there_once(mirror: Mirror, killed_after: int) -> None:
    mirror.ledger.record([event("orders", "2026-01-01", "failed", 1)])
    mirror.tick(killed_after=killed_after)
    mirror.tick()
    mirror.tick()
    assert (len(log(mirror.instance)), len(evaluations(mirror))) == (1, 1)


def test_the_check_that_a_person_runs_says_what_the_sensor_says(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2026-01-01", "failed", 1)])
    mirror.tick()
    job = define_asset_job("check", AssetSelection.all_asset_checks())
    definitions = Definitions(
        assets=SPECS, asset_checks=[ledger_state_of(SPECS)], jobs=[job], resources={"ledger": mirror.ledger}
    )
    assert definitions.resolve_job_def("check").execute_in_process(instance=mirror.instance).success
    by_run, by_sensor = evaluations(mirror)
    assert (by_run.passed, by_run.description, by_run.metadata) == (
        by_sensor.passed,
        by_sensor.description,
        by_sensor.metadata,
    )
    result = mirror.evaluate()
    assert isinstance(result, SensorResult)
    assert not result.asset_events


def test_the_result_links_to_what_it_speaks_of(ledger: LedgerResource) -> None:
    ledger.record([event("orders", "2026-01-01", "failed", 1)])
    by_http = LedgerResource(url="http://127.0.0.1:8700/", environment="dev")
    [change] = ledger.newest([DatasetRef(LAKE, "orders")]).items
    link = result_of(ORDERS, [change], by_http.page_of).metadata["dataforge/ledger"].value
    assert link == (
        "http://127.0.0.1:8700/api/v1/dev/partitions"
        "?kind=dataset&namespace=s3%3A%2F%2Flake&name=orders&partition=2026-01-01"
    )
    assert "dataforge/ledger" not in result_of(ORDERS, [change], ledger.page_of).metadata
