"""Attempts merge as a semilattice: the order, grouping and repetition of what events say never counts."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.attempt import Attempt, AttemptKey, Interval, RunPointer, Touch, merge, merge_touches
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.state import Evidence, RunKind, RunState, Statement

KEY = AttemptKey(TaskRef("ns", "task"), "run", "1")
times = st.integers(0, 20).map(lambda minutes: datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=minutes))
short = st.text("ab", max_size=2)
statements = st.builds(
    Statement, st.sampled_from(Evidence), st.sampled_from(RunState), times, st.binary(min_size=2, max_size=2)
)
intervals = st.builds(Interval, times, times)
pointers = st.builds(RunPointer, st.just(TaskRef("ns", "above")), st.text("xy", min_size=1, max_size=2))


@st.composite
def touches(draw: st.DrawFn) -> tuple[Touch, ...]:
    listed = draw(st.lists(st.tuples(st.sampled_from(["input", "output"]), st.sampled_from("de"), short), max_size=4))
    found: tuple[Touch, ...] = ()
    for direction, name, partition in listed:
        at = draw(times)
        version, columns = draw(st.none() | short), draw(st.none() | short)
        touch = Touch(
            direction="input" if direction == "input" else "output",
            dataset=DatasetRef("ns", name),
            partition=partition,
            first_at=at,
            last_at=at,
            version=version,
            version_at=at if version is not None else None,
            rows=draw(st.none() | st.integers(0, 3)),
            measured=draw(st.booleans()),
            change=draw(st.none() | st.sampled_from(["CREATE", "OVERWRITE"])),
            columns=columns,
            columns_at=at if columns is not None else None,
        )
        found = merge_touches(found, (touch,))
    return found


attempts = st.builds(
    Attempt,
    key=st.just(KEY),
    kind=st.sampled_from(RunKind),
    platform=short,
    statement=statements,
    external_run=short,
    group_run=short,
    map_index=st.integers(-1, 2),
    number=st.none() | st.integers(0, 3),
    incarnation=st.none() | times,
    completed=st.booleans(),
    started_at=st.none() | times,
    ended_at=st.none() | times,
    interval=st.none() | intervals,
    partition=st.none() | short,
    parent=st.none() | pointers,
    root=st.none() | pointers,
    error=st.none() | short,
    source=st.dictionaries(st.sampled_from(["a", "b"]), st.none() | short | st.integers(0, 12), max_size=2),
    touches=touches(),
)


@given(attempts, attempts)
def test_merge_is_commutative(first: Attempt, second: Attempt) -> None:
    assert merge(first, second) == merge(second, first)


@given(attempts, attempts, attempts)
def test_merge_is_associative(first: Attempt, second: Attempt, third: Attempt) -> None:
    assert merge(merge(first, second), third) == merge(first, merge(second, third))


@given(attempts)
def test_merging_a_repeat_changes_nothing(attempt: Attempt) -> None:
    once = merge(attempt, attempt)
    assert merge(once, attempt) == once


@given(st.lists(attempts, min_size=1, max_size=6), st.randoms())
def test_any_order_with_repeats_gives_the_same_attempt(said: list[Attempt], random: Random) -> None:
    shuffled = [*said, *random.choices(said, k=3)]
    random.shuffle(shuffled)
    assert reduce(merge, shuffled) == reduce(merge, [*said, said[0]])


@given(statements, statements)
def test_the_stronger_evidence_wins_whatever_is_said_and_when(first: Statement, second: Statement) -> None:
    merged = merge(Attempt(KEY, RunKind.TASK, "", first, "r", "r"), Attempt(KEY, RunKind.TASK, "", second, "r", "r"))
    assert merged.statement.evidence == max(first.evidence, second.evidence)
    if first.evidence == second.evidence:
        assert merged.statement.state.rank == max(first.state.rank, second.state.rank)


@given(statements)
def test_a_late_start_never_reopens_a_finished_run(end: Statement) -> None:
    late = Statement(end.evidence, RunState.RUNNING, end.at + timedelta(days=1), b"zz")
    done = Attempt(KEY, RunKind.TASK, "", end, "r", "r")
    merged = merge(done, Attempt(KEY, RunKind.TASK, "", late, "r", "r"))
    if end.state.final:
        assert merged.statement == end
