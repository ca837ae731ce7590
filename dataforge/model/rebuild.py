"""What must be rebuilt, and in which order: the rule itself, over partitions that are known and what each needs.

Guarantees that the answer is a function of what it is given alone; that what is built comes in a later wave than all it
needs that is built too; and that what is good is left alone unless what it was built from is built anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Literal

import msgspec

from dataforge.model.backfill import Overwrite

# early: its window has not ended; held: it is done, and its result is quarantined
Standing = Literal["missing", "failed", "running", "good", "skipped", "stale", "held", "early"]


class Decision(msgspec.Struct, frozen=True):
    """What becomes of one partition."""

    wave: int  # from 1 on; 0 of what is not built
    reason: str

    @property
    def built(self) -> bool:
        """Whether it is built."""
        return self.wave > 0


def rebuilt(
    standing: Sequence[Standing],
    needs: Sequence[Collection[int]],
    overwrite: Overwrite,
    name: Callable[[int], str] = str,
) -> list[Decision]:
    """What becomes of each partition. `needs` says by place which of the others each is made from, and `name` what
    the one at a place is called."""
    feeds: list[list[int]] = [[] for _ in standing]
    left = [len(above) for above in needs]
    for place, above in enumerate(needs):
        for each in above:
            feeds[each].append(place)
    decisions = [_IN_A_CIRCLE] * len(standing)
    waves = [0] * len(standing)  # 0 of what is not built
    because = {each: why_built(each, overwrite) for each in set(standing)}
    outdated = _OUTDATED if overwrite == "stale" else frozenset()
    decided = cache(Decision)  # the same one of all that are built for one reason in one wave
    ready = [place for place, number in enumerate(left) if not number]
    for place in ready:  # it grows while it is walked
        made, last = 0, place
        for each in needs[place]:
            if waves[each] > made:
                made, last = waves[each], each
        here = standing[place]
        why = because[here] or (f"{name(last)} is built anew" if made and here in outdated else None)
        decisions[place] = decision = decided(made + 1, why) if why else _AS_IT_IS[here]
        waves[place] = decision.wave
        for below in feeds[place]:
            left[below] -= 1
            if not left[below]:
                ready.append(below)
    return decisions


def why_built(standing: Standing, overwrite: Overwrite) -> str | None:
    """Why it is built whatever is above it; None where it is not."""
    if standing in ("missing", "failed"):
        return _BUILT[standing]
    if standing in ("early", "running"):
        return None
    if overwrite == "always":
        return "everything is built anew"
    return _BUILT.get(standing) if overwrite == "stale" else None


_IN_A_CIRCLE = Decision(
    0,
    "it needs itself in a circle, or what is in one: break the circle first (`dataforge findings`)",
)
_OUTDATED = frozenset({"good", "skipped"})
_BUILT: dict[str, str] = {
    "missing": "it is missing",
    "failed": "it has failed",
    "stale": "it is stale",
    "held": "its result is quarantined",
}
_LEFT: dict[Standing, str] = {
    "early": "its window has not ended",
    "running": "it is running",
    "good": "it is good",
    "skipped": "it was skipped, which is good",
    "stale": "it is stale, and is not to be overwritten",
    "held": "its result is quarantined, and is not to be overwritten",
}
_AS_IT_IS = {standing: Decision(0, reason) for standing, reason in _LEFT.items()}
