"""Streams: which time partitions a watermark has passed, since when, and which of them got data after that.

Guarantees that the answer is a function of the set of watermarks and late data, whatever their order: a watermark that
goes back says nothing new, and a partition is ready since the first event whose watermark had passed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from dataforge.model.partition import Partitioning, keys_of, window_at
from dataforge.model.windows import INSTANT, bound, exists, step

LONGEST_LATENESS = timedelta(days=30)
FARTHEST_AHEAD = timedelta(days=1)  # of an event's own time: clocks differ, and nothing is complete before it was
BEFORE_FIRST = 1_000  # windows before the first watermark that was told of, where the partitions start no later
MOST_WINDOWS = 1_000_000  # of one output; those after them are not made ready
_FOREVER = datetime.max.replace(tzinfo=UTC)  # so many weeks would end later


class Told(NamedTuple):
    """That an event said how far a run had come."""

    at: datetime
    said_at: datetime
    run: str


class Late(NamedTuple):
    """That an event told of rows that came for a partition."""

    said_at: datetime
    rows: int


class Reach(NamedTuple):
    """Which windows of an output a stream can make ready at all: those that end after the one, and not after the
    other moment."""

    after: datetime
    until: datetime


def reach(cut: Partitioning, first: datetime) -> Reach:
    """The reach of a stream whose first watermark that anybody told of is `first`."""
    begin = step(cut, window_at(cut, first), -BEFORE_FIRST).start
    if cut.start is not None:
        begin = max(begin, bound(cut, cut.start))
    window = window_at(cut, begin)
    return Reach(begin, begin + min(MOST_WINDOWS * (window.end - window.start), _FOREVER - begin))


def passed(
    cut: Partitioning, lateness: timedelta, told: Sequence[Told], within: Reach, above: datetime | None = None
) -> dict[str, Told]:
    """The partitions that watermarks have passed, each with the event that first said so; with `above` only those that
    a watermark of that moment had not passed."""
    if not told:
        return {}
    ordered = sorted(told, reverse=True)
    least = within.after if above is None else max(within.after, above - lateness)
    found: dict[str, Told] = {}
    first: Told | None = None
    following = 0
    for key, end in reversed(list(_ending(cut, least, min(within.until, ordered[0].at - lateness)))):
        while following < len(ordered) and ordered[following].at >= end + lateness:
            each = ordered[following]
            first = each if first is None or _said(each) < _said(first) else first
            following += 1
        assert first is not None, "the last watermark has passed every one of these"
        found[key] = first
    return found


def _said(told: Told) -> tuple[datetime, str]:
    return (told.said_at, told.run)


def _ending(cut: Partitioning, after: datetime, until: datetime) -> Iterator[tuple[str, datetime]]:
    """The partitions that end after the one moment and by the other, with their ends."""
    window = window_at(cut, after)
    while window.end <= until:
        (key,) = keys_of(cut, type(window)(window.start, window.start + INSTANT))
        if exists(cut, key):
            yield key, window.end
        window = window_at(cut, window.end)


def late_rows(late: Iterable[Late], since: datetime) -> int:
    """How many rows came for a partition after it was ready; what came before is part of it."""
    return sum(each.rows for each in late if each.said_at > since)
