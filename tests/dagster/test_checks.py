"""The check that upstreams are current, on a real ledger that holds the shop's definitions and some of its runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetKey,
    DagsterInstance,
    Definitions,
    TableMetadataValue,
    asset,
)
from msgspec.structs import replace

from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.model import manifest
from dataforge.storage.database import Database
from dataforge_assets.checks import (
    CHECK,
    DIGEST,
    KEPT,
    checked_in,
    questions_of,
    result_of,
    results,
    upstream_checks,
)
from dataforge_assets.dbt import DBT_ASSETS
from dataforge_assets.definitions import CHECKS, WINDOW, defs
from dataforge_sensors.freshness_checks import differing, evaluation_of, held_digests
from resources import LedgerResource
from resources.dbt import MANIFEST, dbt_resource
from resources.identity import ledger_metadata

DAYS = [f"2026-11-{day:02}" for day in range(2, 9)]  # the first week
NOW = datetime(2026, 11, 20, tzinfo=UTC)
LATER = datetime(2026, 11, 13, 9, tzinfo=UTC)  # when a day is run again
PRODUCED = {  # in the order of their runs, with what each reads
    "orders": (),
    "payments": (),
    "orders_enriched": ("orders",),
    "stg_orders": ("orders_enriched",),
    "stg_payments": ("payments",),
    "daily_orders": ("stg_orders", "stg_payments"),
    "daily_revenue": ("daily_orders",),
}
CHECKED = checked_in(defs.get_repository_def())
SPECS = {each.key.to_user_string(): each for each in CHECKED}


def dataset(name: str, day: str) -> dict[str, str]:
    if name in ("orders", "payments", "orders_enriched"):
        return {"namespace": "s3://shop-lake", "name": name, "partition": day}
    relation = "orders" if name == "daily_orders" else name
    return {"namespace": "duckdb://shop.duckdb", "name": f"shop.main.{relation}", "partition": day}


def task(name: str) -> dict[str, str]:
    if name in ("orders", "payments"):
        return {"namespace": "shop-airflow", "name": f"shop_daily.load_{name}"}
    if name == "orders_enriched":
        return {"namespace": "shop-airflow", "name": "shop_daily.enrich_orders"}
    return {"namespace": "shop-dbt", "name": f"model.shop.{'orders' if name == 'daily_orders' else name}"}


def run(name: str, day: str, begun: datetime) -> list[dict[str, Any]]:
    """The two events of a run of five minutes."""
    said = {"task": task(name), "partition": day, "run": f"{name} of {day} @{begun:%m-%d}"}
    done = {"inputs": [dataset(each, day) for each in PRODUCED.get(name, ())], "outputs": [dataset(name, day)]}
    ended = begun + timedelta(minutes=5)
    return [
        {**said, "time": begun.isoformat(), "state": "running"},
        {**said, "time": ended.isoformat(), "state": "succeeded", **done},
    ]


def usual(name: str, day: str) -> datetime:
    """When a task runs for a day: on the next, each after those before it."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1, minutes=10 * list(PRODUCED).index(name))


def record(ledger: LedgerResource, *events: list[dict[str, Any]]) -> None:
    assert ledger.record([event for some in events for event in some]).rejected == []


def record_days(ledger: LedgerResource, days: list[str]) -> None:
    """Days on which everything ran as it should."""
    record(ledger, *(run(name, day, usual(name, day)) for day in days for name in PRODUCED))


@pytest.fixture
def ledger(database: Database) -> LedgerResource:
    """The ledger with the shop's definitions, and no run."""
    ledger = LedgerResource(database_url=database.url)
    shop = yaml.safe_load((MANIFEST.parents[1] / "definitions.yaml").read_text(encoding="utf-8"))
    ledger.declare("shop", shop)
    dbt = from_dbt(MANIFEST.read_bytes(), "shop-dbt", "duckdb://shop.duckdb")
    ledger.declare(dbt.source, manifest.to_json(dbt))
    return ledger


