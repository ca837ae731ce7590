"""Partition keys and their windows."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dataforge.model.attempt import Interval
from dataforge.model.partition import (
    MOST_KEYS,
    NONE,
    InvalidPartitionKey,
    Partitioning,
    at_edge,
    endless,
    from_json,
    keys_of,
    window_at,
    window_of,
)
from dataforge.model.partition_check import problems
from dataforge.model.schedule import NO_INTERVAL, grains_of, of_cron, of_grains

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("America/Santiago", "America/Havana", "Africa/Casablanca", "Pacific/Apia", "Asia/Gaza", "America/Nuuk"),
)
CRONS = ("0 */6 * * *", "*/10 * * * *", "*/20 * * * 0,6", "0,45 0,1 * * *", "30 2 * * 1-5", "*/7 2 * * *", "0 3 31 * *")
zones = st.sampled_from(ZONES)
clock = {"minute_offset": st.integers(0, 59), "hour_offset": st.integers(0, 23), "time_zone": zones}
windowed = st.one_of(
    st.builds(Partitioning, kind=st.just("daily"), **clock),
    st.builds(Partitioning, kind=st.just("weekly"), day_offset=st.integers(0, 6), **clock),
    st.builds(Partitioning, kind=st.just("monthly"), day_offset=st.integers(1, 31), **clock),
    st.builds(Partitioning, kind=st.just("hourly"), minute_offset=st.integers(0, 59), time_zone=zones),
    st.builds(Partitioning, kind=st.just("cron"), cron=st.sampled_from(CRONS), time_zone=zones),
)
CHANGES = (  # hours within which the clocks of one of the zones change
    *("2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2026-11-01T06:00", "2026-10-03T15:00"),
    *("2026-04-04T15:00", "2026-09-06T04:00", "2026-04-05T03:00", "2026-02-15T02:00", "2026-03-22T02:00"),
    *("2026-03-08T05:00", "2026-11-01T05:00", "2026-03-29T01:00", "2011-12-30T10:00"),
)
moments = st.one_of(
    st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
    st.builds(
        lambda change, near: datetime.fromisoformat(change) + near,
        st.sampled_from(CHANGES),
        st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
    ),
).map(lambda moment: moment.replace(tzinfo=UTC))


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(windowed, moments)
def test_a_key_and_its_window_determine_each_other(partitioning: Partitioning, moment: datetime) -> None:
    (key,) = keys_of(partitioning, Interval(moment, moment + timedelta(microseconds=1)))
    window = window_of(partitioning, key)
    assert window is not None
    assert window.start <= moment < window.end
    assert window_at(partitioning, moment) == window
    assert keys_of(partitioning, window) == (key,)


@given(windowed, moments)
def test_windows_meet_without_gap_or_overlap(partitioning: Partitioning, moment: datetime) -> None:
    window = window_at(partitioning, moment)
    after = window_at(partitioning, window.end)
    assert after.start == window.end
    assert window_at(partitioning, window.start - timedelta(microseconds=1)).end == window.start
    assert len(keys_of(partitioning, Interval(window.start, after.end))) == 2
    assert at_edge(partitioning, window.end)
    assert at_edge(partitioning, moment) == (moment == window.start)


@given(windowed, st.sampled_from([None, "2010-01-01", "2011-06-01", "2011-12-01"]), moments)
def test_without_a_first_one_the_windows_are_the_same(
    partitioning: Partitioning, start: str | None, moment: datetime
) -> None:
    """An hour's ticks too, which stay where the start has laid them: in Lord Howe, at either half of an hour."""
    begun = replace(partitioning, start=start, end="2031-01-01")
    assert window_at(endless(begun), moment) == window_at(begun, moment)
    assert endless(begun) == endless(endless(begun))


@pytest.mark.parametrize("shape", [{"kind": "hourly"}, {"kind": "cron", "cron": "10,50 * * * *"}])
def test_hours_stay_where_the_start_has_laid_them(shape: dict[str, Any]) -> None:
    winter, summer = day("2026-05-17T00:00"), day("2026-11-10T12:10")
    begun = Partitioning(start="2026-05-17", time_zone="Australia/Lord_Howe", **shape)
    assert (
        window_at(endless(begun), summer) == window_at(begun, summer) != window_at(replace(begun, start=None), summer)
    )
    assert window_at(endless(begun), winter) == window_at(begun, winter)


def test_a_run_over_two_days_has_two_partitions() -> None:
    daily = of_cron("0 0 * * *", "UTC")
    assert daily is not None
    assert keys_of(daily, Interval(day("2026-06-02"), day("2026-06-04"))) == ("2026-06-02", "2026-06-03")


