"""Whether a dataset comes when it usually does: the rule, and what it is answered with.

How long after its window's end a partition usually comes is the median of the last successes, 20 at most. It is late
once it has taken longer than nine in ten of these, and than twice the usual, and a quarter of an hour more; so one that
was run again a week later changes nothing. What came fewer than three times has no usual time yet. Where it is declared
by when a window is due, it is late from then on, and not before. Only windows after the last one that came are awaited:
a gap before it is missing, and not late.

Guarantees an answer that is a function of the values given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from statistics import median
from typing import Annotated

import msgspec
from msgspec import Meta

from dataforge.model.attempt import Interval
from dataforge.model.column_change import MOST_RESULTS, ColumnChange
from dataforge.model.due import Due, due_at
from dataforge.model.out_of_order import DAYS, OutOfOrder
from dataforge.model.partition import InvalidPartitionKey, Partitioning, keys_of, window_at, window_of
from dataforge.model.verdict import NodeRef
from dataforge.model.windows import exists

FEWEST = 3  # successes that make a usual time
GRACE = timedelta(minutes=15)
MOST_AWAITED = 100  # windows that are looked at; what is later is told by the first of them


class ArrivalQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dataset; without a namespace the name must be unique in the environment."""

    name: Annotated[str, Meta(description="The dataset's name.")]
    namespace: Annotated[str | None, Meta(description="Its namespace, where the name is not unique.")] = None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a dataset has been seen, and comes when and as it usually does."""

    node: Annotated[NodeRef, Meta(description="The dataset, under its canonical name.")]
    declared: Annotated[bool, Meta(description="Whether a source declares it, or a task that writes it.")] = False
    observed: Annotated[bool, Meta(description="Whether a run was ever seen to write or to read it.")] = False
    owner: Annotated[str | None, Meta(description="Who answers for it.")] = None
    last: Annotated[str | None, Meta(description="The last window that came; null where there is none.")] = None
    usual_seconds: Annotated[
        float | None, Meta(description="How long after its window's end it usually comes; null without history.")
    ] = None
    awaited: Annotated[
        str | None, Meta(description="The first window that has ended since and is not there; null where none is.")
    ] = None
    expected_at: Annotated[datetime | None, Meta(description="When that was to come, by the usual time.")] = None
    due_at: Annotated[datetime | None, Meta(description="By when that is to be there, where it is declared.")] = None
    late_from: Annotated[datetime | None, Meta(description="From when on it is late.")] = None
    late: Annotated[int, Meta(description=f"How many windows are late, of {MOST_AWAITED} that are looked at.")] = 0
    out_of_order: Annotated[
        tuple[OutOfOrder, ...],
        Meta(description=f"Of the last {DAYS} days those on which events of it came out of order, the newest first."),
    ] = ()
    column_changes: Annotated[
        tuple[ColumnChange, ...],
        Meta(
            description=f"Where columns changed among its last {MOST_RESULTS} runs, the newest first; none where the"
            " last run has those of the last good one."
        ),
    ] = ()


class Arrivals(msgspec.Struct, frozen=True):
    """One item for each question, in the order asked, all of one moment."""

    items: Annotated[tuple[Arrival, ...], Meta(description="An item for each question, in the order asked.")]
    decided_at: Annotated[datetime, Meta(description="The moment they all hold for.")]


class Came(msgspec.Struct, frozen=True):
    """That a partition became ready."""

    partition: str
    at: datetime


def judged(
    known: Arrival, cut: Partitioning | None, came: Sequence[Came], now: datetime, due: Due | None = None
) -> Arrival:
    """What is known of a dataset, with whether it is late; `came` are its last successes, in any order."""
    if cut is None or not cut.windowed:
        return known
    windows = [(window, each) for each in came if (window := _window(cut, each.partition)) is not None]
    if not windows:
        return known
    last, newest = max(windows, key=lambda one: one[0].start)
    seen = msgspec.structs.replace(known, last=newest.partition)
    usual = _usual([each.at - window.end for window, each in windows])
    awaited = _awaited(cut, last, now)
    if due is not None:
        late_from = [due_at(due, each.end) for each in awaited]
    elif usual is not None:
        late_from = [each.end + usual.patience for each in awaited]
    else:
        return seen
    first = awaited[0] if awaited else None
    return msgspec.structs.replace(
        seen,
        usual_seconds=usual.after.total_seconds() if usual else None,
        awaited=keys_of(cut, first)[0] if first else None,
        expected_at=first.end + usual.after if first and usual else None,
        due_at=late_from[0] if first and due else None,
        late_from=late_from[0] if first else None,
        late=sum(each < now for each in late_from),
    )


class _Usual(msgspec.Struct, frozen=True):
    """How long after its window's end a partition comes, and how long is waited for it."""

    after: timedelta
    patience: timedelta


def _usual(lags: Sequence[timedelta]) -> _Usual | None:
    if len(lags) < FEWEST:
        return None
    ordered = sorted(lags)
    after = timedelta(seconds=median(lag.total_seconds() for lag in ordered))
    return _Usual(after, max(ordered[-(-len(ordered) * 9 // 10) - 1], 2 * after, timedelta(0)) + GRACE)


@lru_cache(maxsize=256)  # of thousands that are asked about at once, most are cut alike and have come as far
def _awaited(cut: Partitioning, last: Interval, now: datetime) -> tuple[Interval, ...]:
    """The windows after the last one that have ended, as far as the partitioning has them."""
    return tuple(_ended(cut, last, now))


def _ended(cut: Partitioning, window: Interval, now: datetime) -> Iterator[Interval]:
    for _ in range(MOST_AWAITED):
        window = window_at(cut, window.end)
        if window.end > now or not all(exists(cut, key) for key in keys_of(cut, window)):
            return
        yield window


def _window(cut: Partitioning, key: str) -> Interval | None:
    try:
        return window_of(cut, key)
    except InvalidPartitionKey:  # of how it was cut before
        return None
