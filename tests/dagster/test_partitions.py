"""Dagster's partitions and the ledger's are the same: keys, windows and bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from dagster import TimeWindowPartitionsDefinition

from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.model import partition
from dataforge.model.attempt import Interval
from dataforge.model.partition import InvalidPartitionKey, Partitioning
from dataforge_assets.partitions import DAILY, WEEKLY
from resources.dbt import MANIFEST

FORTNIGHT = Interval(datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 16, tzinfo=UTC))
LONG_AFTER = datetime(2027, 1, 1, tzinfo=UTC)


def declared(model: str) -> Partitioning:
    manifest = from_dbt(json.loads(MANIFEST.read_bytes()), "shop-dbt", "duckdb://shop.duckdb")
    cut = next(task.partitioning for task in manifest.tasks if task.name == f"model.shop.{model}")
    assert cut is not None
    return cut


@pytest.mark.parametrize(
    ("ours", "model", "count"), [(DAILY, "daily_revenue", 14), (WEEKLY, "weekly_revenue", 2)], ids=["daily", "weekly"]
)
def test_the_keys_and_their_windows_are_the_ledgers(
    ours: TimeWindowPartitionsDefinition, model: str, count: int
) -> None:
    keys = ours.get_partition_keys(current_time=LONG_AFTER)
    assert tuple(keys) == partition.keys_of(declared(model), FORTNIGHT)
    assert len(keys) == count
    for key in keys:
        window = ours.time_window_for_partition_key(key)
        assert Interval(window.start, window.end) == partition.window_of(declared(model), key)


@pytest.mark.parametrize(
    ("ours", "model", "beyond"), [(DAILY, "orders", "2026-11-16"), (WEEKLY, "weekly_revenue", "2026-11-16")]
)
def test_neither_has_a_partition_beyond_the_fortnight(
    ours: TimeWindowPartitionsDefinition, model: str, beyond: str
) -> None:
    assert beyond not in ours.get_partition_keys(current_time=LONG_AFTER)
    with pytest.raises(InvalidPartitionKey):
        partition.window_of(declared(model), beyond)
