"""The pace of a backfill: caps, budgets and hours are kept by whatever is released, in whichever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.backfill import AT_ONCE, Cap, Hours
from dataforge.model.pace import Nature, Room, Runs, durations, ends_at, is_open

_NAMES = st.sampled_from(["a", "b"])
_NATURES = st.builds(
    Nature,
    task=_NAMES,
    datasets=st.lists(_NAMES, max_size=2, unique=True).map(tuple),
    pools=st.lists(_NAMES, max_size=2, unique=True).map(tuple),
    domain=st.none() | _NAMES,
    cost=st.sampled_from([0.0, 1.0, 2.5, 7.0]),
)
_CAPS = st.builds(
    lambda scope, at_once, name: Cap(scope, at_once, None if scope == "all" else name),
    scope=st.sampled_from(["all", "task", "dataset", "pool", "domain"]),
    at_once=st.integers(1, 3),
    name=st.none() | _NAMES,
)


def _counted(cap: Cap, name: str, natures: list[Nature]) -> int:
    return sum(name in each.names(cap.scope) for each in natures if cap.name in (None, name))


@given(st.lists(_CAPS, max_size=3), st.lists(_NATURES, max_size=2), st.lists(_NATURES, max_size=12))
def test_no_cap_is_exceeded_and_what_is_kept_out_would_exceed_one(
    caps: list[Cap], going: list[Nature], wanting: list[Nature]
) -> None:
    room = Room(caps, going, None, 0.0)
    taken = list(going)
    for each in wanting:
        fits = all(
            _counted(cap, name, taken) < cap.at_once
            for cap in caps
            for name in each.names(cap.scope)
            if cap.name in (None, name)
        )
        assert room.admits(each) == (fits and len(taken) < AT_ONCE)
        taken += [each] if fits else []


@given(st.sampled_from([1.0, 5.0, 20.0]), st.sampled_from([0.0, 3.0, 30.0]), st.lists(_NATURES, max_size=12))
def test_the_budget_is_kept_but_for_the_one_that_alone_exceeds_it(
    budget: float, spent: float, wanting: list[Nature]
) -> None:
    room = Room((Cap("all", 100),), (), budget, spent)
    costs = [each.cost for each in wanting if room.admits(each)]
    paid = [cost for cost in costs if cost]
    assert spent + sum(paid) <= max(budget, spent) or (not spent and paid == [paid[0]])
    assert costs.count(0.0) == sum(each.cost == 0.0 for each in wanting)


_MINUTE = timedelta(minutes=1)
_TIMES = st.integers(0, 47).map(lambda half: f"{half // 2:02}:{half % 2 * 30:02}")


@given(
    _TIMES,
    _TIMES,
    st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"]),
    st.integers(0, 1_439),
    st.integers(0, 3_000),
)
def test_the_end_is_where_counting_minutes_in_which_it_works_comes_to(
    begin: str, end: str, zone: str, minute: int, length: int
) -> None:
    if begin == end:
        return
    hours = Hours(begin=begin, end=end, time_zone=zone)
    at = now = datetime(2026, 7, 1, tzinfo=UTC) + minute * _MINUTE
    for _ in range(length):
        while not is_open(hours, at):
            at += _MINUTE
        at += _MINUTE
    assert ends_at(hours, now, 60.0 * length) == at
    assert ends_at(None, now, 60.0 * length) == now + length * _MINUTE


def test_hours_over_midnight_are_those_of_their_zone() -> None:
    hours = Hours(begin="22:00", end="06:00", time_zone="Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    shown = {hour: is_open(hours, datetime(2026, 11, 6, hour, tzinfo=berlin)) for hour in (0, 5, 6, 12, 21, 22, 23)}
    assert shown == {0: True, 5: True, 6: False, 12: False, 21: False, 22: True, 23: True}


def test_it_takes_as_long_as_its_tightest_limit() -> None:
    runs = Runs(Nature(task="a", pools=("p",), cost=2.0), 10, 60.0)
    assert list(durations([[runs]], (), None)) == [(60.0, "order")]
    assert list(durations([[runs]], (Cap("pool", 2, "p"),), None)) == [(300.0, "caps")]
    assert list(durations([[runs]], (Cap("pool", 2, "q"),), None)) == [(60.0, "order")]
    assert list(durations([[runs]], (), 5.0)) == [(3_600.0 * 3, "budget")]
    assert list(durations([], (), None)) == []
    assert list(durations([[]], (), None)) == [(0.0, "nothing")]


def test_each_wave_ends_after_all_that_is_run_until_then() -> None:
    one, other = Runs(Nature(task="a"), 10, 60.0), Runs(Nature(task="b"), 1, 30.0)
    assert list(durations([[one, other], [other]], (), None)) == [(60.0, "order"), (90.0, "order")]
    assert list(durations([[one], [other]], (Cap("all", 2),), None)) == [(300.0, "caps"), (315.0, "caps")]
