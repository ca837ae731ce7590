"""Both mirrors on the shop's own definitions: real dbt on real DuckDB, real Dagster, the real ledger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, DefaultSensorStatus, build_sensor_context, materialize
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from dataforge_assets.dbt import dbt_daily
from dataforge_assets.definitions import defs
from dataforge_sensors.dagster_to_ledger import dagster_to_ledger
from dataforge_sensors.definitions import SENSORS
from dataforge_sensors.window import Window
from resources import LedgerResource
from resources.dbt import dbt_resource
from resources.model import FreshnessQuestion, PartitionFilter, RunFilter, RunItem
from tests.dagster.sensors.mirror_ticks import Mirror, log
from tests.dagster.shop_ledger import declared
from tests.dagster.test_dbt_assets import write_day

ORDERS = AssetKey(["warehouse", "orders"])


@pytest.fixture(autouse=True)
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of two days, in which the payments of the third are missing."""
    folder = tmp_path / "lake"
    for day, paid in (("2026-11-02", 1), ("2026-11-03", 1), ("2026-11-04", 0)):
        write_day(folder, day, ["10.00", "2.50"], paid=paid)
    monkeypatch.setenv("SHOP_LAKE", str(folder))
    monkeypatch.setenv("DATAFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SHOP_WAREHOUSE", raising=False)
    return folder


def run_dbt(instance: DagsterInstance, ledger: LedgerResource, **chosen: Any) -> list[RunItem]:
    """A real dbt run in Dagster, and the runs that the ledger then knows of."""
    declared(ledger)
    resources = {"dbt": dbt_resource(), "ledger": ledger}
    materialize([dbt_daily], instance=instance, resources=resources, raise_on_error=False, **chosen)
    context = build_sensor_context(instance=instance, definitions=defs, resources={"ledger": ledger})
    with context:
        dagster_to_ledger(context)
    return list(ledger.runs(RunFilter(limit=1000)).items)


def test_every_sensor_is_in_the_code_location_and_runs_by_default() -> None:
    held = {sensor.name: sensor for sensor in defs.get_repository_def().sensor_defs}
    assert {sensor.name for sensor in SENSORS} == {
        "ledger_to_dagster",
        "dagster_to_ledger",
        "assets_to_ledger",
        "sets_to_dagster",
        "ledger_checks",
    }
    assert all(held[sensor.name].default_status is DefaultSensorStatus.RUNNING for sensor in SENSORS)


def test_every_asset_but_the_dashboard_shows_a_dataset_of_the_ledger() -> None:
    window = Window.of(defs.get_repository_def())
    assert [asset.key.to_user_string() for asset in window.unnamed] == ["dashboards/revenue_dashboard"]
    assert window.assets[ORDERS].platform == "dbt"


def test_a_range_of_dbt_is_a_run_of_each_model_and_test_for_each_day(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    days = {ASSET_PARTITION_RANGE_START_TAG: "2026-11-02", ASSET_PARTITION_RANGE_END_TAG: "2026-11-03"}
    runs = run_dbt(instance, ledger, tags=days)
    assert {str(run.state) for run in runs} == {"succeeded"}
    models = Counter(run.partition for run in runs if run.name.startswith("model.shop."))
    assert models == {"2026-11-02": 4, "2026-11-03": 4}
    tests = {run.name for run in runs if run.name.startswith("test.shop.")}
    assert len(tests) == len(dbt_daily.check_keys)
    made = next(run for run in runs if run.name == "model.shop.orders" and run.partition == "2026-11-02")
    assert [(out.name, out.partition, out.rows) for out in made.outputs] == [("shop.main.orders", "2026-11-02", 2)]
    mirror = Mirror(instance, ledger, defs)
    mirror.until_quiet()
    assert len(log(instance, [ORDERS])) == 2


def test_what_one_run_makes_is_not_older_than_what_it_was_made_from(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    """All models of a run begin with its only step, before any of them is there."""
    run_dbt(instance, ledger, partition_key="2026-11-03")
    models = ("stg_orders", "stg_payments", "orders", "daily_revenue")
    assert _freshness(ledger, models) == {
        "stg_orders": [],
        "stg_payments": [],
        "orders": [],
        "daily_revenue": [],
    }
    run_dbt(instance, ledger, partition_key="2026-11-03", selection=[AssetKey(["warehouse", "stg_orders"])])
    assert _freshness(ledger, ("orders", "daily_revenue")) == {
        "orders": ["upstream_stale"],
        "daily_revenue": ["upstream_stale"],  # in turn
    }


def _freshness(ledger: LedgerResource, models: tuple[str, ...]) -> dict[str, list[str]]:
    asked = [FreshnessQuestion(name=f"shop.main.{model}", partition="2026-11-03") for model in models]
    items = ledger.freshness(asked).items
    return {model: [reason.code for reason in item.reasons] for model, item in zip(models, items, strict=True)}


def test_a_day_that_dbt_refuses_is_failed_in_the_ledger_and_does_not_come_back_as_an_echo(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    runs = {run.name: run for run in run_dbt(instance, ledger, partition_key="2026-11-04")}
    assert {name: str(run.state) for name, run in runs.items() if name.startswith("model.")} == {
        "model.shop.stg_orders": "succeeded",
        "model.shop.stg_payments": "failed",  # it was made, and its blocking test has failed
        "model.shop.orders": "upstream_failed",  # so dbt did not try it
        "model.shop.daily_revenue": "upstream_failed",
    }
    assert runs["model.shop.stg_payments"].error == "every_day_has_payments did not pass (failing rows: 1)"
    assert runs["test.shop.every_day_has_payments"].error == runs["model.shop.stg_payments"].error
    mirror = Mirror(instance, ledger, defs)
    mirror.until_quiet()
    assert not log(instance, [ORDERS])
    wanted = PartitionFilter(kind="dataset", name="shop.main.stg_payments")
    [payments] = ledger.partitions(wanted).items
    assert (payments.partition, payments.state) == ("2026-11-04", "failed")
    assert len(log(instance, [AssetKey(["warehouse", "stg_payments"])])) == 1
