"""What is rebuilt and in which order: properties of the rule over any partitions and any needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.backfill import Overwrite
from dataforge.model.rebuild import Standing, rebuilt

_STANDING: list[Standing] = ["missing", "failed", "running", "good", "skipped", "stale", "held", "early"]


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[list[Standing], list[list[int]], Overwrite]:
    """Partitions, each needing some of any others, which may close circles."""
    size = draw(st.integers(1, 8))
    standing = draw(st.lists(st.sampled_from(_STANDING), min_size=size, max_size=size))
    others = st.lists(st.integers(0, size - 1), max_size=3, unique=True)
    needs = [[each for each in draw(others) if each != place] for place in range(size)]
    if draw(st.booleans()):  # mostly worlds without a circle
        needs = [[each for each in above if each < place] for place, above in enumerate(needs)]
    return standing, needs, draw(st.sampled_from(["never", "stale", "always"]))


def _plainly(standing: list[Standing], needs: list[list[int]], overwrite: Overwrite) -> dict[int, int]:
    """The wave of what is built, by asking of each what it needs; what is in a circle, or needs what is, is not."""

    def circles(place: int, below: tuple[int, ...]) -> bool:
        return place in below or any(circles(each, (*below, place)) for each in needs[place])

    def wave(place: int) -> int:
        above = max((wave(each) for each in needs[place]), default=0)
        fresh = standing[place] in ("missing", "failed")
        again = {"never": (), "stale": ("stale", "held"), "always": ("good", "skipped", "stale", "held")}[overwrite]
        outdated = overwrite == "stale" and above > 0 and standing[place] in ("good", "skipped")
        return above + 1 if fresh or standing[place] in again or outdated else 0

    sound = [place for place in range(len(standing)) if not circles(place, ())]
    return {place: found for place in sound if (found := wave(place))}


@given(_worlds())
def test_the_rule_agrees_with_one_that_asks_plainly(world: tuple[list[Standing], list[list[int]], Overwrite]) -> None:
    standing, needs, overwrite = world
    decisions = rebuilt(standing, needs, overwrite)
    assert {place: each.wave for place, each in enumerate(decisions) if each.built} == _plainly(*world)


@given(_worlds())
def test_what_is_built_comes_after_all_it_needs_that_is_built(
    world: tuple[list[Standing], list[list[int]], Overwrite],
) -> None:
    standing, needs, overwrite = world
    decisions = rebuilt(standing, needs, overwrite)
    for place, each in enumerate(decisions):
        assert each.reason
        assert each.built == (each.wave > 0)
        if each.built:
            assert all(decisions[above].wave < each.wave for above in needs[place])


def test_what_is_in_a_circle_is_not_built_and_says_so() -> None:
    decisions = rebuilt(["missing", "missing", "missing"], [[1], [0], [1]], "never")
    assert [each.built for each in decisions] == [False] * 3
    assert {"circle" in each.reason for each in decisions} == {True}
