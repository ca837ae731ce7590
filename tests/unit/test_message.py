"""Whether reading can go on: only where the log is the one that was read, and still has what comes next."""

from __future__ import annotations

import pytest

from dataforge.model.message import Log, Position, trouble


@pytest.mark.parametrize(
    ("offset", "topic_id", "expected"),
    [
        (5, "a", None),
        (9, "a", None),  # all of it is read
        (4, "a", "1 messages are gone before they were read"),
        (10, "a", "the partition ends at 9, before what was read"),
        (7, "b", "the topic was deleted and made anew"),
        (4, "b", "the topic was deleted and made anew"),
    ],
)
def test_reading_goes_on_where_the_log_still_has_what_comes_next(
    offset: int, topic_id: str, expected: str | None
) -> None:
    assert trouble(Position("t", 0, topic_id, offset), Log("a", begin=5, end=9)) == expected
