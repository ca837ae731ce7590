"""Edges between time windows as arithmetic: for every window of one side, the first and the last one of the other.

Guarantees the same windows as `model.mapping` names, key by key, as far as the stated years reach; a step is a lookup,
so that years of hours are followed at once. Every kind of mapping is monotone here: a later window never leads to an
earlier one than an earlier window does. That is what `graph.strict` rests on.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataforge.model.attempt import Interval
from dataforge.model.edge import All, Fixed, Last, Mapping, Same, ToDate, Window
from dataforge.model.partition import Partitioning, endless, keys_of
from dataforge.model.windows import at, bound, exists, period

Ints = NDArray[np.int64]
_CHUNK = timedelta(days=5)  # of which no partitioning has more windows than `keys_of` names
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = np.int64(-1)


class Windows(NamedTuple):
    """The windows of some years in order, and which of them are partitions: from index `first` to `last`."""

    cut: Partitioning
    starts: Ints  # seconds since 1970
    ends: Ints
    first: int
    last: int

    @property
    def size(self) -> int:
        return len(self.starts)


class Reach(NamedTuple):
    """For each window of one side the first and the last of the other; NOTHING in both where there is none."""

    first: Ints
    last: Ints


def windows(cut: Partitioning | None, span: Interval) -> Windows:
    """The windows that begin in the span; what is not cut by time is one window without an end."""
    if cut is None:
        return Windows(Partitioning(kind="none"), np.zeros(1, np.int64), np.full(1, 2**60), 0, 0)
    chunk = span.start - (span.start - _EPOCH) % _CHUNK
    found: list[tuple[int, int]] = []
    while chunk < span.end:
        found += _chunk(endless(cut), chunk)
        chunk += _CHUNK
    table = np.array(found, dtype=np.int64).reshape(-1, 2)
    start = np.searchsorted(table[:, 0], _seconds(bound(cut, cut.start)) if cut.start else -(2**60))
    end = np.searchsorted(table[:, 1], _seconds(bound(cut, cut.end)) if cut.end else 2**60, side="right")
    return Windows(cut, table[:, 0].copy(), table[:, 1].copy(), int(start), int(end) - 1)


@lru_cache(maxsize=32_768)
def _chunk(cut: Partitioning, begin: datetime) -> tuple[tuple[int, int], ...]:
    found = [at(cut, key) for key in keys_of(cut, Interval(begin, begin + _CHUNK))]
    return tuple((_seconds(window.start), _seconds(window.end)) for window in found if window.start >= begin)


def _seconds(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds())


def reach(mapping: Mapping, ours: Windows, theirs: Windows) -> Reach:
    """Which windows of the other side the mapping asks for, of each window of ours."""
    first, last = _ends(mapping, ours, theirs)
    first, last = np.maximum(first, theirs.first), np.minimum(last, theirs.last)
    place = np.arange(ours.size)
    none = (first > last) | (place < ours.first) | (place > ours.last)
    return Reach(np.where(none, NOTHING, first), np.where(none, NOTHING, last))


def _ends(mapping: Mapping, ours: Windows, theirs: Windows) -> tuple[Ints, Ints]:
    """First and last index, as if windows on both sides were partitions for ever."""
    place = np.arange(ours.size)
    if theirs.cut.kind == "none":
        return np.zeros(ours.size, np.int64), np.zeros(ours.size, np.int64)
    if isinstance(mapping, Fixed):
        return _fixed(mapping, ours, theirs)
    if isinstance(mapping, All | Last):
        last = np.minimum(np.searchsorted(theirs.ends, ours.ends, side="right") - 1, theirs.last)
        latest = isinstance(mapping, Last) and mapping.not_older_than is None
        return (last if latest else np.zeros_like(last)), last
    if ours.cut.kind == "none" or not isinstance(mapping, Same | Window | ToDate):
        return np.zeros(ours.size, np.int64), np.full(ours.size, theirs.size - 1)  # by keys that nobody knows: any
    begin, end = (mapping.from_, mapping.to) if isinstance(mapping, Window) else (0, 0)
    first = _firsts(ours, mapping.period) if isinstance(mapping, ToDate) else place + begin
    return _touched(ours, theirs, first, place + end)


def _touched(ours: Windows, theirs: Windows, first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """The windows of theirs that the time from ours `first` to ours `last` touches."""
    known = (first >= 0) & (last < ours.size)
    begins, ends = ours.starts[np.clip(first, 0, ours.size - 1)], ours.ends[np.clip(last, 0, ours.size - 1)]
    touched = np.searchsorted(theirs.ends, begins, side="right")
    beyond = np.searchsorted(theirs.starts, ends, side="left") - 1
    return np.where(known, touched, theirs.size), np.where(known, beyond, NOTHING)


def _firsts(ours: Windows, name: str) -> Ints:
    """For each window the first that begins in the same period."""
    begins: dict[int, int] = {}
    firsts = np.zeros(ours.size, np.int64)
    until = -(2**60)
    begin = 0
    for place, start in enumerate(ours.starts.tolist()):
        if start >= until:
            moment = _EPOCH + timedelta(seconds=start)
            found = period(ours.cut, Interval(moment, moment), name)
            until, begin = _seconds(found.end), begins.setdefault(_seconds(found.start), place)
        firsts[place] = begin
    return firsts


def _fixed(mapping: Fixed, ours: Windows, theirs: Windows) -> tuple[Ints, Ints]:
    """One window whatever the key. A loop through it comes back to it, whenever it is: outside the time that is
    followed any will do."""
    place = theirs.size
    if exists(theirs.cut, mapping.key):
        start = _seconds(at(theirs.cut, mapping.key).start)
        place = int(np.searchsorted(theirs.starts, start))
        if place == theirs.size or theirs.starts[place] != start:
            place = (theirs.first + theirs.last) // 2
    return np.full(ours.size, place), np.full(ours.size, place if place < theirs.size else NOTHING)


def without(read: Reach, written: Reach) -> tuple[Reach, Reach]:
    """What a task reads of that which it does not itself write: the part before, and the part after."""
    apart = (written.last == NOTHING) | (read.last < written.first) | (read.first > written.last)
    before = np.where(apart, NOTHING, np.minimum(read.last, written.first - 1))
    after = np.where(apart, read.last, np.where(read.last > written.last, read.last, NOTHING))
    return (
        Reach(np.where(before >= read.first, read.first, NOTHING), np.where(before >= read.first, before, NOTHING)),
        Reach(np.where(after >= 0, np.maximum(read.first, 0), NOTHING), after),
    )


def within(read: Reach, written: Reach) -> Reach:
    """What a task reads of that which it writes in place."""
    first, last = np.maximum(read.first, written.first), np.minimum(read.last, written.last)
    none = (first > last) | (first < 0)
    return Reach(np.where(none, NOTHING, first), np.where(none, NOTHING, last))


def back(found: Reach, size: int) -> Ints:
    """For each of `size` windows of the other side the last of ours that leads to it; NOTHING where none does."""
    leading = np.flatnonzero(found.last >= 0)
    if not len(leading):
        return np.full(size, NOTHING)
    place = np.arange(size)
    nearest = np.searchsorted(found.first[leading], place, side="right") - 1
    ours = leading[np.clip(nearest, 0, len(leading) - 1)]
    return np.where((nearest >= 0) & (found.last[ours] >= place), ours, NOTHING)
