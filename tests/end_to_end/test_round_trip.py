"""From an event over HTTP to a green partition, and from a run in Dagster to another verdict: nothing between
the two halves is simulated."""

import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from dataforge.cli.example import PROPOSAL
from tests.end_to_end.conftest import Shop, eventually

CHECK = "upstreams_are_current"
LATE = Path(__file__).parents[2] / "examples" / "shop" / "late"

pytestmark = pytest.mark.xdist_group("shop")


def test_the_fortnight_is_green_where_the_ledger_says_ready(shop: Shop) -> None:
    wanted = {
        "lake/orders": [("2026-11-02", "2026-11-15")],
        "lake/payments": [("2026-11-02", "2026-11-11"), ("2026-11-13", "2026-11-14")],
        "warehouse/daily_revenue": [("2026-11-02", "2026-11-11"), ("2026-11-13", "2026-11-14")],
        "warehouse/weekly_revenue": [("2026-11-02", "2026-11-02")],
    }
    for asset, ranges in wanted.items():
        eventually(partial(_shows, shop, asset, ranges), 60, f"{asset} shows {ranges}")


def test_an_event_makes_a_partition_green_and_a_dbt_run_changes_the_verdict_downstream(shop: Shop) -> None:
    """The late payments arrive; dbt stages them in Dagster; what joins them may run then."""
    day = "2026-11-15"
    assert shop.verdict("model.shop.stg_payments", day)["runnable"] is False
    shutil.copytree(LATE / "payments", shop.settings.home / "shop" / "lake" / "payments", dirs_exist_ok=True)
    sent = shop.ledger.post("/api/v1/lineage", content=(LATE / "load_payments.jsonl").read_bytes())
    assert sent.status_code == 201, sent.text
    eventually(lambda: shop.dagster.is_materialized("lake/payments", day), 60, "the payments are green in Dagster")

    assert shop.verdict("model.shop.stg_payments", day)["runnable"] is True
    assert [reason["code"] for reason in shop.verdict("model.shop.orders", day)["reasons"]] == ["upstream_missing"]
    backfill = shop.dagster.materialize("warehouse/stg_payments", day)
    eventually(lambda: shop.dagster.backfill_status(backfill) == "COMPLETED_SUCCESS", 240, "dbt has run")
    verdict = eventually(lambda: _runnable(shop, "model.shop.orders", day), 60, "orders may run")
    assert verdict["reasons"] == []
    (made,) = shop.dagster.events("warehouse/stg_payments", day)  # what Dagster did itself does not come back to it
    assert made["unique_id"] == "model.shop.stg_payments"
    assert "dataforge/mirror_id" not in made


def test_dagster_runs_what_the_ledger_lets_run_and_what_a_backfill_releases(shop: Shop) -> None:
    """The orders may run now that their payments are staged; a backfill builds an early day anew, and another wave by
    wave what was built from the day that was written again."""
    day, early = "2026-11-15", "2026-11-03"
    sensor = shop.dagster.start_sensor("ledger_ready")
    try:
        eventually(lambda: shop.dagster.is_materialized("warehouse/orders", day), 240, "dbt has joined the orders")
        body = {"targets": [{"name": "model.shop.stg_orders", "partitions": [early]}], "overwrite": "always"}
        begun = shop.ledger.post("/api/v1/dev/backfills", json={**body, "reason": "to try it", "dry_run": False})
        assert begun.status_code == 200, begun.text
        backfill = begun.json()["id"]
        eventually(lambda: _state(shop, backfill) == "done", 240, "the backfill has built the day")
        resumed = shop.ledger.post(f"/api/v1/dev/backfills/{PROPOSAL.id}/resume", json={"by": "anna@example.com"})
        assert resumed.status_code == 200, resumed.text
        eventually(lambda: _state(shop, str(PROPOSAL.id)) == "done", 420, "its four waves are built, one by one")
    finally:
        shop.dagster.stop_sensor(sensor)
    sensors = ("ledger_ready", "ledger_ready_weekly")  # the second has run from the start
    assert [failure for each in sensors for failure in shop.dagster.sensor_failures(each)] == []
    automated = shop.dagster.automated(sensors[0]) | shop.dagster.automated(sensors[1])
    # The first of the waves may have been built by a person meanwhile, who looked at the page of the failing check.
    waves = {(f"warehouse/{model}", "2026-11-05") for model in ("orders", "daily_revenue")}
    wanted = {("warehouse/orders", day), ("warehouse/stg_orders", early), ("warehouse/weekly_revenue", "2026-11-02")}
    assert {*wanted, *waves} <= automated
    assert {partition for _, partition in automated} <= {day, early, "2026-11-03", "2026-11-05", "2026-11-02"}
    assert shop.dagster.reasons("warehouse/weekly_revenue") >= {"upstream_missing"}


def test_a_day_that_is_written_again_fails_the_check_below_it_until_automation_has_built_it_anew(shop: Shop) -> None:
    """An event by HTTP, and an order to rebuild what is stale: the automation runs dbt for that day and no other."""
    day, again = "2026-11-14", {"namespace": "shop-airflow", "name": "shop_daily.load_payments"}
    eventually(lambda: shop.dagster.passes("warehouse/stg_payments", CHECK), 240, "the payments are current")
    payments = {"namespace": "s3://shop-lake", "name": "payments", "partition": day}
    event = {"task": again, "run": "again", "partition": day, "time": datetime.now(UTC).isoformat()}
    sent = shop.ledger.post("/api/v1/dev/events", json={**event, "state": "succeeded", "outputs": [payments]})
    assert sent.status_code == 200, sent.text
    eventually(lambda: shop.dagster.passes("warehouse/stg_payments", CHECK) is False, 240, "the check fails")

    before = shop.dagster.automated("ledger_ready")
    sensor = shop.dagster.start_sensor("ledger_ready")
    try:
        body = {"targets": [{"name": "model.shop.stg_payments", "from": "2026-11-13", "to": day}], "overwrite": "stale"}
        begun = shop.ledger.post("/api/v1/dev/backfills", json={**body, "reason": "written again", "dry_run": False})
        assert begun.json()["planned"] == 1, begun.text
        eventually(lambda: _state(shop, begun.json()["id"]) == "done", 240, "the backfill has built the day")
        eventually(lambda: shop.dagster.passes("warehouse/stg_payments", CHECK), 240, "the check clears")
    finally:
        shop.dagster.stop_sensor(sensor)
    run = {each for each in shop.dagster.automated("ledger_ready") - before if each[0] == "warehouse/stg_payments"}
    assert run == {("warehouse/stg_payments", day)}


def _state(shop: Shop, backfill: str) -> object:
    return shop.ledger.get(f"/api/v1/dev/backfills/{backfill}").json()["state"]


def _shows(shop: Shop, asset: str, ranges: list[tuple[str, str]]) -> bool:
    return shop.dagster.materialized(asset) == ranges


def _runnable(shop: Shop, name: str, partition: str) -> dict[str, object] | None:
    verdict = shop.verdict(name, partition)
    return verdict if verdict["runnable"] else None
