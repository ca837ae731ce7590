"""The pages that a person opens, in a real browser.

`--screenshots FOLDER` keeps what was seen; `make screenshots` puts it into docs/screenshots.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import FloatRect, Page, expect, sync_playwright

from tests.end_to_end.conftest import Shop, eventually

pytestmark = pytest.mark.xdist_group("shop")

CHECK = "upstreams_are_current"
GRAPH = {
    "sales": ["orders_enriched", "stg_orders", "stg_payments", "orders"],
    "payments": ["payments"],
    "customers": ["customers"],
    "revenue": ["daily_revenue", "weekly_revenue"],
    "finance": ["revenue_dashboard"],
}
expect.set_options(timeout=30_000)


def _chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def window(shop: Shop) -> Iterator[Page]:
    """A browser window on Dagster's pages."""
    program = _chromium()
    if program is None:
        pytest.skip("no Chromium: install the package chromium, or name a program by CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(base_url=shop.dagster.url, viewport={"width": 1500, "height": 900}).new_page()
        page.set_default_timeout(30_000)
        yield page
        browser.close()


@pytest.fixture
def page(window: Page, tmp_path: Path) -> Iterator[Page]:
    """The window; what was in it when the test ended is a picture in the test's folder."""
    yield window
    window.screenshot(path=tmp_path / "last.png")


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder for pictures of the pages."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_the_asset_graph_shows_the_shop_from_the_lake_to_the_dashboard(page: Page, pictures: Path) -> None:
    page.set_viewport_size({"width": 2500, "height": 1400})  # wide enough for what stands in an asset's box
    page.goto("/asset-groups")
    for group in GRAPH:
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    page.get_by_text("Hide navigation").click()
    page.keyboard.press("Alt+E")  # expand all groups
    for assets in GRAPH.values():
        for asset in assets:
            expect(page.get_by_text(asset, exact=True).first).to_be_visible()
    expect(page.get_by_text("85% filled")).to_have_count(4)  # of fourteen days two are not there
    expect(page.get_by_text("Airflow", exact=True)).to_have_count(3)
    graph = FloatRect(x=370, y=190, width=2080, height=1060)  # without what stands around it
    page.screenshot(path=pictures / "asset-graph.png", clip=graph)
    page.set_viewport_size({"width": 1500, "height": 900})


def test_the_partition_bar_shows_the_day_that_failed_and_the_day_that_is_late(page: Page, pictures: Path) -> None:
    page.goto("/assets/lake/payments?view=partitions")
    expect(page.get_by_text("Materialized (12)")).to_be_visible()
    expect(page.get_by_text("Missing (2)")).to_be_visible()
    page.screenshot(path=pictures / "partitions.png")
    page.get_by_text("Materialized (12)").click()  # leaves what is not
    expect(page.get_by_text("2026-11-14", exact=True)).to_have_count(0)
    for day in ("2026-11-12", "2026-11-15"):
        expect(page.get_by_text(day, exact=True).first).to_be_visible()


def test_the_events_of_the_day_that_failed_say_why_whose_and_since_when(page: Page, pictures: Path) -> None:
    page.goto("/assets/lake/payments?view=events&partition=2026-11-12")
    page.get_by_text("2026-11-12", exact=True).first.click()
    said: dict[str, str | re.Pattern[str]] = {
        "dataforge/error": "payments-2026-11-12.csv, line 17: the amount is ''",
        "dataforge/owner": "team-ingest@shop.example",
        "dataforge/run": "scheduled__2026-11-12T00:00:00+00:00",
        "dataforge/since": re.compile("Nov 1[234], "),  # of the browser's time zone
    }
    for label, text in said.items():
        row = page.locator("tr", has=page.get_by_text(label, exact=True))
        expect(row).to_contain_text(text)
    page.screenshot(path=pictures / "failed-day.png")


def test_the_failing_check_names_the_upstream_since_when_and_the_run(shop: Shop, page: Page, pictures: Path) -> None:
    eventually(lambda: shop.dagster.check("warehouse/stg_orders", CHECK), 240, "the check has been evaluated")
    page.goto(f"/assets/warehouse/stg_orders?view=checks&checkDetail={CHECK}")
    reason = "2026-11-05: s3://shop-lake/orders_enriched for 2026-11-05 was written again at 2026-11-13 09:01 UTC"
    expect(
        page.get_by_text(re.compile(re.escape(reason) + ".* by run shop-airflow/shop_daily.enrich_orders"))
    ).to_be_visible()
    page.screenshot(path=pictures / "check.png")


def test_what_failed_in_airflow_is_a_failed_check_with_the_reason_and_a_link(
    shop: Shop, page: Page, pictures: Path
) -> None:
    eventually(lambda: shop.dagster.check("lake/payments", "ledger_state"), 240, "the mirror has told the state")
    page.goto("/assets/lake/payments?view=checks&checkDetail=ledger_state")
    reason = (
        "1 failed, 1 running: partition 2026-11-12 is failed since 2026-11-13 00:00 UTC by run scheduled__2026-11-12"
    )
    expect(page.get_by_text(re.compile(re.escape(reason)))).to_be_visible()
    link = (
        f"http://127.0.0.1:{shop.settings.port}/api/v1/dev/partitions"
        "?kind=dataset&namespace=s3%3A%2F%2Fshop-lake&name=payments&partition=2026-11-12"
    )
    expect(page.get_by_role("link", name=link).first).to_have_attribute("href", link)
    page.screenshot(path=pictures / "ledger_state.png")


def test_the_evaluation_of_an_automation_says_what_a_partition_waits_for(
    shop: Shop, page: Page, pictures: Path
) -> None:
    """Of the two weeks one is built; of the other a day is missing. Its sensor runs from the start."""
    eventually(lambda: shop.dagster.reasons("warehouse/weekly_revenue"), 240, "the condition has been evaluated")
    page.set_viewport_size({"width": 1200, "height": 1180})
    page.goto("/assets/warehouse/weekly_revenue?view=automation")
    page.get_by_text(re.compile(r"\d:\d\d:\d\d [AP]M")).first.click()
    for reason, partitions in {"already_done": 1, "upstream_missing": 1, "gate_pending": 0}.items():
        row = page.locator("tr", has=page.get_by_text(reason, exact=True))
        expect(row).to_contain_text(f"{partitions} True")
    page.screenshot(path=pictures / "automation.png")
    page.get_by_role("button", name="Done").click()
    page.set_viewport_size({"width": 1500, "height": 900})


def test_materializing_the_stale_day_in_the_page_ends_in_the_ledger(shop: Shop, page: Page) -> None:
    """And clears the check, and does not come back as an echo."""
    before = shop.dagster.events("warehouse/stg_orders", "2026-11-05")
    page.goto("/assets/warehouse/stg_orders?view=partitions")
    page.get_by_text("2026-11-05", exact=True).first.click()
    page.get_by_role("button", name="Materialize…").first.click()
    page.get_by_role("button", name="Launch 1 run").click()
    run = eventually(
        lambda: _run_of_dagster(shop, "model.shop.stg_orders", "2026-11-05"), 240, "the ledger knows of it"
    )
    assert run["state"] == "succeeded"
    assert run["source"]["url"] == f"{shop.dagster.url}/runs/{run['source']['dagster_run_id']}"
    eventually(lambda: shop.dagster.passes("warehouse/stg_orders", CHECK), 240, "the check passes")
    after = shop.dagster.events("warehouse/stg_orders", "2026-11-05")
    assert [event for event in after if event not in before] == [_of_dbt(after)]


CONFIG = """
ops:
  plan_backfill:
    config:
      targets: [{asset: warehouse/stg_payments, partitions: ["2026-11-03"]}]
      overwrite: always
      reason: to try it from the launchpad
      begin: true
"""


def test_the_launchpad_starts_a_backfill_that_ends_well(shop: Shop, page: Page) -> None:
    """The planner releases it, and Dagster's automation runs it."""
    given = urlencode({"mode": "default", "config": CONFIG.strip()})
    page.goto(f"/locations/__repository__@shop/jobs/backfill/playground/setup?{given}")
    page.get_by_role("button", name="Launch run").click()
    page.wait_for_url("**/runs/**")
    begun = eventually(lambda: _begun(shop, "to try it from the launchpad"), 240, "the run has begun the backfill")
    sensor = shop.dagster.start_sensor("ledger_ready")
    try:
        eventually(lambda: _backfill(shop, begun)["state"] == "done", 240, "the backfill has ended")
    finally:
        shop.dagster.stop_sensor(sensor)
    assert _backfill(shop, begun)["counts"] == {"succeeded": 1}


def _begun(shop: Shop, reason: str) -> str | None:
    found = shop.ledger.get("/api/v1/dev/backfills").json()["items"]
    return next((each["id"] for each in found if each["reason"] == reason), None)


def _backfill(shop: Shop, backfill: str) -> dict[str, Any]:
    found: dict[str, Any] = shop.ledger.get(f"/api/v1/dev/backfills/{backfill}").json()
    return found


def _run_of_dagster(shop: Shop, name: str, partition: str) -> dict[str, Any] | None:
    answer = shop.ledger.get("/api/v1/dev/runs", params={"name": name, "partition": partition, "state": "succeeded"})
    runs = answer.json()["items"]
    return next((run for run in runs if "url" in run["source"]), None)  # the recorded ones have no page


def _of_dbt(events: list[dict[str, str]]) -> dict[str, str]:
    (made,) = [event for event in events if event.get("unique_id") == "model.shop.stg_orders"]
    return made
