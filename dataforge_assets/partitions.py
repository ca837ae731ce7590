"""How assets are cut: a partitioning of the ledger as Dagster's own definition, and the shop's days and weeks.

Guarantees that a key here is the ledger's key of the same window; property tests compare the two.
"""

from functools import lru_cache
from typing import Any

from dagster import (
    DailyPartitionsDefinition,
    DynamicPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    StaticPartitionsDefinition,
    TimeWindowPartitionsDefinition,
    WeeklyPartitionsDefinition,
)

from resources.model import Partitioning, bound

START, END = "2026-11-02", "2026-11-16"  # the recorded fortnight; the last partition ends where END begins
DAILY = DailyPartitionsDefinition(start_date=START, end_date=END)
WEEKLY = WeeklyPartitionsDefinition(start_date=START, end_date=END, day_offset=1)
FORMAT = "%Y-%m-%d-%H:%M"  # of the keys of a cron partitioning


class NotInDagster(ValueError):
    """What Dagster has no word for; the message says what."""


@lru_cache(maxsize=4_096)  # of five thousand assets most are cut alike, and one definition serves them all
def definition_of(cut: Partitioning) -> PartitionsDefinition[Any] | None:
    """Dagster's definition of the same partitions; None of what has none. Raises NotInDagster where it has no such."""
    if cut.kind == "none":
        return None
    if cut.kind == "static":
        return StaticPartitionsDefinition(list(cut.keys))
    if cut.kind == "dynamic":
        return DynamicPartitionsDefinition(name=cut.set)
    if cut.kind == "product":
        return MultiPartitionsDefinition({name: _dimension(part) for name, part in cut.dimensions.items()})
    return windows_of(cut)


def _dimension(cut: Partitioning) -> PartitionsDefinition[Any]:
    found = definition_of(cut)
    if found is None:
        raise NotInDagster("one of its dimensions has no partitions")
    return found


def windows_of(cut: Partitioning) -> TimeWindowPartitionsDefinition:
    """The same of time windows. Raises NotInDagster where nobody says when they start."""
    start, end = (bound(text) if text else None for text in (cut.start, cut.end))
    if start is None:
        raise NotInDagster(f"its {cut.kind} partitions have no start, and none is known yet")
    zone, minute, hour = cut.time_zone, cut.minute_offset, cut.hour_offset
    if cut.kind == "hourly":
        return HourlyPartitionsDefinition(start, end, minute_offset=minute, timezone=zone)
    if cut.kind == "daily":
        return DailyPartitionsDefinition(start, end, minute, hour, zone)
    if cut.kind == "weekly":
        return WeeklyPartitionsDefinition(start, end, minute, hour, cut.day_offset, zone)
    if cut.kind == "monthly":
        return MonthlyPartitionsDefinition(start, end, minute, hour, cut.day_offset or 1, zone)
    return TimeWindowPartitionsDefinition(start, FORMAT, end, timezone=zone, cron_schedule=cut.cron)


def last_keys(cut: PartitionsDefinition[Any], most: int) -> list[str]:
    """The last keys that a partitioning has by now, without listing all of them where they are windows. To be asked
    within a `partition_loading_context`."""
    if not isinstance(cut, TimeWindowPartitionsDefinition):
        return [*cut.get_partition_keys()][-most:]
    found: list[str] = []
    window = cut.get_last_partition_window()
    while window is not None and len(found) < most:
        found.append(cut.get_partition_key_for_timestamp(window.start.timestamp()))
        window = cut.get_prev_partition_window(window.start)
    return found[::-1]
