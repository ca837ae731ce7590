"""A partitioning as Dagster defines it, for the tests that hold the two equal."""

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

from dataforge.model.partition import Partitioning, bound

FORMAT = "%Y-%m-%d-%H:%M"  # of the keys of a cron partitioning


def definition_of(cut: Partitioning) -> PartitionsDefinition:
    """Dagster's own definition of the same partitions. A time window needs a start here."""
    if cut.kind == "static":
        return StaticPartitionsDefinition(list(cut.keys))
    if cut.kind == "dynamic":
        return DynamicPartitionsDefinition(name=cut.set)
    if cut.kind == "product":
        return MultiPartitionsDefinition({name: definition_of(part) for name, part in cut.dimensions.items()})
    return windows_of(cut)


def windows_of(cut: Partitioning) -> TimeWindowPartitionsDefinition:
    """The same for windows alone."""
    assert cut.start is not None
    start, end = bound(cut.start), bound(cut.end) if cut.end else None
    assert start is not None
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
