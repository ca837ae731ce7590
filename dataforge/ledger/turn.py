"""Which needs that were only observed wait in turn for the partition that has them.

Two tasks that were seen to read what the other one writes would wait for each other for ever, and nobody has said
that they should. So the need that closes such a loop is none to wait for: the verdict says it as a warning, with the
way round. What counts is partitions, not tasks: who reads what the other one wrote yesterday is in no loop, nor is
anything on whose way round one partition has been made.

Guarantees a bounded search: so many tasks are looked at to tell whether there is a loop of edges at all, which is
rare, and only then so many partitions, so many steps up. A loop that closes beyond that is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

import msgspec

from dataforge.ledger.need import Asked, Need, Sketch
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.state import PartitionStatus
from dataforge.model.upstream import State
from dataforge.storage import readiness
from dataforge.storage.above import above
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place

MOST_STEPS = 12  # up, from a partition to itself
MOST_TASKS = 5_000
MOST_PARTITIONS = 1_000

Turns: TypeAlias = "dict[tuple[Asked, Place], tuple[str, ...]]"
_States: TypeAlias = Mapping[Place, State]


def turns(
    connection: Connection,
    environment: int,
    known: Surroundings,
    sketches: Iterable[Sketch],
    states: _States,
    now: datetime,
) -> Turns:
    """By asked partition and the place that it needs, the tasks on the way round, from its own to its own."""
    waiting = [each for each in sketches if any(_is_seen_missing(need, states) for need in each.needs)]
    if not waiting:
        return {}
    looped = _on_or_below_loops(connection, environment, {each.asked.task_id for each in waiting})
    waiting = [each for each in waiting if each.asked.task_id in looped]
    if not waiting:
        return {}
    search = _Search(looped, now)
    search.follow(known, waiting, states)
    search.climb(connection, environment)
    return dict(search.turns(waiting, states))


def _is_seen_missing(need: Need, states: _States) -> bool:
    return need.edge.origin == "observed" and need.stands(states) not in states


def _on_or_below_loops(connection: Connection, environment: int, tasks: set[int]) -> set[int]:
    """Those of the tasks, and of all above them, that are left when one after another is taken out which comes after
    nobody any more."""
    pairs, ahead = dict[int, set[int]](), set(tasks)
    while ahead and len(pairs) < MOST_TASKS:
        pairs |= {task: set() for task in ahead}
        for task, maker in above(connection, environment, ahead):
            pairs[task].add(maker)
        ahead = set().union(*(pairs[task] for task in ahead)) - pairs.keys()
    order = TopologicalSorter(pairs)
    try:
        order.prepare()
    except CycleError:
        left = set(pairs)
        while ready := order.get_ready():
            left.difference_update(ready)
            order.done(*ready)
        return left
    return set()


class _Step(msgspec.Struct, frozen=True):
    """What a partition needs and is not there, each with the partitions of tasks that would make it."""

    name: str  # of the task
    behind: Mapping[Place, list[Asked]]


class _Search:
    """Climbs from partitions to those that would make what they miss, as far as these may lie on a loop."""

    def __init__(self, looped: set[int], now: datetime) -> None:
        self._looped = looped
        self._now = now
        self._steps: dict[Asked, _Step] = {}
        self._missing: set[Asked] = set()  # no run of it has begun
        self._ahead: set[Asked] = set()

    def follow(self, known: Surroundings, sketches: Iterable[Sketch], states: _States) -> None:
        """Takes in what some partitions need."""
        for each in sketches:
            waits = {need.stands(states) for need in each.needs if _waits(need)}
            behind = {place: self._makers(known, place) for place in waits if _is_open(states.get(place))}
            found = {place: makers for place, makers in behind.items() if makers}
            self._steps[each.asked] = _Step(known.subjects[each.asked.task_id].name, found)
            if ("task", *each.asked) not in states:
                self._missing.add(each.asked)
            self._ahead.update(maker for makers in found.values() for maker in makers)
        self._ahead -= self._steps.keys()

    def climb(self, connection: Connection, environment: int) -> None:
        """Follows the makers, up to the bounds."""
        for _ in range(MOST_STEPS - 1):
            if not self._ahead or len(self._steps) >= MOST_PARTITIONS:
                return
            asked, self._ahead = sorted(self._ahead), set()
            known = around(connection, environment, {each.task_id for each in asked})
            sketches = [known.sketch(each, self._now) for each in asked]
            places = {place for each in sketches for need in each.needs for place in need.places}
            places |= {("task", *each) for each in asked}
            self.follow(known, sketches, readiness.states(connection, environment, places))

    def turns(
        self, waiting: Iterable[Sketch], states: _States
    ) -> Iterator[tuple[tuple[Asked, Place], tuple[str, ...]]]:
        """The needs that were only observed, are missing and lead back."""
        for each in waiting:
            for need in each.needs:
                place = need.stands(states)
                if _is_seen_missing(need, states) and (way := self._way_back(each.asked, place)) is not None:
                    yield (each.asked, place), tuple(self._steps[step].name for step in way)

    def _makers(self, known: Surroundings, place: Place) -> list[Asked]:
        return [maker for maker in known.makers(place, self._now) if maker.task_id in self._looped]

    def _way_back(self, asked: Asked, place: Place) -> Sequence[Asked] | None:
        """The shortest way from the makers of a place to the partition that needs it, with that at both ends."""
        came_from = dict.fromkeys(self._steps[asked].behind.get(place, ()), asked)
        ahead = list(came_from)
        for _ in range(MOST_STEPS):
            if asked in came_from:
                way = [asked, came_from[asked]]
                while way[-1] != asked:
                    way.append(came_from[way[-1]])
                return way[::-1]
            following = []
            for step in ahead:
                for maker in self._next(step):
                    if maker not in came_from:
                        came_from[maker] = step
                        following.append(maker)
            ahead = following
        return None

    def _next(self, step: Asked) -> Iterator[Asked]:
        if step in self._missing and step in self._steps:
            yield from (maker for makers in self._steps[step].behind.values() for maker in makers)


def _waits(need: Need) -> bool:
    """Whether nothing else than this partition will do."""
    return need.edge.required and not need.among


def _is_open(state: State | None) -> bool:
    """Whether it was never made, or not well."""
    return state is None or state.status is PartitionStatus.FAILED
