"""A run as it stands: what an attempt takes from the run above it."""

from datetime import UTC, datetime

import pytest

from dataforge.model.attempt import Attempt, AttemptKey
from dataforge.model.reference import TaskRef
from dataforge.model.run import Ancestor, Belief, stand
from dataforge.model.state import Evidence, RunKind, RunState, Statement

APPLICATION = Attempt(
    key=AttemptKey(TaskRef("spark", "orders"), "app-1", "app-1"),
    kind=RunKind.TASK,
    platform="spark",
    statement=Statement(Evidence.REPORTED, RunState.SUCCEEDED, datetime(2026, 11, 1, tzinfo=UTC), b"e"),
    external_run="app-1",
    group_run="app-1",
)


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        (Belief(RunState.SUCCEEDED, Evidence.REPORTED), Belief(RunState.SUCCEEDED, Evidence.CONFIRMED)),
        (Belief(RunState.UP_FOR_RETRY, Evidence.REPORTED), Belief(RunState.FAILED, Evidence.CONFIRMED)),
        (Belief(RunState.SKIPPED, Evidence.CONFIRMED), Belief(RunState.SKIPPED, Evidence.CONFIRMED)),
        (Belief(RunState.SKIPPED, Evidence.INFERRED), Belief(RunState.UNKNOWN, Evidence.INFERRED)),
    ],
)
def test_spark_application_takes_its_parents_outcome_unless_that_is_a_guess(parent: Belief, expected: Belief) -> None:
    (standing,) = stand([APPLICATION], {"app-1": Ancestor(parent, None, ())})
    assert standing.belief == expected
