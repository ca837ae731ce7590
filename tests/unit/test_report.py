"""The page of figures: what the results say, the last of each, and beside a goal whether it is reached."""

import pytest

from benchmarks import report
from benchmarks.figure import Figure
from benchmarks.report import Goal


def _figure(value: float, ratio: float | None = None) -> Figure:
    return Figure("x", value, "ms", "", ratio, 1, 2, "18.4", "abc", "2026-11-27T00:00:00+00:00")


def test_the_page_is_what_the_script_makes_of_the_results() -> None:
    assert report.DOCUMENT.read_text() == report.render(), "run `python -m benchmarks.report`"


@pytest.mark.parametrize(
    ("goal", "figure", "met"),
    [
        (Goal(10), _figure(10), True),
        (Goal(10), _figure(9.9), False),
        (Goal(10, most=True), _figure(10.1), False),
        (Goal(0.33, ratio=True), _figure(1, ratio=0.34), True),
        (Goal(0.33, ratio=True), _figure(1), False),
    ],
)
def test_a_goal_is_a_bound_on_the_figure_or_on_its_ratio(goal: Goal, figure: Figure, met: bool) -> None:
    assert goal.met(figure) is met


def test_every_goal_is_of_a_figure_that_is_measured() -> None:
    measured = {each.figure for topic in report._TITLES for each in report._lines(topic)}
    assert report.GOALS.keys() <= measured


def test_a_cost_that_grows_with_the_square_of_the_size_has_the_power_of_two() -> None:
    assert report.exponent([0.01, 0.1, 1], [3, 300, 30_000]) == pytest.approx(2)
    assert report.exponent([0.01, 1], [5, 5]) == pytest.approx(0)
