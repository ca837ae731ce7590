"""The rules of findings, as functions of values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dataforge.model.finding import Severity
from dataforge.model.finding_rule import (
    ENOUGH_RUNS,
    Execution,
    Made,
    Needed,
    Use,
    edge_never_declared,
    edge_never_observed,
    input_changed,
    silent_from,
    source_silent,
    started_too_early,
    usual_gap,
)
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunState
from dataforge.model.verdict import NodeRef

BEGIN = datetime(2026, 11, 2, tzinfo=UTC)
TASK = TaskRef("ns", "report")
ORDERS = NodeRef("dataset", "lake", "orders")


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def execution(state: RunState = RunState.SUCCEEDED, *, declared: bool = True) -> Execution:
    return Execution(
        task=TASK,
        run="r",
        partitions=("p",),
        owner=None,
        declared=declared,
        state=state,
        started_at=at(0),
        ended_at=at(100),
    )


def needed(*made: Made, partition: str = "p", version: str | None = None, missing: bool = False) -> Needed:
    return Needed(
        node=ORDERS,
        partition=partition,
        owner=None,
        read_from=at(0),
        read_until=at(100),
        made=made,
        version=version,
        missing=missing,
    )


def made(seconds: float, version: str | None = None, *, certain: bool = True) -> Made:
    return Made(at=at(seconds), run="w", version=version, certain=certain)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([made(-1)], False),
        ([made(0)], False),
        ([made(0.9)], False),  # two clocks are not told apart
        ([made(2)], True),
        ([made(500)], True),
        ([made(-5), made(5)], False),
        ([made(-5, certain=False), made(5)], False),  # it may have been there
        ([made(5, certain=False)], False),
        ([], False),
    ],
)
def test_a_run_is_too_early_where_the_first_success_is_known_to_have_come_later(given: list[Made], found: bool) -> None:
    assert (started_too_early(execution(), [needed(*given)]) is not None) is found


def test_the_input_that_came_last_is_named_first_and_one_that_never_came_before_it() -> None:
    item = started_too_early(execution(), [needed(made(5)), needed(made(50), partition="q"), needed(made(-1))])
    assert item is not None
    assert [each.partition for each in item.inputs] == ["q", "p"]
    assert item.message.endswith(
        "50 s before lake/orders for q was ready (2026-11-02 00:00:50 UTC), and 1 more of its inputs"
    )
    never = started_too_early(execution(), [needed(made(5)), needed(partition="z", missing=True)])
    assert never is not None
    assert [(each.partition, each.at) for each in never.inputs] == [("z", None), ("p", at(5))]


@pytest.mark.parametrize(
    ("state", "declared", "severity"),
    [
        (RunState.SUCCEEDED, True, Severity.HIGH),
        (RunState.RUNNING, True, Severity.HIGH),
        (RunState.FAILED, True, Severity.MEDIUM),
        (RunState.SUCCEEDED, False, Severity.MEDIUM),
    ],
)
def test_what_built_something_that_somebody_declares_weighs_most(
    state: RunState, declared: bool, severity: Severity
) -> None:
    item = started_too_early(execution(state, declared=declared), [needed(made(5))])
    assert item is not None
    assert item.severity is severity


@pytest.mark.parametrize(
    ("given", "read", "found"),
    [
        ([made(-5), made(50)], None, True),
        ([made(-5), made(99.5)], None, False),
        ([made(-5), made(101)], None, False),
        ([made(50)], None, False),  # that is too early, and said so
        ([made(-5, "a"), made(50, "a")], None, False),
        ([made(-5, "a"), made(50, "b")], None, True),
        ([made(-5), made(50, "b")], "b", False),
        ([made(-5), made(50, certain=False)], None, False),
    ],
)
def test_an_input_has_changed_where_another_version_came_between_start_and_end(
    given: list[Made], read: str | None, found: bool
) -> None:
    assert (input_changed(execution(), [needed(*given, version=read)]) is not None) is found


def test_a_whole_table_that_changes_weighs_less_than_a_partition() -> None:
    again = (made(-5), made(50))
    partition, table = (input_changed(execution(), [needed(*again, partition=key)]) for key in ("p", ""))
    assert partition is not None
    assert table is not None
    assert (partition.severity, table.severity) == (Severity.MEDIUM, Severity.LOW)


def test_an_edge_is_doubted_once_enough_runs_have_not_shown_it() -> None:
    use = Use(task=TASK, owner=None, source="dags", relation="consumes", node=ORDERS, since=BEGIN)
    assert edge_never_observed(use, ENOUGH_RUNS - 1, at(0)) is None
    assert edge_never_observed(use, ENOUGH_RUNS, at(0)) is not None
    assert edge_never_declared(use, at(0)).severity is Severity.MEDIUM


def _times(*hours: float) -> list[datetime]:
    return [BEGIN + timedelta(hours=each) for each in hours]


NIGHTS = [24.0 * day for day in range(14)]
WORKING = [24.0 * day for day in range(28) if (day + BEGIN.weekday()) % 7 < 5]


@pytest.mark.parametrize(
    ("hours", "gap"),
    [
        ([float(hour) for hour in range(100)], 1),
        (NIGHTS, 24),
        (WORKING, 72),
        ([*NIGHTS, 24 * 18.0, *(24.0 * day for day in range(19, 34))], 24),  # five days without: an outage
        ([0.0, 0.1, 24.0, 24.1, 48.0], 23.9),
        ([0.0, 24.0 * 30, 24.0 * 31], 24 * 30),  # too little history to call it an outage
        ([0.0, 0.1, 0.2, 24.0], None),  # a burst, and one more day
        ([0.0], None),
        ([], None),
    ],
)
def test_nights_and_weekends_are_usual_and_an_outage_is_not(hours: list[float], gap: float | None) -> None:
    found = usual_gap(_times(*hours))
    assert (found and found.total_seconds() / 3_600) == (gap and pytest.approx(gap))


def test_a_source_is_silent_after_three_times_its_usual_gap_and_an_hour_at_least() -> None:
    times = _times(*NIGHTS)
    last = times[-1]
    assert source_silent("ns", times, last, last + timedelta(hours=71)) is None
    assert source_silent("ns", times, last, last + timedelta(hours=72)) is not None
    assert silent_from(last, timedelta(minutes=1)) == last + timedelta(hours=1)
