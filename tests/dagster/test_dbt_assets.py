"""Dagster really runs dbt on DuckDB: for a day, the same day again, a range, a week, and a day that is not there.

A run of dbt takes six seconds of a core. What several tests begin with is built once, in the one process that runs them
(xdist's group `dbt`), and each of them goes on with a copy.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dagster import (
    AssetKey,
    AssetsDefinition,
    DagsterInstance,
    DataVersion,
    ExecuteInProcessResult,
    materialize,
)
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from dataforge_assets.checks import CHECKS
from dataforge_assets.claims import NOT_BEGUN
from dataforge_assets.dbt import dbt_daily, dbt_weekly
from dataforge_assets.definitions import defs
from dataforge_assets.hands.dbt import RESULTS
from resources import LedgerResource
from resources.dbt import PROJECT, dbt_resource, places
from tests.dagster.shop_ledger import modelled, shop_ledger

DAILY_MODELS = {"stg_orders", "stg_payments", "orders", "daily_revenue"}
DAYS = ("2026-11-02", "2026-11-03", "2026-11-04")
pytestmark = pytest.mark.xdist_group("dbt")

_ORDERS = "order_id,customer_id,segment,country,ordered_at,amount,currency"
_PAYMENTS = "payment_id,order_id,paid_at,method,amount,currency"


def write_day(lake: Path, day: str, amounts: list[str], *, paid: int) -> None:
    """A day of the lake: an order of each amount, the first `paid` of them paid; with none there is no file."""
    orders = [f"O{day}-{n},C1,new,DE,{day}T08:00:00Z,{amount},EUR" for n, amount in enumerate(amounts)]
    payments = [f"P{day}-{n},O{day}-{n},{day}T09:00:00Z,card,{amounts[n]},EUR" for n in range(paid)]
    for name, lines in (("orders_enriched", [_ORDERS, *orders]), ("payments", [_PAYMENTS, *payments])):
        folder = lake / name / f"ds={day}"
        folder.mkdir(parents=True, exist_ok=True)
        if len(lines) > 1:
            (folder / "part-00000.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lake of this folder, from which dbt reads now; it writes beside it."""
    monkeypatch.setenv("SHOP_LAKE", str(folder / "lake"))
    monkeypatch.setenv("DATAFORGE_HOME", str(folder / "home"))
    monkeypatch.delenv("SHOP_WAREHOUSE", raising=False)
    return folder / "lake"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of three days, each with two orders of which one is paid; nothing is built."""
    folder = place(tmp_path, monkeypatch)
    for day in DAYS:
        write_day(folder, day, ["10.00", "2.50"], paid=1)
    return folder


@pytest.fixture(scope="module")
def shop(postgres_server: str, template_database: str) -> Iterator[LedgerResource]:
    """The ledger of the shop, which lets dbt build every day of these."""
    with shop_ledger(postgres_server, template_database) as ledger:
        yield ledger


def build(
    shop: LedgerResource, models: AssetsDefinition, first: str, last: str | None = None, **more: Any
) -> ExecuteInProcessResult:
    ranged = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
    chosen: dict[str, Any] = {"tags": ranged} if last else {"partition_key": first}
    with DagsterInstance.ephemeral() as instance:
        return materialize(
            [models], instance=instance, resources={"dbt": dbt_resource(), "ledger": shop}, **chosen, **more
        )


Built = tuple[Path, ExecuteInProcessResult]  # a lake with what is built beside it, and the run that built it


@pytest.fixture(scope="module")
def first_range(shop: LedgerResource, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A range of three days; the last has three orders, of which two are paid, the others two and one."""
    folder = tmp_path_factory.mktemp("range")
    with pytest.MonkeyPatch.context() as monkeypatch:
        lake = place(folder, monkeypatch)
        for day in DAYS[:2]:
            write_day(lake, day, ["10.00", "2.50"], paid=1)
        write_day(lake, DAYS[2], ["1.00", "2.00", "3.00"], paid=2)
        result = build(shop, dbt_daily, DAYS[0], DAYS[2])
    return folder, result


