"""Planning a backfill: which partitions there are to look at, how each stands, and what each is made from.

Guarantees one snapshot, if its caller began one, and a number of queries that grows with the steps up and down alone,
however many partitions there are. What needs what is told by the very mappings by which a verdict waits
(`ledger.need`), and which of it is rebuilt by `model.rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from dataforge.ledger.backfill_links import lacking, links, makers_among, unmet
from dataforge.ledger.backfill_needs import by_task, needed, places
from dataforge.ledger.backfill_targets import start
from dataforge.ledger.comparison import Compared, examine
from dataforge.ledger.need import cut_of, window
from dataforge.ledger.reach import making, waiting_for
from dataforge.ledger.staleness import FAR, staleness
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.backfill import MOST_ITEMS, Backfilling
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.freshness import FreshnessStatus
from dataforge.model.rebuild import Decision, Standing, rebuilt, why_built
from dataforge.model.task import is_test
from dataforge.storage import backfill_basis as storage
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place, Subject
from dataforge.storage.wakeup import TaskPartition

_COMPARED = 2_000  # partitions that are compared with what they were built from, at once


class Planned(msgspec.Struct, frozen=True):
    """What becomes of each partition that was looked at."""

    places: Sequence[TaskPartition]
    decisions: Sequence[Decision]
    needs: Sequence[Sequence[int]]  # by place: which of the others that are built it is made from
    standing: Sequence[Standing]
    lacking: Mapping[int, str]  # by place: what it waits for that is not there and not built here
    subjects: Mapping[int, Subject]

    @property
    def order(self) -> list[int]:
        """The places in the order of the plan: wave by wave, and what is not built last."""
        names = {task: subject.name for task, subject in self.subjects.items()}
        keys = [
            (each.wave or _LAST, key, names[task], task)
            for (task, key), each in zip(self.places, self.decisions, strict=True)
        ]
        return sorted(range(len(self.places)), key=keys.__getitem__)


_LAST = 2**31  # after every wave


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
        self._makes: dict[TaskPartition, list[Place]] = {}
        self._statuses: dict[Place, str] = {}
        self._parents: dict[int, list[int]] = {}  # of tasks that others run
        self._examined: dict[Place, Compared] = {}
        self._compared: set[TaskPartition] = set()  # of which it is known whether they are stale
        self._begins: dict[tuple[str, str, str | None], dict[str, bool]] = {}  # whether keys of a cut are too early

    def add(self, places: Iterable[TaskPartition], *, tests: bool = True) -> list[TaskPartition]:
        """Looks at these partitions and those that run them, and returns which are new: none of a task that updates
        trigger, which runs by itself when what it reads is built, and without `tests` none of dbt's."""
        asked = set(places) - self._standing.keys()
        self._look_around({task for task, _ in asked} - self._known.subjects.keys())
        above = {parent for each in asked for parent in self._run_by(each)}
        new = sorted((asked | above) - self._standing.keys())
        known = self._known.subjects
        new = [each for each in new if each[0] in known and known[each[0]].trigger is None]
        new = [each for each in new if tests or not is_test(known[each[0]].platform, known[each[0]].name)]
        if len(self._standing) + len(new) > MOST_ITEMS:
            raise _too_many(self._known.subjects[new[0][0]], new[0][1])
        self._standing |= self._how_they_stand(new)
        return new

    def _look_around(self, tasks: set[int]) -> None:
        if not tasks:
            return
        self._parents |= storage.run_by(self._connection, self._environment, tasks)
        parents = {each for task in tasks for each in self._parents.get(task, ())}
        tasks = (tasks | parents) - self._known.subjects.keys()
        more, known = around(self._connection, self._environment, tasks), self._known
        self._known = Surroundings(
            {**known.subjects, **more.subjects},
            {**known.edges, **more.edges},
            {**known.nodes, **more.nodes},
            {**known.producers, **more.producers},
        )

    def _run_by(self, place: TaskPartition) -> list[TaskPartition]:
        """The partitions whose runs run this one, as Airflow runs a Spark application; where they are cut alike."""
        task, key = place
        return [(each, key) for each in self._parents.get(task, ()) if self._cut(each) == self._cut(task)]

    def _cut(self, task: int) -> str | None:
        subject = self._known.subjects.get(task)
        return subject.partitioning if subject else None

    def follow_down(self) -> None:
        """Adds what depends on what was found, in any number of steps. A window that has not ended leads nowhere, and
        dbt's tests, which dbt runs with what they test, are no part of it."""
        new = list(self._standing)
        while new:
            over = [each for each in new if self._standing[each] != "early"]
            made = self._make(over)
            ended = [place for each in over for place in made[each]]
            new = self.add(waiting_for(self._connection, self._environment, ended, self._now), tests=False)

    def follow_up(self) -> None:
        """Adds what is to be built above what is to be built, in any number of steps."""
        new = list(self._standing)
        while new:
            self._look_for_stale()
            built = [each for each in new if why_built(self._standing[each], self._wanted.overwrite) is not None]
            new = self.add(maker for place in self._wanting(built) for maker in self._makers_of(place))

    def _wanting(self, partitions: Iterable[TaskPartition]) -> set[Place]:
        """What these need and is not good as it is."""
        keys = by_task(partitions)
        found = {
            place
            for need in needed(self._known, keys, self._now)
            for place in places(self._known, need, keys[need.task])
        }
        if self._wanted.overwrite == "always":
            return found
        self._read(found)
        good = _GOOD if self._wanted.overwrite == "never" else _GOOD - {"stale"}
        return {place for place in found if self._statuses[place] not in good}

    def _makers_of(self, place: Place) -> list[TaskPartition]:
        if place[0] == "dataset" and place[1] not in self._known.producers:
            return []
        return [(each.task_id, each.partition) for each in self._known.makers(place, self._now)]

    def _make(self, places: Iterable[TaskPartition]) -> Mapping[TaskPartition, Sequence[Place]]:
        """What each of these makes: itself, and partitions of datasets."""
        new = [each for each in places if each not in self._makes]
        for each in new:
            self._makes[each] = [("task", *each)]
        for own, place in making(self._connection, self._environment, new, self._now) if new else ():
            self._makes[own].append(place)
        return self._makes

    def _read(self, places: Iterable[Place]) -> None:
        unread = [place for place in places if place not in self._statuses]
        if unread:
            self._statuses |= dict.fromkeys(unread, "missing")
            self._statuses |= storage.statuses(self._connection, self._environment, unread)

    def _how_they_stand(self, places: Sequence[TaskPartition]) -> dict[TaskPartition, Standing]:
        self._read(("task", *each) for each in places)
        return {each: self._stands(each, self._statuses["task", *each]) for each in places}

    def _stands(self, place: TaskPartition, status: str) -> Standing:
        subject = self._known.subjects[place[0]]
        shape = (subject.partitioning, subject.partitioning_origin, subject.run_after)
        begins = self._begins.setdefault(shape, {})
        early = begins.get(place[1])
        if early is None:
            early = begins[place[1]] = _is_early(subject, place[1], self._now)
        return "early" if early else _STANDING[status]

    def _look_for_stale(self) -> None:
        """Tells what is stale from what is good, where that matters; once of each."""
        good = [each for each in self._standing if each not in self._compared and self._standing[each] == "good"]
        if self._wanted.overwrite != "stale" or not good:
            return
        asked: list[Place] = [("task", *each) for each in good]
        for begin in range(0, len(asked), _COMPARED):
            some = [place for place in asked[begin : begin + _COMPARED] if place not in self._examined]
            self._examined |= examine(self._connection, self._environment, some, self._now)
        found = staleness(self._connection, self._environment, asked, self._now, FAR, self._examined)
        self._examined |= found.compared
        self._compared.update(good)
        stale = [each for each in good if found.status(("task", *each)) is FreshnessStatus.STALE]
        self._standing |= dict.fromkeys(stale, "stale")

    def decided(self) -> Planned:
        """What becomes of all that was found."""
        self._look_for_stale()
        ordered = sorted(self._standing, key=lambda each: (each[1], each[0]))
        makers = makers_among(ordered, self._make(ordered))
        found = links(self._known, ordered, makers, self._now)
        for at, each in enumerate(ordered):
            if each[0] in self._parents:
                found.needs[at].update(
                    *(makers.get(("task", task), {}).get(key, ()) for task, key in self._run_by(each))
                )
        standing = [self._standing[each] for each in ordered]
        decisions = rebuilt(standing, found.needs, self._wanted.overwrite, lambda at: self._name(ordered[at]))
        built = [each.built for each in decisions]
        waiting = unmet(found, built)
        self._read({(*each.node, key) for each in waiting for key in each.keys})
        return Planned(
            places=ordered,
            decisions=decisions,
            needs=[
                [each for each in above if built[each]] if mine else ()
                for above, mine in zip(found.needs, built, strict=True)
            ],
            standing=standing,
            lacking=lacking(waiting, self._statuses, _GOOD, lambda node: self._known.nodes[node].name),
            subjects=self._known.subjects,
        )

    def _name(self, place: TaskPartition) -> str:
        return f"{self._known.subjects[place[0]].name} {place[1]}".rstrip()


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


def _is_early(subject: Subject, key: str, now: datetime) -> bool:
    cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
    span = window(cut, key)
    wait = timedelta(0) if subject.run_after is None else msgspec.convert(subject.run_after, timedelta)
    return span is not None and span.end + wait > now


def _too_many(subject: Subject, partition: str) -> InvalidInput:
    named = f"{subject.name} {partition}".rstrip()
    expected = f"a plan of at most {MOST_ITEMS:,} partitions: ask for fewer targets, or another direction"
    message = (
        f"there are more than {MOST_ITEMS:,} partitions to look at, of which {named} is the next: expected {expected}"
    )
    return InvalidInput(message, [FieldError("targets", named, expected)])
