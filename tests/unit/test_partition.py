"""Partition keys and their windows."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.attempt import Interval
from dataforge.model.errors import InvalidInput
from dataforge.model.partition import (
    NONE,
    InvalidPartitionKey,
    Partitioning,
    keys_of,
    parse,
    window_of,
)
from dataforge.model.schedule import NO_INTERVAL, grains_of, of_cron, of_grains

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
windowed = st.one_of(
    st.builds(Partitioning, kind=st.just("daily"), time_zone=st.sampled_from(ZONES), hour_offset=st.integers(4, 20)),
    st.builds(Partitioning, kind=st.just("weekly"), time_zone=st.sampled_from(ZONES), day_offset=st.integers(0, 6)),
    st.builds(Partitioning, kind=st.just("monthly"), time_zone=st.sampled_from(ZONES)),
    st.builds(Partitioning, kind=st.just("hourly"), time_zone=st.just("UTC"), minute_offset=st.integers(0, 59)),
)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(windowed, moments)
def test_a_key_and_its_window_determine_each_other(partitioning: Partitioning, moment: datetime) -> None:
    (key,) = keys_of(partitioning, Interval(moment, moment + timedelta(microseconds=1)))
    window = window_of(partitioning, key)
    assert window is not None
    assert window.start <= moment < window.end
    assert keys_of(partitioning, window) == (key,)


@given(windowed, moments)
def test_windows_meet_without_gap_or_overlap(partitioning: Partitioning, moment: datetime) -> None:
    (key,) = keys_of(partitioning, Interval(moment, moment + timedelta(microseconds=1)))
    window = window_of(partitioning, key)
    assert window is not None
    (following,) = keys_of(partitioning, Interval(window.end, window.end + timedelta(microseconds=1)))
    after = window_of(partitioning, following)
    assert after is not None
    assert after.start == window.end


def test_a_run_over_two_days_has_two_partitions() -> None:
    daily = of_cron("0 0 * * *", "UTC")
    assert daily is not None
    assert keys_of(daily, Interval(day("2026-06-02"), day("2026-06-04"))) == ("2026-06-02", "2026-06-03")


def test_an_empty_interval_has_none() -> None:
    assert keys_of(Partitioning(kind="daily"), Interval(day("2026-06-01"), day("2026-06-01"))) == ()


@pytest.mark.parametrize(
    ("cron", "kind", "key"),
    [
        ("@daily", "daily", "2026-06-01"),
        ("30 6 * * *", "daily", "2026-06-01"),
        ("15 * * * *", "hourly", "2026-06-01-11:15"),
        ("0 0 * * 1", "weekly", "2026-06-01"),
        ("0 0 1 * *", "monthly", "2026-06-01"),
        ("0 */6 * * *", "cron", "2026-06-01-12:00"),
    ],
)
def test_a_schedule_is_the_partitioning_of_its_intervals(cron: str, kind: str, key: str) -> None:
    partitioning = of_cron(cron, "UTC")
    assert partitioning is not None
    assert partitioning.kind == kind
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert keys_of(partitioning, Interval(noon, noon + timedelta(seconds=1))) == (key,)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), max_size=6), st.randoms())
def test_the_observed_cut_is_that_of_the_whole_set_whatever_its_order(
    spans: list[tuple[int, int]], random: Random
) -> None:
    intervals = [
        Interval(day("2026-01-01") + timedelta(days=a), day("2026-01-01") + timedelta(days=a + n)) for a, n in spans
    ]
    forward, backward = NO_INTERVAL, NO_INTERVAL
    for interval in intervals:
        forward &= grains_of(interval)
    random.shuffle(intervals)
    for interval in intervals:
        backward &= grains_of(interval)
    assert of_grains(forward) == of_grains(backward)


def test_the_observed_cut_is_the_coarsest_that_fits() -> None:
    month = Interval(day("2026-06-01"), day("2026-07-01"))
    one_day = Interval(day("2026-06-01"), day("2026-06-02"))
    assert of_grains(NO_INTERVAL) == NONE
    assert of_grains(grains_of(month)).kind == "monthly"
    assert of_grains(grains_of(month) & grains_of(one_day)).kind == "daily"


@pytest.mark.parametrize(
    ("partitioning", "key", "expected"),
    [
        (Partitioning(kind="daily"), "banana", "such as 2026-11-01"),
        (Partitioning(kind="daily", start="2026-06-01"), "2026-05-31", "from 2026-06-01 on"),
        (Partitioning(kind="monthly"), "2026-06-02", "the nearest before is 2026-06-01"),
        (Partitioning(kind="static", keys=("eu", "us")), "asia", "one of eu, us"),
        (NONE, "2026-06-02", "it has none"),
    ],
)
def test_a_wrong_key_says_what_a_right_one_looks_like(partitioning: Partitioning, key: str, expected: str) -> None:
    with pytest.raises(InvalidPartitionKey, match=expected):
        window_of(partitioning, key)


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        ({"kind": "daily", "time_zone": "Mars/Base"}, "partitioning.time_zone"),
        ({"kind": "daily", "start": "soon"}, "partitioning.start"),
        ({"kind": "daily", "hour_offset": 24}, "partitioning.hour_offset"),
        ({"kind": "cron", "cron": "every day"}, "partitioning.cron"),
        ({"kind": "product", "dimensions": {"a": {"kind": "none"}}}, "partitioning.dimensions"),
        ({"kind": "static"}, "partitioning.keys"),
        ({"kind": "yearly"}, "partitioning"),
    ],
)
def test_a_wrong_partitioning_names_the_field(shape: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(shape)
    assert refused.value.errors[0].field == field


def test_an_hour_that_the_clocks_skip_is_no_partition() -> None:
    hourly = Partitioning(kind="hourly", time_zone="Europe/Berlin")
    night = Interval(datetime(2026, 3, 29, 0, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC))
    assert keys_of(hourly, night) == ("2026-03-29-01:00", "2026-03-29-03:00")


def test_the_31st_is_a_day_that_not_every_month_has() -> None:
    last = of_cron("0 0 31 * *", "UTC")
    assert last is not None
    assert len(keys_of(last, Interval(day("2026-01-31"), day("2026-03-31")))) == 1
