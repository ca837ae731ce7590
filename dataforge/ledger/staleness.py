"""What is stale, directly or in turn: partitions compared with their upstreams, and those with theirs, level by level.

Guarantees a number of queries that grows with the levels and the logarithm of how many partitions lie on them, and a
bounded search: what was not looked at is said.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise

import msgspec

from dataforge.ledger.comparison import Compared, examine, examine_some
from dataforge.model.freshness import FreshnessStatus, cause, stale_itself, step
from dataforge.model.stale_in_turn import MOST_ROOTS, Trail, Trails, trails
from dataforge.model.verdict import Reason
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place


class Bounds(msgspec.Struct, frozen=True):
    """How far up is looked."""

    levels: int  # above the direct upstreams of what is asked about
    places: int  # partitions of one level
    partly: bool  # whether of a level with more the first are looked at, and not none
    inputs: int  # that what is not asked about is compared with, on all levels


MOST_TOLD = 100  # reasons of one partition that are told

# A month of a task that builds each day on the one before.
FAR = Bounds(levels=31, places=5_000, partly=True, inputs=50_000)
NEAR = Bounds(levels=3, places=100, partly=False, inputs=2_000)  # what every verdict can afford for a warning


class Staleness(msgspec.Struct, frozen=True):
    """What was found out about some partitions and what lies above them."""

    compared: Mapping[Place, Compared]
    trails: Trails[Place]

    def status(self, place: Place) -> FreshnessStatus:
        """How a partition stands to what it was built from, near and far."""
        found = self.compared[place]
        return FreshnessStatus.STALE if found.built is not None and self.is_stale(place) else found.status

    def is_stale(self, place: Place) -> bool:
        """Whether a partition is not what a run of today would make of it."""
        found = self.compared[place]
        return found.late is not None or bool(found.changed) or any(True for _ in self._in_turn(place))

    def stale(self, place: Place, most: int | None = None) -> tuple[Reason, ...]:
        """Why a partition is not what a run of today would make of it: what came late for it, its upstreams that have
        changed, and those that are themselves stale; the first `most` reasons of these."""
        found = self.compared[place]
        late = (found.late,) if found.late is not None else ()
        first = sorted(found.changed, key=found.named)[:most]
        changed = {*map(found.told, first), *self._told_in_turn(place, most)}
        return (*late, *_in_order(changed))[:most]

    def number(self, place: Place) -> int:
        """How many upstreams of a partition have changed, directly or in turn."""
        return len({*self.compared[place].changed, *(trail.through[0] for trail in self._in_turn(place))})

    def reasons(self, place: Place, most: int) -> tuple[Reason, ...]:
        """The first `most` things to say about a partition."""
        return _in_order(self.compared[place].reasons(most).union(self._told_in_turn(place, most)))[:most]

    def _told_in_turn(self, place: Place, most: int | None) -> list[Reason]:
        named = self.compared[place].named
        trails = sorted(self._in_turn(place), key=lambda trail: named(trail.through[0]))
        return [self._reason(place, trail) for trail in trails[: None if most is None else most * MOST_ROOTS]]

    def is_cut(self, place: Place, most: int) -> bool:
        """Whether more lies above a partition than was looked at, or than its first `most` reasons tell."""
        found = self.compared[place]
        reasons = len(found.missing) + len(found.untold) + len(found.changed) + sum(1 for _ in self._in_turn(place))
        return self.truncated(place) or reasons > most

    def truncated(self, place: Place) -> bool:
        """Whether more lies above than was looked at or is told."""
        return place in self.trails.cut

    def _in_turn(self, place: Place) -> Iterator[Trail[Place]]:
        found = self.compared[place]
        if found.built is None:
            return
        for each in found.inputs:
            yield from (trail for trail in self.trails.of.get(each, ()) if place not in trail.through)

    def _reason(self, place: Place, trail: Trail[Place]) -> Reason:
        """That an input of the partition is stale, with the way up to what changed."""
        through = trail.through
        steps = [step(self.compared[below].inputs[above]) for below, above in pairwise(through)]
        last = self.compared[through[-1]]
        end = cause(last.told(trail.root), last.inputs[trail.root])
        return stale_itself(self.compared[place].inputs[through[0]], [*steps, end])


def _in_order(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda reason: reason.order))


def staleness(
    connection: Connection,
    environment: int,
    places: Iterable[Place],
    now: datetime,
    bounds: Bounds,
    known: Mapping[Place, Compared] | None = None,
) -> Staleness:
    """How these partitions (datasets by canonical id) stand to all that lies above them. `known` are those that were
    compared already, at the same moment."""
    compared, seen = dict(known or {}), set(places)
    compared |= examine(connection, environment, seen - compared.keys(), now)
    level, unseen, affordable = seen, set[Place](), bounds.inputs
    for _ in range(bounds.levels):
        above = {each for place in level for each in compared[place].inputs} - seen
        taken = _taken(above, bounds)
        new = examine_some(connection, environment, sorted(taken - compared.keys()), now, affordable)
        affordable -= sum(len(each.inputs) for each in new.values())
        compared |= new
        level = taken & compared.keys()
        unseen |= above - level
        seen |= level
        if not level:
            break
    unseen |= {each for place in level for each in compared[place].inputs} - seen
    found = {place: compared[place] for place in seen}
    changed = {place: each.changed for place, each in found.items() if each.changed}
    inputs = {place: each.inputs for place, each in found.items() if each.built is not None}
    return Staleness(found, trails(changed, inputs, unseen))


def _taken(above: set[Place], bounds: Bounds) -> set[Place]:
    if len(above) <= bounds.places:
        return above
    return set(sorted(above)[: bounds.places]) if bounds.partly else set()
