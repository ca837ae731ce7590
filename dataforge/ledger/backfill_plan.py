"""Planning a backfill: which partitions there are to look at, how each stands, and what each is made from.

Guarantees one snapshot, if its caller began one, and a number of queries that grows with the steps up and down alone,
however many partitions there are. What needs what is told by the very mappings by which a verdict waits
(`ledger.need`), and which of it is rebuilt by `model.rebuild`.

The keys of a task go together: a plan has hundreds of thousands of partitions, and a few thousand tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from dataforge.ledger.backfill_links import Index, lacking, links
from dataforge.ledger.backfill_needs import needed, places
from dataforge.ledger.backfill_targets import start
from dataforge.ledger.comparison import Compared, examine
from dataforge.ledger.need import cut_of, window
from dataforge.ledger.reach import waking, writing
from dataforge.ledger.staleness import FAR, staleness
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.backfill import MOST_ITEMS, Backfilling
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.freshness import FreshnessStatus
from dataforge.model.rebuild import Decision, Standing, rebuilt, why_built
from dataforge.model.task import is_test
from dataforge.storage import backfill_basis as storage
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Node, Place, Subject
from dataforge.storage.wakeup import TaskPartition

_COMPARED = 2_000  # partitions that are compared with what they were built from, at once
_Keys = dict[int, set[str]]  # of each task


class Planned(msgspec.Struct, frozen=True):
    """What becomes of each partition that was looked at."""

    places: Sequence[TaskPartition]
    decisions: Sequence[Decision]
    needs: Sequence[Sequence[int]]  # by place: which of the others it is made from
    standing: Sequence[Standing]
    lacking: Mapping[int, str]  # by place: what it waits for that is not there and not built here
    subjects: Mapping[int, Subject]

    @property
    def order(self) -> list[int]:
        """The places in the order of the plan: wave by wave, and what is not built last."""
        tasks = sorted(self.subjects, key=lambda task: (self.subjects[task].name, task))
        named = {task: at for at, task in enumerate(tasks)}
        keyed = {key: at for at, key in enumerate(sorted({key for _, key in self.places}))}
        waves = [each.wave or _LAST for each in self.decisions]
        last_first = [named[task] for task, _ in self.places], [keyed[key] for _, key in self.places], waves
        ordered: list[int] = np.lexsort(last_first).tolist()
        return ordered


_LAST = 2**31  # after every wave


def plan(connection: Connection, environment: int, wanted: Backfilling, now: datetime) -> Planned:
    """What the backfill would do. Raises InvalidInput for targets that cannot be told or more than MOST_ITEMS
    partitions, NotFound for what nobody knows."""
    found = _Found(connection, environment, wanted, now)
    found.add(_by_task(start(connection, environment, wanted.targets, now)))
    if wanted.direction in ("downstream", "both"):
        found.follow_down()
    if wanted.direction in ("upstream", "both"):
        found.follow_up()
    return found.decided()


def _by_task(partitions: Iterable[TaskPartition]) -> _Keys:
    keys: _Keys = {}
    for task, key in partitions:
        keys.setdefault(task, set()).add(key)
    return keys


class _Found:
    """The partitions found so far, and what is known of them."""

    def __init__(self, connection: Connection, environment: int, wanted: Backfilling, now: datetime) -> None:
        self._connection, self._environment, self._wanted, self._now = connection, environment, wanted, now
        self._standing: dict[int, dict[str, Standing]] = {}
        self._number = 0
        self._known = Surroundings({}, {}, {}, {})
        self._statuses: dict[Node, dict[str, str]] = {}
        self._parents: dict[int, list[int]] = {}  # of tasks that others run
        self._examined: dict[Place, Compared] = {}
        self._compared: set[TaskPartition] = set()  # of which it is known whether they are stale
        self._begins: dict[tuple[str, str, str | None], dict[str, bool]] = {}  # whether keys of a cut are too early

    def add(self, asked: Mapping[int, Collection[str]], *, tests: bool = True) -> _Keys:
        """Looks at these partitions and those that run them, and returns which are new: none of a task that updates
        trigger, which runs by itself when what it reads is built, and without `tests` none of dbt's."""
        new = {task: keys for task, keys in self._unknown(asked) if keys}
        self._look_around(new.keys() - self._known.subjects.keys())
        above = [(parent, keys) for task, keys in new.items() for parent in self._run_by(task)]
        for parent, keys in above:
            new[parent] = new.get(parent, set()).union(*(more for _, more in self._unknown({parent: keys})))
        new = {task: keys for task, keys in new.items() if keys and self._is_planned(task, tests=tests)}
        self._number += sum(map(len, new.values()))
        if self._number > MOST_ITEMS:
            first = min(new)
            raise _too_many(self._known.subjects[first], min(new[first]))
        self._read({("task", task): keys for task, keys in new.items()})
        for task, keys in new.items():
            self._standing.setdefault(task, {}).update(self._how_they_stand(task, keys))
        return new

    def _unknown(self, asked: Mapping[int, Collection[str]]) -> Iterator[tuple[int, set[str]]]:
        return ((task, set(keys).difference(self._standing.get(task, ()))) for task, keys in asked.items())

    def _is_planned(self, task: int, *, tests: bool) -> bool:
        subject = self._known.subjects.get(task)
        if subject is None or subject.trigger is not None:
            return False
        return tests or not is_test(subject.platform, subject.name)

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

    def _run_by(self, task: int) -> list[int]:
        """The tasks that run this one, as Airflow runs a Spark application, for the same keys: where they are cut
        alike."""
        return [each for each in self._parents.get(task, ()) if self._cut(each) == self._cut(task)]

    def _cut(self, task: int) -> str | None:
        subject = self._known.subjects.get(task)
        return subject.partitioning if subject else None

    def follow_down(self) -> None:
        """Adds what depends on what was found, in any number of steps. A window that has not ended leads nowhere, and
        dbt's tests, which dbt runs with what they test, are no part of it."""
        new: Mapping[int, Collection[str]] = self._standing
        while new:
            over = {task: [key for key in keys if self._standing[task][key] != "early"] for task, keys in new.items()}
            ended = waking(self._connection, self._environment, self._made(over), self._now)
            new = self.add(ended, tests=False)

    def _made(self, keys: Mapping[int, Collection[str]]) -> dict[Node, Collection[str]]:
        """What these make: themselves, and partitions of datasets."""
        datasets: dict[int, set[str]] = {}
        for each in writing(self._connection, self._environment, keys, self._now):
            datasets.setdefault(each.dataset_id, set()).update(*map(each.keys.__getitem__, keys[each.task_id]))
        made: dict[Node, Collection[str]] = {("task", task): own for task, own in keys.items()}
        return made | {("dataset", dataset): theirs for dataset, theirs in datasets.items()}

    def follow_up(self) -> None:
        """Adds what is to be built above what is to be built, in any number of steps."""
        new: Mapping[int, Collection[str]] = self._standing
        while new:
            self._look_for_stale()
            built = {task: [key for key in keys if self._is_built(task, key)] for task, keys in new.items()}
            new = self.add(_by_task(maker for place in self._wanting(built) for maker in self._makers_of(place)))

    def _is_built(self, task: int, key: str) -> bool:
        return why_built(self._standing[task][key], self._wanted.overwrite) is not None

    def _wanting(self, keys: Mapping[int, Collection[str]]) -> set[Place]:
        """What these need and is not good as it is."""
        found = {
            place
            for need in needed(self._known, keys, self._now)
            for place in places(self._known, need, keys[need.task])
        }
        if self._wanted.overwrite == "always":
            return found
        asked: dict[Node, set[str]] = {}
        for kind, node, key in found:
            asked.setdefault((kind, node), set()).add(key)
        self._read(asked)
        good = _GOOD if self._wanted.overwrite == "never" else _GOOD - {"stale"}
        return {place for place in found if self._statuses[place[:2]][place[2]] not in good}

    def _makers_of(self, place: Place) -> list[TaskPartition]:
        if place[0] == "dataset" and place[1] not in self._known.producers:
            return []
        return [(each.task_id, each.partition) for each in self._known.makers(place, self._now)]

    def _read(self, asked: Mapping[Node, Collection[str]]) -> None:
        """Reads how these partitions stand, unless it is known."""
        unread = {
            node: more for node, keys in asked.items() if (more := set(keys).difference(self._statuses.get(node, ())))
        }
        if not unread:
            return
        for node, keys in unread.items():
            self._statuses.setdefault(node, {}).update(dict.fromkeys(keys, "missing"))
        for node, status, stored in storage.standing(self._connection, self._environment, unread):
            self._statuses[node].update(dict.fromkeys(stored, status))

    def _how_they_stand(self, task: int, keys: Collection[str]) -> dict[str, Standing]:
        subject, statuses = self._known.subjects[task], self._statuses["task", task]
        shape = (subject.partitioning, subject.partitioning_origin, subject.run_after)
        begins = self._begins.setdefault(shape, {})
        begins |= {key: _is_early(subject, key, self._now) for key in keys if key not in begins}
        return {key: "early" if begins[key] else _STANDING[statuses[key]] for key in keys}

    def _look_for_stale(self) -> None:
        """Tells what is stale from what is good, where that matters; once of each."""
        if self._wanted.overwrite != "stale":
            return
        stood = ((task, key, how) for task, keys in self._standing.items() for key, how in keys.items())
        good = [(task, key) for task, key, how in stood if how == "good" and (task, key) not in self._compared]
        if not good:
            return
        asked: list[Place] = [("task", *each) for each in good]
        for begin in range(0, len(asked), _COMPARED):
            some = [place for place in asked[begin : begin + _COMPARED] if place not in self._examined]
            self._examined |= examine(self._connection, self._environment, some, self._now)
        found = staleness(self._connection, self._environment, asked, self._now, FAR, self._examined)
        self._examined |= found.compared
        self._compared.update(good)
        for task, key in good:
            if found.status(("task", task, key)) is FreshnessStatus.STALE:
                self._standing[task][key] = "stale"

    def decided(self) -> Planned:
        """What becomes of all that was found."""
        self._look_for_stale()
        index = Index(self._standing)
        written = writing(self._connection, self._environment, self._standing, self._now)
        within = ((task, parent) for task in self._standing for parent in self._run_by(task))
        found = links(self._known, index, written, within, self._now)
        standing = [self._standing[task][key] for task, key in index.places]
        needs = found.needs(len(standing))
        decisions = rebuilt(standing, needs, self._wanted.overwrite, lambda at: self._name(index.places[at]))
        waiting = list(found.unmet([each.built for each in decisions]))
        asked: dict[Node, set[str]] = {}
        for each in waiting:
            asked.setdefault(each.node, set()).update(each.keys)
        self._read(asked)
        return Planned(
            places=index.places,
            decisions=decisions,
            needs=needs,
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
