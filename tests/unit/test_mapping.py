"""Which partitions of an upstream a partition needs, for each kind of mapping."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.edge import SAME, All, Dimension, Fixed, Last, Mapping, Table, Window
from dataforge.model.mapping import MOST_PARTITIONS, Side, upstream_keys
from dataforge.model.partition import NONE, InvalidPartitionKey, Partitioning
from dataforge.model.windows import Unmappable

NOW = datetime(2026, 11, 10, 12, 30, tzinfo=UTC)
HOURLY, DAILY = Partitioning(kind="hourly"), Partitioning(kind="daily", start="2026-01-01")
MONTHLY = Partitioning(kind="monthly", start="2026-01-01")
BERLIN = Partitioning(kind="daily", time_zone="Europe/Berlin")
CLIENTS = Partitioning(kind="static", keys=("acme", "globex"))
DYNAMIC = Partitioning(kind="dynamic", set="clients")
BOTH = Partitioning(kind="product", dimensions={"client": CLIENTS, "date": DAILY})
DAY, HOUR = "2026-11-05", "2026-11-05-07:00"
days = st.dates(date(2026, 3, 1), date(2026, 10, 31)).map(date.isoformat)


def _keys(mapping: Mapping, key: str, mine: Partitioning | None, theirs: Partitioning | None) -> tuple[str, ...]:
    return upstream_keys(mapping, Side(key, mine, NOW), theirs)


@pytest.mark.parametrize(
    ("key", "mine", "theirs", "expected"),
    [
        (DAY, DAILY, DAILY, (DAY,)),
        ("acme", CLIENTS, CLIENTS, ("acme",)),
        (HOUR, HOURLY, DAILY, (DAY,)),
        (DAY, DAILY, MONTHLY, ("2026-11-01",)),
        (DAY, BERLIN, DAILY, ("2026-11-04", DAY)),
        (f"acme|{DAY}", BOTH, BOTH, (f"acme|{DAY}",)),
        (f"acme|{DAY}", BOTH, DAILY, (DAY,)),
        ("", NONE, NONE, ("",)),
        (DAY, DAILY, NONE, ("",)),
        (DAY, DAILY, None, (DAY,)),
        ("anything", None, None, ("anything",)),
        (DAY, None, DAILY, (DAY,)),
    ],
)
def test_same_is_the_same_key_or_the_windows_that_cover_it(
    key: str, mine: Partitioning | None, theirs: Partitioning | None, expected: tuple[str, ...]
) -> None:
    assert _keys(SAME, key, mine, theirs) == expected


def test_a_day_needs_all_of_its_hours() -> None:
    hours = _keys(SAME, DAY, DAILY, HOURLY)
    assert len(hours) == 24
    assert (hours[0], hours[-1]) == ("2026-11-05-00:00", "2026-11-05-23:00")


def test_a_day_on_which_the_clocks_change_needs_the_hours_it_has() -> None:
    hourly = Partitioning(kind="hourly", time_zone="Europe/Berlin")
    assert len(_keys(SAME, "2026-03-29", BERLIN, hourly)) == 23


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(-6, 0), tuple(f"2026-11-0{day}" for day in range(1, 8))),
        (Window(-1, -1), ("2026-11-06",)),
        (Window(0, 1), ("2026-11-07", "2026-11-08")),
    ],
)
def test_a_window_counts_from_the_partition_itself(window: Window, expected: tuple[str, ...]) -> None:
    assert _keys(window, "2026-11-07", DAILY, DAILY) == expected


def test_a_window_is_shifted_in_its_own_steps_and_then_covered() -> None:
    assert _keys(Window(-1, 0), DAY, DAILY, HOURLY)[0] == "2026-11-04-00:00"
    assert _keys(Window(-1, -1), "2026-11-01", MONTHLY, DAILY) == tuple(f"2026-10-{day:02}" for day in range(1, 32))


def test_a_window_needs_nothing_from_before_the_upstream_began() -> None:
    assert _keys(Window(-6, 0), "2026-01-02", DAILY, DAILY) == ("2026-01-01", "2026-01-02")
    assert _keys(Window(-1, -1), "2026-01-01", DAILY, DAILY) == ()


@given(days, st.integers(-40, 40), st.integers(0, 40))
def test_a_window_has_as_many_keys_as_steps(day: str, begin: int, length: int) -> None:
    keys = _keys(Window(begin, begin + length), day, DAILY, DAILY)
    assert len(keys) == length + 1
    assert keys[0] == (date.fromisoformat(day) + timedelta(days=begin)).isoformat()


def test_all_of_a_static_upstream_are_its_keys() -> None:
    assert _keys(All(), DAY, DAILY, CLIENTS) == ("acme", "globex")


def test_all_of_time_are_the_windows_that_had_ended() -> None:
    assert _keys(All(), "2026-01-03", DAILY, DAILY) == ("2026-01-01", "2026-01-02", "2026-01-03")
    assert _keys(All(), "", NONE, MONTHLY) == tuple(f"2026-{month:02}-01" for month in range(1, 11))


def test_last_is_the_last_window_that_had_ended() -> None:
    assert _keys(Last(), "", NONE, DAILY) == ("2026-11-09",)
    assert _keys(Last(), "", NONE, HOURLY) == ("2026-11-10-11:00",)
    assert _keys(Last(), DAY, DAILY, MONTHLY) == ("2026-10-01",)
    assert _keys(Last(), DAY, DAILY, DAILY) == (DAY,)


def test_fixed_is_the_key_that_is_written() -> None:
    assert _keys(Fixed("acme"), DAY, DAILY, CLIENTS) == ("acme",)


def test_a_table_names_the_keys_of_each_key() -> None:
    assert _keys(Table({"acme": ("eu", "us")}), "acme", CLIENTS, None) == ("eu", "us")


def test_dimensions_are_mapped_each_by_itself() -> None:
    by_dimension = Dimension({"client": All(), "date": Window(-1, 0)})
    expected = f"acme|2026-11-04|{DAY}".split("|")
    keys = _keys(by_dimension, DAY, DAILY, BOTH)
    assert keys == tuple(f"{client}|{day}" for client in ("acme", "globex") for day in expected[1:])
    assert _keys(Dimension({}), f"acme|{DAY}", BOTH, BOTH) == (f"acme|{DAY}",)


@pytest.mark.parametrize(
    ("mapping", "key", "mine", "theirs", "says"),
    [
        (SAME, "", NONE, DAILY, "declare a mapping such as last or all"),
        (Window(-1, 0), "acme", CLIENTS, CLIENTS, "time windows on both sides"),
        (All(), DAY, DAILY, DYNAMIC, "the set clients holds no key yet"),
        (All(), DAY, DAILY, BERLIN, "declare where it starts"),
        (Last(), DAY, DAILY, CLIENTS, "no last partition"),
        (Table({"acme": ("eu",)}), "globex", CLIENTS, None, "names no partitions for 'globex'"),
        (Dimension({}), DAY, DAILY, DAILY, "two dimensions"),
        (Window(-1_000, 0), DAY, DAILY, HOURLY, "too many"),
        (Window(-MOST_PARTITIONS, 0), HOUR, HOURLY, HOURLY, "is the most of one edge"),
        (Window(-100_000, 0), DAY, DAILY, DAILY, "too far"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_to_declare(
    mapping: Mapping, key: str, mine: Partitioning | None, theirs: Partitioning | None, says: str
) -> None:
    with pytest.raises(Unmappable, match=says):
        _keys(mapping, key, mine, theirs)


@pytest.mark.parametrize(
    ("mapping", "key", "mine", "theirs"),
    [
        (SAME, "acme", CLIENTS, DAILY),
        (SAME, DAY, DAILY, CLIENTS),
        (SAME, "2025-12-31", DAILY, DAILY),
        (Fixed("initech"), DAY, DAILY, CLIENTS),
    ],
)
def test_a_key_that_the_upstream_does_not_have_is_refused(
    mapping: Mapping, key: str, mine: Partitioning, theirs: Partitioning
) -> None:
    with pytest.raises(InvalidPartitionKey):
        _keys(mapping, key, mine, theirs)
