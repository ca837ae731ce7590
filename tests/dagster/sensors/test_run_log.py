"""Dagster's log read in pages from a cursor: each event is read, also what commits late under an earlier id."""

from collections.abc import Sequence
from typing import Any

import pytest

from dataforge_sensors.run_log import News, cut, settled

# How far a backfill goes in one run is marked as beta; the assets need it.
pytestmark = pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")


class Record:
    """As much of a record as the arithmetic of cursors looks at."""

    def __init__(self, storage_id: int, timestamp: float, run_id: str = "") -> None:
        self.storage_id, self.timestamp, self.run_id = storage_id, timestamp, run_id


def records(*given: tuple[int, float] | tuple[int, float, str]) -> Any:
    return [Record(*each) for each in given]


def test_the_cursor_stays_behind_what_is_younger_than_the_overlap() -> None:
    assert settled(News(tuple(records((3, 10), (5, 90), (7, 20)))), after=2, now=100) == 3
    assert settled(News(()), after=2, now=100) == 2


def test_pages_that_are_cut_off_at_different_places_lose_nothing() -> None:
    pages: Sequence[Any] = [records((1, 0), (4, 0)), records((2, 0), (9, 0)), records((3, 0))]
    news = cut(pages, 2)
    assert [record.storage_id for record in news.records] == [1, 2, 3, 4]
    assert settled(news, after=0, now=100) == 4


def test_news_of_more_runs_than_a_tick_can_read_end_before_the_first_that_is_too_many() -> None:
    news = News(tuple(records((1, 0, "a"), (2, 0, ""), (3, 0, "b"), (4, 0, "a"), (5, 0, "c"), (6, 0, "a"))))
    ids = [[record.storage_id for record in news.of_runs(most).records] for most in (1, 2, 3)]
    assert ids == [[1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]


def test_what_commits_late_under_an_earlier_id_is_read_by_the_next_tick() -> None:
    seen = News(tuple(records((3, 10), (5, 95))))
    assert settled(seen, after=0, now=100) < 4  # the id of the one that has not committed yet


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_page_after_page_reads_every_event(most: int) -> None:
    stored = {"a": [1, 4, 5, 6, 12], "b": [2, 3, 7], "c": [8, 9, 10, 11]}
    seen: set[int] = set()
    after = 0
    for _ in range(20):
        pages = [records(*((i, 0) for i in ids if i > after))[:most] for ids in stored.values()]
        news = cut(pages, most)
        seen |= {record.storage_id for record in news.records}
        after = settled(news, after, now=100)
    assert seen == set(range(1, 13))
