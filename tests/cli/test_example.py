"""The example shop is in the ledger as its README tells it."""

from datetime import UTC, date, datetime

import pytest

from dataforge.cli.example import SHOP, load
from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.catalog import partitions, rejects, runs
from dataforge.ledger.findings import findings
from dataforge.ledger.freshness import freshness
from dataforge.ledger.verify import digest
from dataforge.model.catalog import PartitionItem
from dataforge.model.filter import FindingFilter, PartitionFilter, RejectFilter, RunFilter
from dataforge.model.freshness import FreshnessQuestion
from dataforge.storage.database import Database

pytestmark = pytest.mark.xdist_group("example")  # in one process, which makes once what they share

LAKE = "s3://shop-lake"
DAYS = [f"2026-11-{day:02}" for day in range(2, 16)]
NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop(module_database: Database) -> Database:
    load(module_database.url, "dev")
    return module_database


def test_the_shop_is_valid_and_loading_it_again_changes_nothing(shop: Database) -> None:
    before = digest(shop, "dev")
    found = verify(shop, "dev")
    events = sum(len(file.read_bytes().splitlines()) for file in (SHOP / "events").glob("*.jsonl"))
    assert (found.difference, found.events) == (None, events)
    load(shop.url, "dev")
    assert digest(shop, "dev") == before
    assert rejects(shop, "dev", RejectFilter()).items == []


@pytest.mark.parametrize(
    ("dataset", "unwell"),
    [("orders", {}), ("orders_enriched", {}), ("payments", {"2026-11-12": "failed", "2026-11-15": "running"})],
)
def test_every_day_of_the_lake_is_ready_but_two_of_payments(
    shop: Database, dataset: str, unwell: dict[str, str]
) -> None:
    found = {each.partition: each.state for each in _of(shop, dataset)}
    assert found == {day: unwell.get(day, "ready") for day in DAYS}


@pytest.mark.parametrize("dataset", ["orders", "orders_enriched"])
def test_only_the_corrected_day_was_written_on_a_later_day(shop: Database, dataset: str) -> None:
    after = {each.partition: _days_after(each) for each in _of(shop, dataset)}
    assert after == {day: 8 if day == "2026-11-05" else 1 for day in DAYS}


def test_the_day_that_was_corrected_after_dbt_had_read_it_is_stale_and_nothing_but_what_lies_below(
    shop: Database,
) -> None:
    models = ("stg_orders", "stg_payments", "orders", "daily_revenue", "weekly_revenue")
    names = [f"shop.main.{model}" for model in models] + ["orders", "orders_enriched", "payments"]
    asked = [FreshnessQuestion(name=name, partition=day) for name in names for day in DAYS]
    items = freshness(shop, "dev", asked, NOW).items
    states = {(name.name, name.partition): item.status for name, item in zip(asked, items, strict=True)}
    stale = [place for place, status in states.items() if status == "stale"]
    assert stale == [
        ("shop.main.stg_orders", "2026-11-05"),
        ("shop.main.orders", "2026-11-05"),  # what was built from that day, in turn
        ("shop.main.daily_revenue", "2026-11-05"),
        ("shop.main.weekly_revenue", "2026-11-02"),
    ]
    assert sum(status == "fresh" for status in states.values()) == 13 + 12 + 11 + 11 + 0 + 14 + 14 + 12


def test_one_try_of_spark_failed_and_the_next_succeeded(shop: Database) -> None:
    def tries(name: str) -> dict[int, str]:
        found = runs(shop, "dev", RunFilter(name=name, partition="2026-11-10", attempts=True))
        return {each.attempt: each.state for each in found.items}

    assert tries("shop_daily.enrich_orders") == {1: "up_for_retry", 2: "succeeded"}
    assert tries("enrich_orders") == {1: "failed", 2: "succeeded"}


def test_what_failed_says_why(shop: Database) -> None:
    [failed] = runs(shop, "dev", RunFilter(name="shop_daily.load_payments", partition="2026-11-12")).items
    assert (failed.state, failed.attempt) == ("failed", 3)
    assert failed.error == "payments-2026-11-12.csv, line 17: the amount is ''"


def _days_after(item: PartitionItem) -> int:
    assert item.partition is not None
    assert item.since is not None
    return (item.since.date() - date.fromisoformat(item.partition)).days


def _of(shop: Database, dataset: str) -> list[PartitionItem]:
    return list(partitions(shop, "dev", PartitionFilter(namespace=LAKE, name=dataset, kind="dataset"), NOW).items)


def test_its_history_shows_nothing_wrong_until_somebody_does_not_wait(database: Database) -> None:
    load(database.url, "dev")
    since, now = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 16, 12, tzinfo=UTC)
    assert findings(database, "dev", FindingFilter(since=since), now).items == []
    record_any(database, "dev", (SHOP / "early" / "by_hand.jsonl").read_bytes().splitlines(), NOTHING)
    [item] = findings(database, "dev", FindingFilter(since=since), now).items
    assert item.message.endswith(
        "s3://shop-lake/payments for 2026-11-15, which it needs, has never been seen to be ready"
    )
    record_any(database, "dev", (SHOP / "late" / "load_payments.jsonl").read_bytes().splitlines(), NOTHING)
    [item] = findings(database, "dev", FindingFilter(since=since), now).items
    assert "7 h 21 min before s3://shop-lake/payments for 2026-11-15 was ready" in item.message
    assert [(each.name, each.partition) for each in item.built_from_it.items] == [("shop.main.orders", "2026-11-15")]


def test_its_sources_are_silent_once_three_nights_have_brought_nothing(shop: Database) -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)
    page = findings(shop, "dev", FindingFilter(since=since), datetime(2026, 11, 26, tzinfo=UTC))
    assert sorted(str(item.source) for item in page.items) == ["shop-airflow", "shop-dbt", "shop-spark"]