def check(ledger: LedgerResource, asset: str) -> AssetCheckResult:
    [found] = results(ledger, [SPECS[asset]], NOW)
    return found


def causes(result: AssetCheckResult) -> list[dict[str, Any]]:
    table = (result.metadata or {})["dataforge/causes"]
    assert isinstance(table, TableMetadataValue)
    return [dict(record.data) for record in table.records]


def test_every_asset_with_upstreams_is_checked() -> None:
    models = ("stg_orders", "stg_payments", "orders", "daily_revenue", "weekly_revenue")
    assert SPECS.keys() == {"lake/orders_enriched", *(f"warehouse/{model}" for model in models)}


def test_what_was_built_after_its_upstreams_passes(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    found = results(ledger, CHECKED, NOW)
    assert {result.description for result in found if not result.passed} == set()
    assert [result.asset_key for result in found] == [spec.key for spec in CHECKED]
    assert check(ledger, "warehouse/orders").description == "7 built partitions are current."


def test_what_was_never_built_passes(ledger: LedgerResource) -> None:
    result = check(ledger, "warehouse/weekly_revenue")
    assert (result.passed, result.description) == (True, "0 built partitions are current.")


def test_a_day_run_again_upstream_is_named_with_its_run_and_time(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    record(ledger, run("orders", DAYS[3], LATER), run("orders_enriched", DAYS[3], LATER + timedelta(minutes=10)))
    assert check(ledger, "lake/orders_enriched").passed
    result = check(ledger, "warehouse/stg_orders")
    assert not result.passed
    assert result.description is not None
    assert result.description.startswith("2026-11-05: s3://shop-lake/orders_enriched for 2026-11-05 was written again")
    assert result.description.endswith(", by run orders_enriched of 2026-11-05 @11-13.")
    assert causes(result) == [
        {
            "partition": "2026-11-05",
            "cause": "upstream_stale",
            "upstream": "s3://shop-lake/orders_enriched",
            "upstream_partition": "2026-11-05",
            "since": "2026-11-13 09:15 UTC",
            "run": "orders_enriched of 2026-11-05 @11-13",
            "owner": "team-data@shop.example",
            "because": "",
        }
    ]
    assert check(ledger, "warehouse/stg_payments").passed


def test_an_upstream_that_was_never_built_is_missing_to_what_was_built_without_it(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    day = "2026-11-12"
    record(ledger, *(run(name, day, usual(name, day)) for name in PRODUCED if name not in ("payments", "stg_payments")))
    result = check(ledger, "warehouse/orders")
    assert not result.passed
    assert [(row["partition"], row["cause"], row["upstream"]) for row in causes(result)] == [
        (day, "upstream_missing", "duckdb://shop.duckdb/shop.main.stg_payments")
    ]


def test_the_sentence_of_a_missing_upstream_says_since_when_by_which_run_and_whose_it_is(
    ledger: LedgerResource,
) -> None:
    record_days(ledger, DAYS)
    day = "2026-11-12"
    record(ledger, *(run(name, day, usual(name, day)) for name in PRODUCED if name not in ("payments", "stg_payments")))
    unknown = check(ledger, "warehouse/orders").description
    assert unknown == (
        "2026-11-12: duckdb://shop.duckdb/shop.main.stg_payments for 2026-11-12 is missing (no run of it is known),"
        " since 2026-11-13 00:00 UTC, owned by team-analytics@shop.example."
    )
    failed = {**run("stg_payments", day, usual("stg_payments", day))[0], "state": "failed"}
    record(ledger, [failed])
    description = check(ledger, "warehouse/orders").description or ""
    assert (
        "(its run failed), since 2026-11-13 00:40 UTC, by run stg_payments of 2026-11-12 @11-13, owned by"
        in description
    )


def test_a_week_is_stale_by_any_of_its_days_and_the_description_names_the_first(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    week = run("weekly_revenue", DAYS[0], datetime(2026, 11, 9, 12, tzinfo=UTC))
    record(ledger, week)
    assert check(ledger, "warehouse/weekly_revenue").passed
    again = [run("daily_revenue", day, LATER + timedelta(hours=n)) for n, day in enumerate(reversed(DAYS[2:5]))]
    record(ledger, *again)
    result = check(ledger, "warehouse/weekly_revenue")
    assert [row["upstream_partition"] for row in causes(result)] == DAYS[2:5]
    assert result.description is not None
    assert result.description.startswith("2026-11-02: duckdb://shop.duckdb/shop.main.daily_revenue for 2026-11-06 ")
    assert result.description.endswith(", and 2 more.")


def test_the_digest_changes_with_what_is_amiss_and_with_nothing_else(ledger: LedgerResource) -> None:
    def digest() -> Any:
        return (check(ledger, "warehouse/stg_orders").metadata or {})[DIGEST]

    record_days(ledger, DAYS[:5])
    well = digest()
    record_days(ledger, DAYS[5:])
    assert digest() == well
    record(ledger, run("orders_enriched", DAYS[3], LATER))
    stale = digest()
    assert stale != well
    assert digest() == stale
    record(ledger, run("orders_enriched", DAYS[4], LATER))
    assert digest() not in (well, stale)


def test_only_the_last_partitions_that_have_begun_are_asked_for() -> None:
    asked = questions_of(SPECS["warehouse/orders"], datetime(2026, 11, 5, 12, tzinfo=UTC))
    assert [question.partition for question in asked] == DAYS[:3]
    assert len(questions_of(SPECS["warehouse/weekly_revenue"], NOW)) == 2


def test_what_the_ledger_cannot_tell_does_not_pass(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    [question, *_] = questions_of(SPECS["warehouse/orders"], NOW)
    [answer] = ledger.freshness([question]).items
    unknown = replace(answer, status=type(answer.status)("unknown"))
    result = result_of(AssetKey("orders"), [unknown])
    assert (result.passed, result.description) == (False, "The ledger cannot tell what it was built from.")


def test_dagster_runs_the_check_of_the_selected_assets_alone(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    record(ledger, run("orders", DAYS[3], LATER))
    key = AssetCheckKey(AssetKey(["lake", "orders_enriched"]), CHECK)
    defs = Definitions(
        assets=[*WINDOW, *DBT_ASSETS],
        asset_checks=[CHECKS],
        resources={"ledger": ledger, "dbt": dbt_resource()},
    )
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={key}, asset_selection=set())
    with DagsterInstance.ephemeral() as instance:
        [evaluation] = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert (evaluation.asset_check_key, evaluation.passed) == (key, False)


def test_what_a_run_has_just_built_keeps_the_result_from_before_until_the_ledger_knows(ledger: LedgerResource) -> None:
    """And the sensor's next answer is news, whatever it is."""
    record_days(ledger, DAYS)
    record(ledger, run("orders", DAYS[3], LATER))
    key = AssetKey(["lake", "orders_enriched"])

    @asset(key=key, deps=["orders"], metadata=ledger_metadata(dataset=("s3://shop-lake", "orders_enriched")))
    def built() -> None: ...

    checks = upstream_checks([built])
    defs = Definitions(assets=[built], asset_checks=[checks], resources={"ledger": ledger})
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={key}, asset_check_selection={AssetCheckKey(key, CHECK)}
    )
    with DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).get_asset_check_evaluations() == []
        before = check(ledger, "lake/orders_enriched")
        instance.report_runless_asset_event(evaluation_of(before))
        for _ in range(2):
            [evaluation] = job.execute_in_process(instance=instance).get_asset_check_evaluations()
            assert (evaluation.passed, evaluation.severity) == (False, before.severity)
            assert evaluation.description == f"{KEPT}{before.description}"
        assert differing([before], held_digests(instance, [before]))
