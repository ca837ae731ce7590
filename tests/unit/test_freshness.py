"""The rule of freshness: what makes a partition stale, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model import freshness
from dataforge.model.attempt import Interval
from dataforge.model.freshness import FreshnessStatus, Input, Read, Success
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.model.upstream import State
from dataforge.model.verdict import Code, NodeRef, Reason

NOW = datetime(2026, 11, 20, tzinfo=UTC)
START = datetime(2026, 11, 6, 5, 0, tzinfo=UTC)
END = START + timedelta(minutes=4)
BUILT = Success(by=(1, "r"), started_at=START, ended_at=END)
UNTOLD = Reason(code=Code.PARTITION_UNKNOWN, message="which partition is needed cannot be told")


def _input(ended: datetime | None = None, kind: Any = "dataset", name: str = "raw", **more: Any) -> Input:
    success = Success(by=(2, "u"), ended_at=ended, version=more.pop("version", None)) if ended else None
    ready = State(status=PartitionStatus.READY, run_state=RunState.SUCCEEDED, evidence=Evidence.REPORTED, since=ended)
    given = {"success": success, "state": ready if ended else None, "run": "u" if ended else None, **more}
    return Input(node=NodeRef(kind, "s3://lake", name), partition="2026-11-05", **given)


def compare(
    built: Success | None, inputs: Iterable[Input], untold: Sequence[Reason], now: datetime
) -> tuple[FreshnessStatus, tuple[Reason, ...]]:
    found = freshness.compare(built, enumerate(inputs), untold, now)
    return found.status, tuple(sorted(found.reasons(), key=lambda reason: reason.order))


def _codes(built: Success | None, *inputs: Input) -> tuple[str, list[str]]:
    status, reasons = compare(built, inputs, [], NOW)
    return status.value, [reason.code.value for reason in reasons]


STALE = ("stale", ["upstream_stale"])
FRESH: tuple[str, list[str]] = ("fresh", [])


def test_what_ended_before_the_start_is_older_and_at_the_start_as_well() -> None:
    assert _codes(BUILT, _input(START - timedelta(hours=1)), _input(START)) == FRESH
    assert _codes(BUILT, _input(START + timedelta(microseconds=1))) == STALE


def test_where_no_start_is_known_the_end_stands_for_it() -> None:
    built = Success(by=(1, "r"), ended_at=END)
    assert _codes(built, _input(END)) == FRESH
    assert _codes(built, _input(END + timedelta(seconds=1))) == STALE
    assert _codes(Success(by=(1, "r")), _input(END)) == FRESH


def test_what_the_run_itself_wrote_is_not_newer() -> None:
    assert _codes(Success(by=(2, "u"), started_at=START), _input(END)) == FRESH


@pytest.mark.parametrize(
    ("read", "present", "ended", "expected"),
    [
        (Read("a"), "a", END, FRESH),
        (Read("a"), "b", START, STALE),
        (Read("a"), None, END, STALE),
        (None, "a", END, STALE),
        (Read("a", whole=True), "a", END, FRESH),
        (Read("a", whole=True), "b", START, FRESH),
        (Read("a", whole=True), "b", END, STALE),
    ],
)
def test_versions_tell_more_than_times(
    read: Read | None, present: str | None, ended: datetime, expected: tuple[str, list[str]]
) -> None:
    assert _codes(BUILT, _input(ended, version=present, read=read)) == expected


def test_a_dataset_that_nobody_made_is_missing_if_somebody_would_have() -> None:
    assert _codes(BUILT, _input()) == ("stale", ["upstream_missing"])
    assert _codes(BUILT, _input(written=False)) == FRESH
    assert _codes(None, _input()) == ("not_built", ["upstream_missing"])


def test_a_task_that_did_not_succeed_is_not_missing() -> None:
    assert _codes(BUILT, _input(kind="task")) == FRESH
    assert _codes(BUILT, _input(END, kind="task")) == STALE


@pytest.mark.parametrize("run_state", list(RunState))
def test_what_is_missing_says_what_became_of_its_run(run_state: RunState) -> None:
    state = State(status=PartitionStatus.FAILED, run_state=run_state, evidence=Evidence.REPORTED, since=END)
    _, (reason,) = compare(BUILT, [_input(state=state, run="u7", owner="team")], [], NOW)
    assert reason.message.startswith("s3://lake/raw for 2026-11-05 is missing (")
    assert (reason.since, reason.run, reason.owner) == (END, "u7", "team")
    assert "its run failed" in reason.message or run_state is not RunState.FAILED


def test_what_never_ran_is_missing_since_its_window_ended() -> None:
    window = Interval(START - timedelta(days=1), START)
    _, (reason,) = compare(None, [_input(window=window)], [], NOW)
    assert (reason.since, reason.state) == (START, "missing")
    _, (reason,) = compare(None, [_input(window=window)], [], START - timedelta(hours=1))
    assert reason.since is None


def test_what_cannot_be_told_is_unknown_unless_it_is_stale_anyway() -> None:
    assert compare(BUILT, [], [UNTOLD], NOW) == ("unknown", (UNTOLD,))
    status, reasons = compare(BUILT, [_input(START + timedelta(days=7))], [UNTOLD], NOW)
    assert (status, len(reasons)) == ("stale", 2)


def test_what_was_written_while_it_was_being_built_is_said_so() -> None:
    _, (reason,) = compare(BUILT, [_input(START + timedelta(minutes=2))], [], NOW)
    assert reason.message == (
        "s3://lake/raw for 2026-11-05 was written again at 2026-11-06 05:02 UTC, when the run that built this had"
        " begun (2026-11-06 05:00 UTC)"
    )


@given(st.permutations([_input(END + timedelta(days=day), name=f"d{day}") for day in range(4)]))
def test_the_order_of_the_inputs_does_not_matter(inputs: list[Input]) -> None:
    assert compare(BUILT, inputs, [], NOW) == compare(BUILT, sorted(inputs, key=lambda each: each.node), [], NOW)