@pytest.fixture(scope="module")
def first_refusal(shop: LedgerResource, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A day without payments, after one with."""
    folder = tmp_path_factory.mktemp("refused")
    with pytest.MonkeyPatch.context() as monkeypatch:
        lake = place(folder, monkeypatch)
        write_day(lake, "2026-11-04", ["10.00"], paid=1)
        write_day(lake, "2026-11-05", ["10.00"], paid=0)
        result = build(shop, dbt_daily, "2026-11-05", raise_on_error=False)
    return folder, result


@pytest.fixture
def ranged(first_range: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """The range, as it was built, for this test alone."""
    return _copied(first_range, tmp_path, monkeypatch)


@pytest.fixture
def refused(first_refusal: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """The day that was refused, as it was left, for this test alone."""
    return _copied(first_refusal, tmp_path, monkeypatch)


def _copied(built: Built, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    origin, result = built
    shutil.copytree(origin, folder, dirs_exist_ok=True)
    return place(folder, monkeypatch), result


def table(model: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(places().warehouse, read_only=True) as connection:
        return sorted(connection.table(f"main.{model}").fetchall())


def built(result: ExecuteInProcessResult) -> dict[tuple[str, str | None], int]:
    """The rows that each materialization names, by model and partition."""
    return {
        (event.asset_key.path[-1], event.partition): rows
        for event in result.get_asset_materialization_events()
        if event.asset_key
        and isinstance(rows := event.materialization.metadata["dagster/partition_row_count"].value, int)
    }


def test_a_day_is_built_into_the_installations_own_folder(shop: LedgerResource, lake: Path) -> None:
    before = sorted(PROJECT.rglob("*"))
    result = build(shop, dbt_daily, "2026-11-03")
    assert result.success
    assert places().warehouse.is_relative_to(lake.parent / "home")
    assert table("daily_revenue") == [(date(2026, 11, 3), 2, 1, pytest.approx(12.5), pytest.approx(10))]
    assert sorted(PROJECT.rglob("*")) == before
    assert built(result) == {
        (name, "2026-11-03"): {"daily_revenue": 1, "stg_payments": 1}.get(name, 2) for name in DAILY_MODELS
    }


def test_every_dbt_test_is_a_check_that_ran(first_range: Built) -> None:
    evaluations = first_range[1].get_asset_check_evaluations()
    assert {check.check_name for check in evaluations} == {key.name for key in dbt_daily.check_keys}
    assert all(check.passed for check in evaluations)


def test_a_day_built_again_has_what_the_lake_has_now(shop: LedgerResource, ranged: Built) -> None:
    lake, first = ranged
    write_day(lake, "2026-11-03", ["1.00"], paid=1)
    again = build(shop, dbt_daily, "2026-11-03")
    revenue = [(row[0].day, row[1], float(row[4])) for row in table("daily_revenue")]
    assert revenue == [(2, 2, 10.0), (3, 1, 1.0), (4, 3, 3.0)]
    assert built(again)["orders", "2026-11-03"] == 1
    assert versions(first).isdisjoint(versions(again))


def versions(result: ExecuteInProcessResult) -> set[DataVersion]:
    return {
        DataVersion((event.materialization.tags or {})["dagster/data_version"])
        for event in result.get_asset_materialization_events()
    }


def test_a_range_is_one_invocation_and_each_of_its_days_a_materialization_with_its_own_rows(
    shop: LedgerResource, ranged: Built
) -> None:
    counted = built(ranged[1])
    assert {partition for _, partition in counted} == {*DAYS}
    assert [counted["orders", day] for day in DAYS] == [2, 2, 3]
    assert len(versions(ranged[1])) == 1
    assert build(shop, dbt_daily, DAYS[0], DAYS[2]).success
    assert len(table("orders")) == 7


@pytest.mark.usefixtures("ranged")
def test_a_week_is_built_from_its_days_and_warns_of_those_that_are_missing(shop: LedgerResource) -> None:
    modelled(shop, "daily_revenue")
    result = build(shop, dbt_weekly, "2026-11-02")
    assert result.success
    assert [(row[0], row[1], row[2]) for row in table("weekly_revenue")] == [(date(2026, 11, 2), 3, 7)]
    failed = {
        check.check_name: check.severity.name for check in result.get_asset_check_evaluations() if not check.passed
    }
    assert failed == {"weekly_revenue_has_seven_days": "WARN"}


def test_a_day_without_payments_is_refused_and_nothing_below_it_is_built(first_refusal: Built) -> None:
    _, result = first_refusal
    assert not result.success
    assert {name for name, _ in built(result)} == {"stg_orders", "stg_payments"}
    failed = [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]
    assert failed == ["every_day_has_payments"]


@pytest.mark.usefixtures("lake")
def test_what_a_run_has_built_itself_is_not_asked_for_in_the_ledger(shop: LedgerResource) -> None:
    stg_orders = AssetKey(["warehouse", "stg_orders"])
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={stg_orders})
    doors = {"ledger": shop, "dbt": dbt_resource()}
    with DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, partition_key="2026-11-02", resources=doors)
    assert "ledger_checks" in {event.step_key for event in result.all_events}
    assert not CHECKS.keys() & {check.check_name for check in result.get_asset_check_evaluations()}


@pytest.mark.usefixtures("ranged")
def test_one_model_alone_is_built_alone(shop: LedgerResource) -> None:
    result = build(shop, dbt_daily, "2026-11-02", selection=[AssetKey(["warehouse", "daily_revenue"])])
    assert built(result) == {("daily_revenue", "2026-11-02"): 1}


def not_begun(result: ExecuteInProcessResult) -> Any:
    [failure] = [event for event in result.all_events if event.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data
    return data.metadata[NOT_BEGUN].value


def test_a_failure_names_what_dbt_did_not_begin_and_the_next_run_cannot_find_its_results(
    shop: LedgerResource, refused: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, result = refused
    assert sorted(not_begun(result)) == ["warehouse/daily_revenue", "warehouse/orders"]
    monkeypatch.setenv("SHOP_WAREHOUSE", str(lake))  # a folder, so that dbt cannot even connect
    results = places().target / "dbt_daily" / RESULTS
    assert results.exists()
    assert not build(shop, dbt_daily, "2026-11-05", raise_on_error=False).success
    assert not results.exists()
