"""The pages that a person opens, in a real browser.

`--screenshots FOLDER` keeps what was seen; `make screenshots` puts it into docs/screenshots.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.end_to_end.conftest import Shop, eventually

pytestmark = pytest.mark.xdist_group("shop")

ASSETS = ["orders", "payments", "orders_enriched", "stg_orders", "stg_payments", "daily_revenue", "weekly_revenue"]


def _chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def page(shop: Shop) -> Iterator[Page]:
    """A browser window on Dagster's pages."""
    program = _chromium()
    if program is None:
        pytest.skip("no Chromium: install the package chromium, or name a program by CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(base_url=shop.dagster.url, viewport={"width": 1500, "height": 950}).new_page()
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield page
        browser.close()


@pytest.fixture
def keep(page: Page, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder for pictures of the pages; what was on the screen when a test failed is there too."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    page.screenshot(path=tmp_path / "last.png")


def test_the_asset_graph_shows_the_shop_from_the_lake_to_the_dashboard(page: Page, keep: Path) -> None:
    page.goto("/asset-groups")
    for name in ASSETS:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.screenshot(path=keep / "asset-graph.png")


def test_the_partition_bar_shows_the_day_that_failed_and_the_day_that_is_late(page: Page, keep: Path) -> None:
    page.goto("/assets/lake/payments?view=partitions")
    expect(page.get_by_text(re.compile(r"12 Materialized")).first).to_be_visible()
    page.screenshot(path=keep / "partitions.png")


def test_the_failing_check_names_the_upstream_that_changed(shop: Shop, page: Page, keep: Path) -> None:
    eventually(lambda: shop.dagster.check("warehouse/stg_orders", "upstreams_are_current"), 120, "the check has run")
    page.goto("/assets/warehouse/stg_orders?view=checks")
    page.get_by_text("upstreams_are_current").first.click()
    expect(page.get_by_text(re.compile("orders_enriched.*2026-11-05")).first).to_be_visible()
    page.screenshot(path=keep / "check.png")
