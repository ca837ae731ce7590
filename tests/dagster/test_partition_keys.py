"""Keys and windows are Dagster's own: in every zone, through every change of the clocks, within the same bounds.

Dagster's word is what its partition definitions list. Where it contradicts its own list, the last tests say how.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from dagster import DagsterInvalidDefinitionError, MultiPartitionsDefinition, TimeWindowPartitionsDefinition
from dagster._time import dst_safe_strftime
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataforge.model.attempt import Interval
from dataforge.model.partition import InvalidPartitionKey, Kind, Partitioning, keys_of, window_at, window_of
from dataforge.model.partition_check import problems
from dataforge_assets.partitions import definition_of, windows_of

LORD_HOWE = "Australia/Lord_Howe"  # the one zone whose clocks shift by half an hour
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    LORD_HOWE,
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/Santiago",  # changes at midnight
    "Africa/Casablanca",  # summer is its standard time, and Ramadan the exception
    "Pacific/Apia",
    "Asia/Gaza",  # changes four times in some years
    "America/Nuuk",  # has skipped the hour before midnight
)
MORE_ZONES = (
    *("Europe/Dublin", "America/Havana", "Atlantic/Azores", "Asia/Beirut", "Africa/Cairo", "Asia/Tehran"),
    *("Pacific/Chatham", "Asia/Amman", "America/Sao_Paulo", "Antarctica/Troll", "Europe/Istanbul"),
)
CRONS = (
    *("0 */6 * * *", "*/15 * * * *", "0,30 * * * *", "*/30 1-5 * * *", "0,45 0,1 * * *", "15 1 * * *", "30 2 * * *"),
    *("0 2,3 * * *", "0 * * * 1-5", "*/20 * 1-31 * 0,6", "0 9-17 * * 1-5", "30 2 * * 0,6", "0 0,12 * * *"),
    *("7 23,0 * * *", "*/7 2 * * *", "0 0 29 2 *", "0 3 31 * *", "0 0 L * *", "0 6 * * mon#1", "0 0 1,15 * 5"),
)
FIRST, LAST = datetime(2016, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
AFTER_ALL = datetime(2100, 1, 1, tzinfo=UTC)
OFFSETS = ((0, 0), (1, 0), (2, 30), (23, 30))  # hours and minutes of a day

Listed = list[tuple[str, datetime, datetime]]  # a key with the begin and end of its window


def dagsters(cut: Partitioning, until: datetime) -> Listed:
    """What Dagster lists from the start on: the loop of its `get_partition_keys`, with the windows."""
    theirs = windows_of(cut)
    windows = takewhile(lambda one: one.end.timestamp() <= until.timestamp(), _windows(theirs))
    return [
        (
            dst_safe_strftime(window.start, theirs.timezone, theirs.fmt, theirs.cron_schedule),
            window.start.astimezone(UTC),
            window.end.astimezone(UTC),
        )
        for window in windows
    ]


def _windows(theirs: TimeWindowPartitionsDefinition) -> Iterable[Interval]:
    windows = theirs._iterate_time_windows(theirs.start_timestamp)
    return (Interval(window.start, window.end) for window in windows)


def ours(cut: Partitioning, until: datetime) -> Listed:
    """Windows one after the other from the start on, each with the key that it has and that it is found by."""
    window = window_at(cut, _moment(cut.start, cut.time_zone))
    listed: Listed = []
    while window.end <= until:
        (key,) = keys_of(cut, window)
        if _exists(cut, key):  # not so of the window that had begun before the start
            assert window_of(cut, key) == window
            listed.append((key, window.start, window.end))
        window = window_at(cut, window.end)
    return listed


def _exists(cut: Partitioning, key: str) -> bool:
    try:
        window_of(cut, key)
    except InvalidPartitionKey:
        return False
    return True


def _moment(text: str | None, zone: str) -> datetime:
    return datetime.fromisoformat(text or "").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@lru_cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The hours within which the clocks changed from 2016 to 2026."""
    hours = (FIRST + timedelta(hours=n) for n in range((LAST - FIRST) // timedelta(hours=1)))
    offsets = [(hour, hour.astimezone(ZoneInfo(zone)).utcoffset()) for hour in hours]
    return tuple(hour for (hour, before), (_, after) in pairwise(offsets) if before != after)


def around(change: datetime, days: int) -> tuple[str, datetime]:
    """The date so many days before a change, and the moment so many after."""
    return (change - timedelta(days=days)).date().isoformat(), change + timedelta(days=days)


# Ten years, and every change of the clocks.


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly"])
def test_the_keys_of_ten_years_are_dagsters(kind: Kind, zone: str) -> None:
    cut = Partitioning(kind=kind, start="2016-06-01", end="2026-06-01", time_zone=zone)
    span = Interval(_moment(cut.start, zone), _moment(cut.end, zone))
    keys = [key for key in keys_of(cut, span) if _exists(cut, key)]
    assert keys == list(windows_of(cut).get_partition_keys(current_time=AFTER_ALL))


@pytest.mark.parametrize("zone", ZONES)
def test_through_every_change_of_the_clocks_hours_are_dagsters(zone: str) -> None:
    for change in changes(zone):
        start, until = around(change, 1)
        cut = Partitioning(kind="hourly", start=start, time_zone=zone)
        assert ours(cut, until) == dagsters(cut, until)


@pytest.mark.parametrize("zone", ZONES)
def test_through_every_change_of_the_clocks_days_are_dagsters(zone: str) -> None:
    for change in changes(zone):
        start, until = around(change, 3)
        for hour, minute in OFFSETS:
            cut = Partitioning(kind="daily", start=start, time_zone=zone, hour_offset=hour, minute_offset=minute)
            assert ours(cut, until) == dagsters(cut, until)


# Any schedule, at any time, within any bounds.

days = st.dates(date(2016, 1, 1), date(2026, 12, 1)).map(date.isoformat)
zones = st.sampled_from(ZONES)
minutes, hours = st.integers(0, 59), st.integers(0, 23)
plain = st.one_of(
    st.builds(
        Partitioning, kind=st.just("daily"), start=days, time_zone=zones, minute_offset=minutes, hour_offset=hours
    ),
    st.builds(
        Partitioning,
        kind=st.just("weekly"),
        start=days,
        time_zone=zones,
        minute_offset=minutes,
        hour_offset=hours,
        day_offset=st.integers(0, 6),
    ),
    st.builds(
        Partitioning,
        kind=st.just("monthly"),
        start=days,
        time_zone=zones,
        minute_offset=minutes,
        hour_offset=hours,
        day_offset=st.integers(1, 31),
    ),
    st.builds(Partitioning, kind=st.just("hourly"), start=days, time_zone=zones, minute_offset=minutes),
)
fields = st.tuples(
    st.sampled_from(["0", "30", "*/20", "5,50", "10-40/15"]),
    st.sampled_from(["0", "2", "23", "*", "*/4", "1-3", "0,12"]),
    st.sampled_from(["*", "1", "15", "28", "30", "*/5", "L"]),
    st.sampled_from(["*", "*/3", "2", "3,10", "jan-jun"]),
    st.sampled_from(["*", "0", "7", "1-5", "sat,sun", "5#2", "L5"]),
)
crons = st.builds(
    Partitioning,
    kind=st.just("cron"),
    start=days,
    time_zone=zones,
    cron=st.one_of(st.sampled_from(CRONS), fields.map(" ".join)),
)


def follows_its_list(cut: Partitioning) -> bool:
    """Whether Dagster's answer is a function of the definition: see the test on Lord Howe."""
    by_the_hour = cut.kind == "hourly" or (cut.cron or "").endswith(" * * * *")
    return not by_the_hour or cut.time_zone != LORD_HOWE or (not cut.minute_offset and cut.cron in (None, *CRONS))


@given(st.one_of(plain, crons), st.integers(1, 40))
@settings(deadline=None, max_examples=200)
def test_windows_and_their_keys_are_dagsters(cut: Partitioning, count: int) -> None:
    assume(not problems(cut, "cut") and follows_its_list(cut))
    theirs = windows_of(cut)
    ends = [window.end for window, _ in zip(_windows(theirs), range(count), strict=False)]
    assume(ends[-1].year < 2100)
    assert ours(cut, ends[-1].astimezone(UTC)) == dagsters(cut, ends[-1].astimezone(UTC))


@given(
    st.sampled_from(["hourly", "daily", "weekly", "monthly"]),
    zones,
    st.datetimes(datetime(2016, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001 - local times
    st.timedeltas(timedelta(minutes=1), timedelta(days=100)),
)
@settings(deadline=None)
def test_the_first_partition_begins_at_the_start_or_after_and_the_last_ends_by_the_end(
    kind: Kind, zone: str, start: datetime, length: timedelta
) -> None:
    assume(kind != "hourly" or (zone != LORD_HOWE and length < timedelta(days=5)))
    cut = Partitioning(kind=kind, time_zone=zone, start=start.isoformat(), end=(start + length).isoformat())
    assume(not problems(cut, "cut"))  # an hour that is skipped may end before it starts
    span, theirs = Interval(_moment(cut.start, zone), _moment(cut.end, zone)), windows_of(cut)
    keys = [key for key in keys_of(cut, span) if _exists(cut, key)]
    listed = theirs.get_partition_keys(current_time=AFTER_ALL)
    assert keys == [key for key in listed if len(listed) > 1 or theirs.has_partition_key(key)]


# Two dimensions, and keys that are text.

CLIENTS = Partitioning(kind="static", keys=("globex", "acme"))
DAYS = Partitioning(kind="daily", start="2026-10-24", end="2026-10-27", time_zone="Europe/Berlin")


def test_the_keys_of_two_dimensions_are_dagsters() -> None:
    both = Partitioning(kind="product", dimensions={"when": DAYS, "client": CLIENTS})
    theirs = definition_of(both)
    assert isinstance(theirs, MultiPartitionsDefinition)
    keys = theirs.get_partition_keys(current_time=AFTER_ALL)
    assert min(keys) == "acme|2026-10-24"
    for key in keys:
        window = theirs.time_window_for_partition_key(str(key))
        assert window_of(both, str(key)) == Interval(window.start.astimezone(UTC), window.end.astimezone(UTC))
    assert len(keys) == 6


@pytest.mark.parametrize("text", ["...", "a\nb", "a\0", "a\tb", "\v", "|", "a,b", "[", "]"])
def test_what_dagster_refuses_in_a_key_is_a_problem(text: str) -> None:
    cut = Partitioning(kind="static", keys=(text, "acme"))
    both = Partitioning(kind="product", dimensions={"client": cut, "when": DAYS})
    assert problems(both, "cut")
    with pytest.raises(DagsterInvalidDefinitionError):
        definition_of(both)


@pytest.mark.parametrize("key", ["2026-1-1", "2026-01-01 ", "2026-10-24-00:00", "2026-10-24+0200", "\uff12026-10-24"])
def test_a_key_that_dagster_does_not_print_is_none(key: str) -> None:
    assert not windows_of(DAYS).has_partition_key(key)
    with pytest.raises(InvalidPartitionKey):
        window_of(DAYS, key)


# Where Dagster contradicts itself: its list of keys is followed.


def test_a_day_that_a_zone_has_lost_is_no_partition_though_dagster_lists_it() -> None:
    apia = Partitioning(kind="daily", start="2011-12-28", end="2012-01-02", time_zone="Pacific/Apia")
    until = _moment(apia.end, "Pacific/Apia")
    listed = dagsters(apia, until)
    empty = [key for key, begin, end in listed if begin == end]
    assert empty == ["2011-12-30"]
    assert ours(apia, until) == [row for row in listed if row[0] not in empty]
    with pytest.raises(InvalidPartitionKey):
        window_of(apia, "2011-12-30")


def test_a_time_that_no_clock_showed_has_the_window_that_dagster_lists_and_does_not_find() -> None:
    cut = Partitioning(kind="cron", cron="30 2 * * *", start="2026-03-20", time_zone="Africa/Casablanca")
    listed = {key: Interval(begin, end) for key, begin, end in dagsters(cut, datetime(2026, 3, 25, tzinfo=UTC))}
    moved = "2026-03-22-02:00"
    assert window_of(cut, moved) == listed[moved]
    found = windows_of(cut).time_window_for_partition_key(moved)
    assert Interval(found.start.astimezone(UTC), found.end.astimezone(UTC)) == listed["2026-03-23-02:30"]


@pytest.mark.parametrize(
    ("start", "other_half"), [("2026-01-01", "2026-07-01-12:30"), ("2026-06-01", "2026-12-01-12:30")]
)
def test_hours_stay_as_they_were_at_the_start_where_clocks_shift_by_half_an_hour(start: str, other_half: str) -> None:
    """Dagster lists them so; but it looks a key up by the full hour, when it is asked in winter."""
    cut = Partitioning(kind="hourly", start=start, time_zone=LORD_HOWE)
    listed = dagsters(cut, LAST)
    assert ours(cut, LAST) == listed
    assert {end - begin for _, begin, end in listed} == {timedelta(hours=1)}
    assert other_half in [key for key, *_ in listed]


def test_between_bounds_without_a_whole_window_there_is_no_partition_though_dagster_lists_one() -> None:
    cut = Partitioning(kind="daily", start="2026-01-01", end="2026-01-01T23:59")
    theirs = windows_of(cut)
    assert list(theirs.get_partition_keys(current_time=AFTER_ALL)) == ["2026-01-01"]
    assert not theirs.has_partition_key("2026-01-01")
    assert not _exists(cut, "2026-01-01")


# What takes minutes.


@pytest.mark.long
@pytest.mark.parametrize("zone", [*ZONES, *MORE_ZONES])
def test_through_every_change_of_the_clocks_every_schedule_is_dagsters(zone: str) -> None:
    for change in changes(zone):
        start, until = around(change, 3)
        for cut in (
            *(Partitioning(kind="cron", cron=cron, start=start, time_zone=zone) for cron in CRONS),
            *(Partitioning(kind="hourly", start=start, time_zone=zone, minute_offset=minute) for minute in (0, 15)),
        ):
            if follows_its_list(cut):
                assert ours(cut, until) == dagsters(cut, until)


@pytest.mark.long
@pytest.mark.parametrize("zone", [*ZONES, *MORE_ZONES])
def test_for_ten_years_days_weeks_and_months_at_any_hour_are_dagsters(zone: str) -> None:
    for hour, minute in (*OFFSETS, (0, 30), (2, 0), (3, 15)):
        for kind, day in (
            ("daily", 0),
            ("weekly", 0),
            ("weekly", 6),
            *(("monthly", n) for n in (1, 2, 28, 29, 30, 31)),
        ):
            cut = Partitioning(
                kind=kind,  # type: ignore[arg-type]
                start="2016-06-01",
                time_zone=zone,
                minute_offset=minute,
                hour_offset=hour,
                day_offset=day,
            )
            assert ours(cut, LAST) == dagsters(cut, LAST)
