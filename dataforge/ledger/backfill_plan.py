"""Planning a backfill: which partitions there are to look at, how each stands, and what each is made from.

Guarantees one snapshot, if its caller began one, and a number of queries that grows with the steps up and down alone,
however many partitions there are. What needs what is told by the very mappings by which a verdict waits
(`ledger.need`), and which of it is rebuilt by `model.rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from dataforge.ledger.backfill_needs import Needed, needed
from dataforge.ledger.backfill_targets import start
from dataforge.ledger.need import cut_of, window
from dataforge.ledger.reach import making, waiting_for
from dataforge.ledger.staleness import FAR, staleness
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.backfill import MOST_ITEMS, Backfilling
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.freshness import FreshnessStatus
from dataforge.model.rebuild import Decision, Standing, rebuilt
from dataforge.storage import backfill as storage
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place, Subject
from dataforge.storage.wakeup import TaskPartition

_COMPARED = 2_000  # partitions that are compared with what they were built from, at once


class Planned(msgspec.Struct, frozen=True):
    """What becomes of each partition that was looked at, in an order in which what is needed comes first."""

    places: Sequence[TaskPartition]
    decisions: Sequence[Decision]
    needs: Sequence[Sequence[int]]  # by place: which of the others it is made from and that are built
    standing: Sequence[Standing]
    lacking: Mapping[int, str]  # by place: what it waits for that is not there and not built here
    subjects: Mapping[int, Subject]
    products: Mapping[int, set[int]]  # by task: the datasets that it writes


def plan(connection: Connection, environment: int, wanted: Backfilling, now: datetime) -> Planned:
    """What the backfill would do. Raises InvalidInput for targets that cannot be told or more than MOST_ITEMS
    partitions, NotFound for what nobody knows."""
    found = _Found(connection, environment, wanted, now)
    found.add(start(connection, environment, wanted.targets, now))
    if wanted.direction in ("downstream", "both"):
        found.follow_down()
    if wanted.direction in ("upstream", "both"):
        found.follow_up()
    return found.decided()


class _Found:
    """The partitions found so far, and what is known of them."""

    def __init__(self, connection: Connection, environment: int, wanted: Backfilling, now: datetime) -> None:
        self._connection, self._environment, self._wanted, self._now = connection, environment, wanted, now
        self._standing: dict[TaskPartition, Standing] = {}
        self._known = Surroundings({}, {}, {}, {})
        self._needed: list[Needed] = []
        self._makers: dict[Place, list[TaskPartition]] = {}
        self._statuses: dict[Place, str] = {}

    def add(self, places: Iterable[TaskPartition]) -> list[TaskPartition]:
        """Looks at these partitions, and returns those that are new: none of a task that updates trigger, which runs by
        itself when what it reads is built."""
        new = sorted(set(places) - self._standing.keys())
        self._look_around({task for task, _ in new} - self._known.subjects.keys())
        new = [
            each for each in new if each[0] in self._known.subjects and self._known.subjects[each[0]].trigger is None
        ]
        if len(self._standing) + len(new) > MOST_ITEMS:
            raise _too_many(self._known.subjects[new[0][0]], new[0][1])
        self._standing |= self._how_they_stand(new)
        return new

    def _look_around(self, tasks: set[int]) -> None:
        if not tasks:
            return
        more, known = around(self._connection, self._environment, tasks), self._known
        self._known = Surroundings(
            {**known.subjects, **more.subjects},
            {**known.edges, **more.edges},
            {**known.nodes, **more.nodes},
            {**known.producers, **more.producers},
        )

    def follow_down(self) -> None:
        """Adds what depends on what was found, in any number of steps. A window that has not ended leads nowhere."""
        new = list(self._standing)
        while new:
            over = [each for each in new if self._standing[each] != "early"]
            ended: set[Place] = {("task", *each) for each in over} | {place for _, place in self._made_by(over)}
            new = self.add(waiting_for(self._connection, self._environment, ended, self._now))

    def follow_up(self) -> None:
        """Adds what is to be built above what is to be built, in any number of steps."""
        new = list(self._standing)
        while new:
            built = [each for each in new if self._is_built(self._standing[each])]
            wanting = self._wanting(self._needs_of(built))
            new = self.add(maker for place in wanting for maker in self._makers_of(place))

    def _is_built(self, standing: Standing) -> bool:
        """Whether it is built whatever becomes of what is above it."""
        return rebuilt([standing], [()], self._wanted.overwrite, [""])[0].built

    def _wanting(self, needs: Iterable[Needed]) -> set[Place]:
        """What of these is not good as it is."""
        places = {place for need in needs for place in need.places}
        if self._wanted.overwrite == "always":
            return places
        self._read(places)
        good = _GOOD if self._wanted.overwrite == "never" else _GOOD - {"stale"}
        return {place for place in places if self._statuses.get(place) not in good}

    def _makers_of(self, place: Place) -> list[TaskPartition]:
        if place[0] == "dataset" and place[1] not in self._known.producers:
            return []
        return [(each.task_id, each.partition) for each in self._known.makers(place, self._now)]

    def _needs_of(self, places: Iterable[TaskPartition]) -> list[Needed]:
        return list(needed(self._known, places, self._now))

    def _made_by(self, places: Iterable[TaskPartition]) -> set[tuple[TaskPartition, Place]]:
        return making(self._connection, self._environment, places, self._now)

    def _read(self, places: Iterable[Place]) -> None:
        unread = [place for place in places if place not in self._statuses]
        if unread:
            self._statuses |= dict.fromkeys(unread, "missing")
            self._statuses |= storage.statuses(self._connection, self._environment, unread)

    def _how_they_stand(self, places: Sequence[TaskPartition]) -> dict[TaskPartition, Standing]:
        self._read(("task", *each) for each in places)
        found = {each: self._stands(each, self._statuses["task", *each]) for each in places}
        if self._wanted.overwrite == "stale":
            good = [each for each, standing in found.items() if standing == "good"]
            found |= dict.fromkeys(self._stale(good), "stale")
        return found

    def _stands(self, place: TaskPartition, status: str) -> Standing:
        subject = self._known.subjects[place[0]]
        cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
        span = window(cut, place[1])
        wait = timedelta(0) if subject.run_after is None else _run_after(subject.run_after)
        if span is not None and span.end + wait > self._now:
            return "early"
        return _STANDING[status]

    def _stale(self, places: Sequence[TaskPartition]) -> Iterable[TaskPartition]:
        for begin in range(0, len(places), _COMPARED):
            asked: list[Place] = [("task", *each) for each in places[begin : begin + _COMPARED]]
            found = staleness(self._connection, self._environment, asked, self._now, FAR)
            yield from (place[1:] for place in asked if found.status(place) is FreshnessStatus.STALE)

    def decided(self) -> Planned:
        """What becomes of all that was found."""
        places = sorted(self._standing, key=lambda each: (each[1], each[0]))
        number = {place: at for at, place in enumerate(places)}
        makers = self._makers_among(places)
        needs: list[set[int]] = [set() for _ in places]
        outside: dict[int, list[Needed]] = {}
        for need in self._needs_of(places):
            mine = number[need.own]
            above = {number[maker] for place in need.places for maker in makers.get(place, ())} - {mine}
            needs[mine] |= above
            if need.required:
                outside.setdefault(mine, []).append(need)
        standing = [self._standing[each] for each in places]
        decisions = rebuilt(standing, [sorted(each) for each in needs], self._wanted.overwrite, self._names(places))
        built = {at for at, each in enumerate(decisions) if each.built}
        return Planned(
            places=places,
            decisions=decisions,
            needs=[sorted(each & built) if at in built else [] for at, each in enumerate(needs)],
            standing=standing,
            lacking=self._lacking(built, outside, makers, number),
            subjects=self._known.subjects,
            products=self._products(makers),
        )

    def _makers_among(self, places: Sequence[TaskPartition]) -> dict[Place, list[TaskPartition]]:
        makers: dict[Place, list[TaskPartition]] = {("task", *each): [each] for each in places}
        for own, place in self._made_by(places):
            makers.setdefault(place, []).append(own)
        return makers

    def _products(self, makers: Mapping[Place, Sequence[TaskPartition]]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for (kind, node, _), made_by in makers.items():
            for task, _ in made_by if kind == "dataset" else ():
                found.setdefault(task, set()).add(node)
        return found

    def _lacking(
        self,
        built: set[int],
        needs: Mapping[int, Sequence[Needed]],
        makers: Mapping[Place, Sequence[TaskPartition]],
        number: Mapping[TaskPartition, int],
    ) -> dict[int, str]:
        """What is built here and waits for what is not there and is not built here, and for what."""
        coming = {place for place, each in makers.items() if any(number[maker] in built for maker in each)}
        asked = {
            at: [need for need in found if coming.isdisjoint(need.places)] for at, found in needs.items() if at in built
        }
        self._read({place for found in asked.values() for need in found for place in need.places})
        lacking: dict[int, str] = {}
        for at, found in asked.items():
            for need in found:
                if not any(self._statuses[place] in _GOOD for place in need.places):
                    kind, node, key = need.places[0]
                    name = self._known.nodes[kind, node].name
                    lacking[at] = f"it waits for {name} {key}".rstrip() + f", which is {self._statuses[need.places[0]]}"
                    break
        return lacking

    def _names(self, places: Iterable[TaskPartition]) -> list[str]:
        subjects = self._known.subjects
        return [f"{subjects[task].name} {key}".rstrip() for task, key in places]


_GOOD = frozenset({"ready", "stale", "skipped"})
_STANDING: dict[str, Standing] = {
    "missing": "missing",
    "running": "running",
    "ready": "good",
    "failed": "failed",
    "skipped": "skipped",
    "stale": "stale",
    "quarantined": "held",
}


def _run_after(text: str) -> timedelta:
    return msgspec.convert(text, timedelta)


def _too_many(subject: Subject, partition: str) -> InvalidInput:
    named = f"{subject.name} {partition}".rstrip()
    expected = f"a plan of at most {MOST_ITEMS:,} partitions: ask for fewer targets, or another direction"
    message = (
        f"there are more than {MOST_ITEMS:,} partitions to look at, of which {named} is the next: expected {expected}"
    )
    return InvalidInput(message, [FieldError("targets", named, expected)])
