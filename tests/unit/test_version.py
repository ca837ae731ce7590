"""Spans: what holds when is what was written last over each moment, in as few spans as say it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.version import Span, overwritten

START = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 12


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


versions = st.sampled_from([b"a", b"b", None])
stretches = st.tuples(st.integers(0, HOURS - 1), st.integers(1, HOURS) | st.none(), versions).filter(
    lambda written: written[1] is None or written[0] < written[1]
)


@given(st.lists(stretches, max_size=8))
def test_each_moment_has_the_version_that_was_written_over_it_last(
    written: list[tuple[int, int | None, bytes | None]],
) -> None:
    spans: list[Span] = []
    by_hour: list[bytes | None] = [None] * (HOURS + 1)
    for begin, end, version in written:
        spans = overwritten(spans, hour(begin), None if end is None else hour(end), version)
        last = HOURS + 1 if end is None else end
        by_hour[begin:last] = [version] * (last - begin)
    for number, version in enumerate(by_hour):
        assert [span.version for span in spans if span.holds(hour(number))] == ([version] if version else [])


@given(st.lists(stretches, max_size=8))
def test_spans_are_in_order_and_as_few_as_can_be(written: list[tuple[int, int | None, bytes | None]]) -> None:
    spans: list[Span] = []
    for begin, end, version in written:
        spans = overwritten(spans, hour(begin), None if end is None else hour(end), version)
    for first, second in pairwise(spans):
        assert first.valid_to is not None
        assert first.valid_to < second.valid_from or first.version != second.version