def test_an_empty_interval_and_one_that_ends_before_it_starts_have_none() -> None:
    assert keys_of(Partitioning(kind="daily"), Interval(day("2026-06-01"), day("2026-06-01"))) == ()
    assert keys_of(Partitioning(kind="daily"), Interval(day("2026-06-02"), day("2026-06-01"))) == ()


def test_an_interval_over_more_windows_than_a_run_may_have_has_none() -> None:
    hourly, begin = Partitioning(kind="hourly"), day("2026-06-01")
    assert len(keys_of(hourly, Interval(begin, begin + MOST_KEYS * timedelta(hours=1)))) == MOST_KEYS
    assert keys_of(hourly, Interval(begin, begin + (MOST_KEYS + 1) * timedelta(hours=1))) == ()


@pytest.mark.parametrize("end", [datetime(2200, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_an_interval_to_the_end_of_time_has_none(end: datetime) -> None:
    yearly = Partitioning(kind="cron", cron="0 0 1 1 *")
    assert keys_of(yearly, Interval(day("2026-06-01"), end)) == ()
    assert keys_of(yearly, Interval(datetime.min.replace(tzinfo=UTC), day("2026-06-01"))) == ()


@pytest.mark.parametrize(("date", "length"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_has_the_hours_that_its_zone_gives_it(date: str, length: int) -> None:
    window = window_of(Partitioning(kind="daily", time_zone="Europe/Berlin"), date)
    assert window is not None
    assert window.end - window.start == timedelta(hours=length)
    assert len(keys_of(Partitioning(kind="hourly", time_zone="Europe/Berlin"), window)) == length


def test_the_hour_that_the_clocks_repeat_is_two_partitions() -> None:
    hourly = Partitioning(kind="hourly", time_zone="Europe/Berlin")
    night = Interval(datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC))
    assert keys_of(hourly, night) == ("2026-10-25-02:00", "2026-10-25-02:00+0100")
    with pytest.raises(InvalidPartitionKey):
        window_of(hourly, "2026-10-25-02:00+0200")
    with pytest.raises(InvalidPartitionKey):
        window_of(hourly, "2026-10-25-03:00+0100")


def test_a_day_that_starts_in_its_middle_is_no_partition() -> None:
    noon = Partitioning(kind="daily", start="2026-06-01T12:00", end="2026-06-04T12:00")
    assert window_of(noon, "2026-06-02") == Interval(day("2026-06-02"), day("2026-06-03"))
    assert window_of(noon, "2026-06-03") is not None
    for beyond in ("2026-06-01", "2026-06-04"):
        with pytest.raises(InvalidPartitionKey):
            window_of(noon, beyond)


def test_the_first_of_the_month_is_the_default() -> None:
    first = Partitioning(kind="monthly", day_offset=1)
    assert first == Partitioning(kind="monthly") == of_cron("0 0 1 * *", "UTC")
    fifth = Partitioning(kind="monthly", day_offset=5)
    assert keys_of(fifth, Interval(day("2026-06-05"), day("2026-06-06"))) == ("2026-06-05",)
    assert of_cron("0 0 5 * *", "UTC") == fifth
    assert of_cron("0 0 0 * *", "UTC") is None


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
        (Partitioning(kind="daily"), "9999-12-31", "such as 2026-11-01"),
        (Partitioning(kind="daily"), "2026-02-30", "such as 2026-11-01"),
        (Partitioning(kind="hourly"), "2026-06-01-25:00", "such as 2026-11-01-09:00"),
        (Partitioning(kind="daily", start="2026-06-01"), "2026-05-31", "from 2026-06-01 on"),
        (Partitioning(kind="monthly"), "2026-06-02", "the nearest before is 2026-06-01"),
        (Partitioning(kind="static", keys=("eu", "us")), "asia", "one of eu, us"),
        (NONE, "2026-06-02", "it has none"),
    ],
)
def test_a_wrong_key_says_what_a_right_one_looks_like(partitioning: Partitioning, key: str, expected: str) -> None:
    with pytest.raises(InvalidPartitionKey, match=expected):
        window_of(partitioning, key)


DAYS = {"kind": "daily"}


@pytest.mark.parametrize(
    ("shape", "field", "value"),
    [
        ({"kind": "daily", "time_zone": "Mars/Base"}, "time_zone", "Mars/Base"),
        ({"kind": "daily", "time_zone": ""}, "time_zone", ""),
        ({"kind": "daily", "time_zone": "localtime"}, "time_zone", "localtime"),
        ({"kind": "daily", "start": "soon"}, "start", "soon"),
        ({"kind": "daily", "start": "0001-01-01"}, "start", "0001-01-01"),
        ({"kind": "daily", "start": "2026-01-01T00:00+02:00"}, "start", "2026-01-01T00:00+02:00"),
        ({"kind": "daily", "start": "2026-01-02", "end": "2026-01-02"}, "end", "2026-01-02"),
        ({"kind": "daily", "start": "2026-01-02", "end": "2026-01-01"}, "end", "2026-01-01"),
        ({"kind": "daily", "hour_offset": 24}, "hour_offset", 24),
        ({"kind": "hourly", "minute_offset": -1}, "minute_offset", -1),
        ({"kind": "hourly", "hour_offset": 1}, "hour_offset", 1),
        ({"kind": "weekly", "day_offset": 7}, "day_offset", 7),
        ({"kind": "monthly", "day_offset": 32}, "day_offset", 32),
        ({"kind": "daily", "day_offset": 1}, "day_offset", 1),
        ({"kind": "cron", "cron": "0 6 * * *", "minute_offset": 5}, "minute_offset", 5),
        ({"kind": "daily", "keys": ["a"]}, "keys", ("a",)),
        ({"kind": "daily", "cron": "0 6 * * *"}, "cron", "0 6 * * *"),
        ({"kind": "static", "keys": ["a"], "start": "2026-01-01"}, "start", "2026-01-01"),
        ({"kind": "none", "set": "clients"}, "set", "clients"),
        ({"kind": "cron", "cron": "every day"}, "cron", "every day"),
        ({"kind": "cron", "cron": "0 0 30 2 *"}, "cron", "0 0 30 2 *"),
        ({"kind": "cron", "cron": "0 0 31 feb mon"}, "cron", "0 0 31 feb mon"),
        ({"kind": "cron", "cron": "r 0 * * *"}, "cron", "r 0 * * *"),
        ({"kind": "cron", "cron": "0 0 15W * *"}, "cron", "0 0 15W * *"),
        ({"kind": "cron"}, "cron", None),
        ({"kind": "static"}, "keys", []),
        ({"kind": "static", "keys": ["a", "b", "a"]}, "keys", ["a"]),
        ({"kind": "static", "keys": ["a", ""]}, "keys[1]", ""),
        ({"kind": "static", "keys": ["a\0"]}, "keys[0]", "a\0"),
        ({"kind": "dynamic"}, "set", None),
        ({"kind": "product", "dimensions": {"a": DAYS}}, "dimensions", ["a"]),
        ({"kind": "product", "dimensions": {"a": DAYS, "": DAYS}}, "dimensions", ""),
        ({"kind": "product", "dimensions": {"a": DAYS, "b": {"kind": "none"}}}, "dimensions.b.kind", "none"),
        ({"kind": "product", "dimensions": {"a": DAYS, "b": {"kind": "product"}}}, "dimensions.b.kind", "product"),
        (
            {"kind": "product", "dimensions": {"a": DAYS, "b": {"kind": "static", "keys": ["x|y"]}}},
            "dimensions.b.keys[0]",
            "x|y",
        ),
        (
            {"kind": "product", "dimensions": {"a": DAYS, "b": {"kind": "daily", "time_zone": "Mars"}}},
            "dimensions.b.time_zone",
            "Mars",
        ),
    ],
)
def test_what_makes_no_partitions_is_a_problem_with_field_value_and_what_was_expected(
    shape: dict[str, object], field: str, value: object
) -> None:
    (error,) = problems(from_json(shape), "partitioning")
    assert (error.field, error.value) == (f"partitioning.{field}", value)
    assert error.expected


@pytest.mark.parametrize(
    "shape",
    [
        {"kind": "monthly", "day_offset": 31, "hour_offset": 23, "minute_offset": 59},
        {"kind": "weekly", "day_offset": 6, "start": "2026-01-01-09:00", "end": "2026-01-01-09:01"},
        {"kind": "cron", "cron": "*/15 9-17 * * mon-fri", "time_zone": "Asia/Kathmandu"},
        {"kind": "static", "keys": ["a|b", "a,b"]},
        {"kind": "dynamic", "set": "clients"},
        {"kind": "product", "dimensions": {"when": DAYS, "client": {"kind": "dynamic", "set": "clients"}}},
    ],
)
def test_what_makes_partitions_is_none(shape: dict[str, object]) -> None:
    assert problems(from_json(shape), "partitioning") == []


def test_an_hour_that_the_clocks_skip_is_no_partition() -> None:
    hourly = Partitioning(kind="hourly", time_zone="Europe/Berlin")
    night = Interval(datetime(2026, 3, 29, 0, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC))
    assert keys_of(hourly, night) == ("2026-03-29-01:00", "2026-03-29-03:00")


def test_the_31st_is_a_day_that_not_every_month_has() -> None:
    last = of_cron("0 0 31 * *", "UTC")
    assert last is not None
    assert len(keys_of(last, Interval(day("2026-01-31"), day("2026-03-31")))) == 1
