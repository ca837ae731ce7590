"""What must be rebuilt, and in which order: the rule itself, over partitions that are known and what each needs.

Guarantees that the answer is a function of what it is given alone; that what is built comes in a later wave than all it
needs that is built too; and that what is good is left alone unless what it was built from is built anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from dataforge.model.backfill import Overwrite

# early: its window has not ended; held: it is done, and its result is quarantined
Standing = Literal["missing", "failed", "running", "good", "skipped", "stale", "held", "early"]


class Decision(msgspec.Struct, frozen=True):
    """What becomes of one partition."""

    built: bool
    wave: int  # from 1 on; 0 of what is not built
    reason: str


def rebuilt(
    standing: Sequence[Standing], needs: Sequence[Sequence[int]], overwrite: Overwrite, names: Sequence[str]
) -> list[Decision]:
    """What becomes of each partition. `needs` says by their places which of the others each is made from, and `names`
    what each is called."""
    decisions: list[Decision | None] = [None] * len(standing)
    feeds: list[list[int]] = [[] for _ in standing]
    left = [0] * len(standing)
    for place, above in enumerate(needs):
        left[place] = len(above)
        for each in above:
            feeds[each].append(place)
    ready = [place for place, number in enumerate(left) if not number]
    for place in ready:  # it grows while it is walked
        decisions[place] = _decide(
            standing[place], [(each, decisions[each]) for each in needs[place]], overwrite, names
        )
        for below in feeds[place]:
            left[below] -= 1
            if not left[below]:
                ready.append(below)
    return [each or Decision(built=False, wave=0, reason=_CIRCLE) for each in decisions]


_CIRCLE = "it needs itself in a circle, or what is in one: break the circle first (`dataforge findings`)"


def _decide(
    standing: Standing,
    above: Sequence[tuple[int, Decision | None]],
    overwrite: Overwrite,
    names: Sequence[str],
) -> Decision:
    made = [(each.wave, place) for place, each in above if each is not None and each.built]
    why = _why(standing, overwrite)
    if why is None and made and standing in _OUTDATED and overwrite == "stale":
        why = f"{names[max(made)[1]]} is built anew"
    if why is None:
        return Decision(built=False, wave=0, reason=_LEFT[standing])
    return Decision(built=True, wave=1 + max((wave for wave, _ in made), default=0), reason=why)


def _why(standing: Standing, overwrite: Overwrite) -> str | None:
    """Why it is built whatever is above it; None where it is not."""
    if standing in ("missing", "failed"):
        return _BUILT[standing]
    if standing in ("early", "running"):
        return None
    if overwrite == "always":
        return "everything is built anew"
    return _BUILT.get(standing) if overwrite == "stale" else None


_OUTDATED = frozenset({"good", "skipped"})
_BUILT: dict[str, str] = {
    "missing": "it is missing",
    "failed": "it has failed",
    "stale": "it is stale",
    "held": "its result is quarantined",
}
_LEFT: dict[str, str] = {
    "early": "its window has not ended",
    "running": "it is running",
    "good": "it is good",
    "skipped": "it was skipped, which is good",
    "stale": "it is stale, and is not to be overwritten",
    "held": "its result is quarantined, and is not to be overwritten",
}
