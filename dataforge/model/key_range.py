"""Which partitions somebody means by a list of keys, or by the first and the last of a range.

Guarantees that each of them exists, and that a range without an end ends with the last window that has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

from dataforge.model.attempt import Interval
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.partition import InvalidPartitionKey, Partitioning, window_of
from dataforge.model.windows import Unmappable, bound, partitions, time_dimension


def listed(cut: Partitioning | None, keys: Sequence[str], field: str) -> tuple[str, ...]:
    """These keys, each once. Raises InvalidInput for one that is no partition."""
    for place, key in enumerate(keys if cut is not None else ()):
        _window(cut, key, f"{field}[{place}]")
    return tuple(dict.fromkeys(keys))


def whole(cut: Partitioning | None, field: str) -> tuple[str, ...]:
    """All partitions of what has none, or a set of keys; InvalidInput for what has time windows or is not known."""
    if cut is not None and cut.kind == "none":
        return ("",)
    if cut is not None and cut.keys:
        return cut.keys
    kind = "how it is cut is not known" if cut is None else f"it is cut ({cut.kind})"
    raise _refused(field, None, f"partitions, or from and to: {kind}")


def between(cut: Partitioning | None, first: str, last: str | None, now: datetime, field: str) -> tuple[str, ...]:
    """The partitions of the windows from the first to the last, both included; of two dimensions with every key of the
    other. A window that has not ended is none of them."""
    timed = time_dimension(cut)
    if cut is None or timed is None:
        raise _refused(f"{field}.from", first, "partitions by their keys: it has no time windows")
    begin = _window(timed, first, f"{field}.from").start
    end = now if last is None else _window(timed, last, f"{field}.to").end
    if end <= begin:
        raise _refused(f"{field}.to", last, f"a window from {first} on, or none")
    windows = _windows(timed, Interval(begin, min(end, now)), f"{field}.to")
    ended = [key for key in windows if _window(timed, key, field).end <= now]
    if cut.kind != "product":
        return tuple(ended)
    parts = [ended if part is timed else whole(part, field) for _, part in sorted(cut.dimensions.items())]
    return tuple("|".join(key) for key in product(*parts))


def since_start(cut: Partitioning | None, now: datetime, field: str) -> tuple[str, ...]:
    """The partitions of every window since the first one; InvalidInput for what has none, or does not say when it
    starts."""
    timed = time_dimension(cut)
    if cut is None or timed is None or timed.start is None:
        raise _refused(field, True, "partitions, or from and to: it has no time windows that start somewhere")
    ended = Interval(bound(timed, timed.start), now)
    first = next(iter(_windows(timed, ended, field)), None)
    return () if first is None else between(cut, first, None, now, field)


def _windows(cut: Partitioning, span: Interval, field: str) -> tuple[str, ...]:
    try:
        return partitions(cut, span)
    except Unmappable:
        raise _refused(field, None, "at most 10,000 windows: ask for a shorter range") from None


_NONE = Interval(datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))


def _window(cut: Partitioning | None, key: str, field: str) -> Interval:
    try:
        return (window_of(cut, key) if cut is not None else None) or _NONE
    except InvalidPartitionKey as error:
        raise _refused(field, key, error.errors[0].expected) from None


def _refused(field: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(f"{field} is {value!r}: expected {expected}", [FieldError(field, value, expected)])
