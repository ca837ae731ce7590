"""How the shop's assets are cut: the recorded fortnight, by day and by week from Monday, in UTC.

Guarantees that a key here is the ledger's key of the same window; a test compares the two.
"""

from dagster import DailyPartitionsDefinition, WeeklyPartitionsDefinition

START, END = "2026-11-02", "2026-11-16"  # the last partition ends where END begins
DAILY = DailyPartitionsDefinition(start_date=START, end_date=END)
WEEKLY = WeeklyPartitionsDefinition(start_date=START, end_date=END, day_offset=1)
