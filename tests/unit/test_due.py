"""Deadlines: by when a time window is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.due import Due, due_at

_ENDS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])


@given(end=_ENDS, hour=st.integers(0, 23), zone=_ZONES, days=st.integers(0, 40))
def test_a_time_of_day_is_the_first_after_the_end_and_so_many_days_later(
    end: datetime, hour: int, zone: str, days: int
) -> None:
    found = due_at(Due(at=f"{hour:02}:00", time_zone=zone, days=days), end)
    assert end <= found <= end + timedelta(days=days + 1, hours=2)
    local = found.astimezone(ZoneInfo(zone))
    skipped = local.replace(tzinfo=None) != local.replace(hour=hour, minute=0, tzinfo=None)
    assert not skipped or local - timedelta(hours=1) == local.replace(hour=hour, minute=0)


@given(end=_ENDS, seconds=st.integers(0, 10**6))
def test_a_duration_counts_from_the_end(end: datetime, seconds: int) -> None:
    assert due_at(Due(after=timedelta(seconds=seconds)), end) - end == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("due", "end", "found"),
    [
        (Due(at="06:00"), "2026-11-06T00:00", "2026-11-06T06:00"),
        (Due(at="06:00"), "2026-11-06T06:00", "2026-11-06T06:00"),
        (Due(at="06:00"), "2026-11-06T06:01", "2026-11-07T06:00"),
        (Due(at="06:00", time_zone="Europe/Berlin"), "2026-11-05T23:00", "2026-11-06T05:00"),
        (Due(at="06:00", time_zone="Europe/Berlin"), "2026-03-28T23:00", "2026-03-29T04:00"),  # the clocks change
        (Due(at="02:30", time_zone="Europe/Berlin"), "2026-03-28T23:00", "2026-03-29T01:30"),  # and leave this out
        (Due(at="06:00", days=4), "2026-12-01T00:00", "2026-12-05T06:00"),
    ],
)
def test_examples(due: Due, end: str, found: str) -> None:
    assert due_at(due, datetime.fromisoformat(f"{end}+00:00")) == datetime.fromisoformat(f"{found}+00:00")
