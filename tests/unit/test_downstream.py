"""Which partitions one wakes: held against what each of them needs, for every kind of mapping."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataforge.model.attempt import Interval
from dataforge.model.downstream import downstream_keys, producing_keys
from dataforge.model.edge import SAME, All, Along, Dimension, Fixed, Last, Mapping, Table, ToDate, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import Side, produced_keys, upstream_keys
from dataforge.model.partition import NONE, Partitioning, keys_of
from dataforge.model.windows import Unmappable, exists

NOW = datetime(2026, 11, 10, 12, 30, tzinfo=UTC)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
HOURLY, DAILY = Partitioning(kind="hourly", start="2026-01-01"), Partitioning(kind="daily", start="2026-01-01")
WEEKLY, MONTHLY = Partitioning(kind="weekly"), Partitioning(kind="monthly", start="2026-01-01")
CLIENTS = Partitioning(kind="static", keys=("acme", "globex", "initech"))
REGIONS = Partitioning(kind="static", keys=("eu", "us"))
BOTH = Partitioning(kind="product", dimensions={"client": CLIENTS, "date": DAILY})
BY_REGION = Partitioning(kind="product", dimensions={"date": DAILY, "region": REGIONS})
OBSERVED = Partitioning(kind="dynamic", set="regions", keys=("us",))
REGION_OF = Table({"acme": ("eu",), "globex": ("eu", "us"), "initech": ()})

zones = st.sampled_from(ZONES)
starts = st.sampled_from([None, "2026-01-01", "2026-03-28", "2026-05-17"])
ends = st.sampled_from([None, None, "2026-10-25", "2026-11-02"])
timed = st.one_of(
    st.builds(Partitioning, kind=st.just("hourly"), time_zone=zones, start=starts, end=ends),
    st.builds(
        Partitioning,
        kind=st.just("daily"),
        time_zone=zones,
        start=starts,
        end=ends,
        hour_offset=st.sampled_from([0, 6]),
    ),
    st.builds(Partitioning, kind=st.just("weekly"), time_zone=zones, start=starts, day_offset=st.integers(0, 6)),
    st.builds(Partitioning, kind=st.just("monthly"), time_zone=zones, start=starts),
    st.builds(
        Partitioning,
        kind=st.just("cron"),
        time_zone=zones,
        start=starts,
        cron=st.sampled_from(["0 0 * * 1-5"]),
    ),
)
plain = st.one_of(timed, st.sampled_from([NONE, CLIENTS, REGIONS]))
names = st.sampled_from([("client", "date"), ("date", "region"), ("client", "region")])
products = st.builds(
    lambda pair, first, second: Partitioning(kind="product", dimensions=dict(zip(pair, (first, second), strict=True))),
    names,
    st.one_of(st.just(CLIENTS), timed),
    st.one_of(st.just(REGIONS), timed),
)
partitionings = st.one_of(plain, timed, products)

windows = st.builds(lambda begin, length: Window(begin, begin + length), st.integers(-9, 5), st.integers(0, 4))
recent = st.builds(Last, st.sampled_from([timedelta(hours=5), timedelta(days=2), timedelta(days=40)]))
simple: st.SearchStrategy[Mapping] = st.one_of(
    st.just(SAME),
    windows,
    st.builds(ToDate, st.sampled_from(["day", "month", "quarter", "year"])),
    st.just(All()),
    st.just(Last()),
    recent,
    st.sampled_from([Fixed("acme"), Fixed("2026-06-01"), REGION_OF, Table({"": ("eu",), "eu": ("acme", "initech")})]),
)
along: st.SearchStrategy[Mapping] = st.builds(Along, st.sampled_from(["client", "date", "region"]), simple)
mappings: st.SearchStrategy[Mapping] = st.one_of(
    simple,
    along,
    st.builds(Dimension, st.dictionaries(st.sampled_from(["client", "date", "region"]), simple | along, max_size=2)),
)
moments = st.datetimes(datetime(2026, 1, 2), datetime(2026, 11, 10)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
near_changes = st.sampled_from(["2026-03-29T01:10", "2026-10-25T01:10", "2026-04-04T15:10", "2026-03-08T07:30"]).map(
    lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)
)


def key_at(cut: Partitioning, moment: datetime, pick: int) -> str:
    """The partition that a moment lies in; of a set the one of that number."""
    if cut.kind == "product":
        return "|".join(key_at(part, moment, pick) for _, part in sorted(cut.dimensions.items()))
    if cut.windowed:
        return keys_of(cut, Interval(moment, moment + timedelta(microseconds=1)))[0]
    return cut.keys[pick % len(cut.keys)] if cut.keys else ""


def needs(mapping: Mapping, key: str, ours: Partitioning | None, theirs: Partitioning | None) -> tuple[str, ...]:
    """What the partition needs; nothing, where that cannot be told."""
    with suppress(InvalidInput):
        return upstream_keys(mapping, Side(key, ours, NOW), theirs)
    return ()


@settings(max_examples=120, deadline=None)
@given(mappings, partitionings, partitionings, moments | near_changes, st.integers(0, 5), st.data())
def test_a_partition_is_woken_by_each_that_it_needs(
    mapping: Mapping, ours: Partitioning, theirs: Partitioning, moment: datetime, pick: int, data: st.DataObject
) -> None:
    key = key_at(ours, moment, pick)
    assume(exists(ours, key))
    needed = needs(mapping, key, ours, theirs)
    assume(any(exists(theirs, each) for each in needed))
    upstream = data.draw(st.sampled_from([each for each in needed if exists(theirs, each)]))
    try:
        woken = downstream_keys(mapping, upstream, ours, theirs, NOW)
    except Unmappable:
        return
    assert key in woken


@settings(max_examples=120, deadline=None)
@given(mappings, partitionings, partitionings, moments | near_changes, st.integers(0, 5))
def test_a_partition_wakes_only_those_that_need_it(
    mapping: Mapping, ours: Partitioning, theirs: Partitioning, moment: datetime, pick: int
) -> None:
    upstream = key_at(theirs, moment, pick)
    try:
        woken = downstream_keys(mapping, upstream, ours, theirs, NOW)
    except Unmappable:
        return
    assert len(set(woken)) == len(woken)
    for key in woken:
        assert exists(ours, key)
        assert upstream in needs(mapping, key, ours, theirs)


def _days(first: str, last: str) -> tuple[str, ...]:
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return tuple((begin + timedelta(days=day)).isoformat() for day in range((end - begin).days + 1))


def _by_client(day: str) -> tuple[str, ...]:
    return tuple(f"{client}|{day}" for client in CLIENTS.keys)


@pytest.mark.parametrize(
    ("mapping", "key", "ours", "theirs", "woken"),
    [
        (SAME, "2026-11-05-07:00", DAILY, HOURLY, ("2026-11-05",)),
        (SAME, "2026-11-01", DAILY, MONTHLY, _days("2026-11-01", "2026-11-30")),
        (SAME, "2026-12-31", WEEKLY, DAILY, ("2026-12-27",)),
        (SAME, "2027-01-02", WEEKLY, DAILY, ("2026-12-27",)),
        (Window(-1, -1), "2026-11-05", DAILY, DAILY, ("2026-11-06",)),
        (Window(-6, 0), "2026-12-30", DAILY, DAILY, _days("2026-12-30", "2027-01-05")),
        (ToDate("month"), "2026-11-28", DAILY, DAILY, ("2026-11-28", "2026-11-29", "2026-11-30")),
        (ToDate("year"), "2026-10-01", MONTHLY, MONTHLY, ("2026-10-01", "2026-11-01", "2026-12-01")),
        (All(), "2026-11-08", DAILY, DAILY, ("2026-11-08", "2026-11-09", "2026-11-10")),
        (All(), "acme", NONE, CLIENTS, ("",)),
        (Last(), "2026-10-01", DAILY, MONTHLY, _days("2026-10-31", "2026-11-10")),
        (Last(), "2026-11-09", NONE, DAILY, ("",)),
        (Last(), "2026-11-08", NONE, DAILY, ()),
        (Last(timedelta(days=2)), "2026-11-05", DAILY, DAILY, ("2026-11-05", "2026-11-06", "2026-11-07")),
        (Fixed("acme"), "acme", REGIONS, CLIENTS, ("eu", "us")),
        (Fixed("acme"), "globex", REGIONS, CLIENTS, ()),
        (REGION_OF, "eu", CLIENTS, REGIONS, ("acme", "globex")),
        (SAME, "", CLIENTS, NONE, ("acme", "globex", "initech")),
        (SAME, "2026-11-05", BOTH, DAILY, _by_client("2026-11-05")),
        (Along("client"), "acme", BOTH, CLIENTS, tuple(f"acme|{day}" for day in _days("2026-01-01", "2026-11-10"))),
        (Dimension({"client": All()}), "acme|2026-11-05", DAILY, BOTH, ("2026-11-05",)),
        (
            Dimension({"region": Along("client", REGION_OF)}),
            "2026-11-05|us",
            BOTH,
            BY_REGION,
            ("globex|2026-11-05",),
        ),
        (All(), "initech", DAILY, Partitioning(kind="dynamic", set="clients", keys=("acme", "globex")), ()),
        (Dimension({"region": All()}), "2026-11-12|us", BOTH, BY_REGION, _by_client("2026-11-12")),
        (Dimension({"date": Last()}), "2026-11-09|eu", OBSERVED, BY_REGION, ("eu",)),
    ],
)
def test_each_kind_leads_back(
    mapping: Mapping, key: str, ours: Partitioning, theirs: Partitioning, woken: tuple[str, ...]
) -> None:
    assert downstream_keys(mapping, key, ours, theirs, NOW) == woken


@pytest.mark.parametrize(
    ("mapping", "key", "ours", "theirs", "says"),
    [
        (All(), "2026-11-05", Partitioning(kind="dynamic", set="clients"), DAILY, "is not known"),
        (Fixed("acme"), "acme", Partitioning(kind="daily"), CLIENTS, "declare where it starts"),
        (SAME, "", None, NONE, "declare its partitioning"),
        (All(), "2026-01-01", HOURLY, DAILY, "is the most of one edge"),
        (Window(-2_000, 0), "2026-11-05", DAILY, DAILY, "too far|is the most of one edge"),
    ],
)
def test_what_is_endless_or_too_much_is_refused(
    mapping: Mapping, key: str, ours: Partitioning | None, theirs: Partitioning, says: str
) -> None:
    with pytest.raises(Unmappable, match=says):
        downstream_keys(mapping, key, ours, theirs, NOW)


def test_a_run_that_rewrites_three_days_is_found_by_each_of_them() -> None:
    three = Window(-2, 0)
    assert produced_keys(three, "2026-11-05", DAILY, DAILY, NOW) == ("2026-11-03", "2026-11-04", "2026-11-05")
    assert producing_keys(three, "2026-11-05", DAILY, DAILY, NOW) == ("2026-11-05", "2026-11-06", "2026-11-07")


def test_the_runs_of_a_day_by_region_write_one_day() -> None:
    assert produced_keys(SAME, "2026-11-05|eu", BY_REGION, DAILY, NOW) == ("2026-11-05",)
    assert producing_keys(SAME, "2026-11-05", BY_REGION, DAILY, NOW) == ("2026-11-05|eu", "2026-11-05|us")
