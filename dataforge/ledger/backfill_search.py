"""Which partitions a backfill has to look at, and how each stands.

Guarantees a number of queries that grows with the steps up and down alone, however many partitions there are. What
needs what is told by the very mappings by which a verdict waits (`ledger.need`).

The keys of a task go together: a plan has hundreds of thousands of partitions, and a few thousand tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import get_args

import msgspec

from dataforge.ledger.backfill_links import Index, Links, links
from dataforge.ledger.backfill_needs import needed, places
from dataforge.ledger.need import cut_of, window
from dataforge.ledger.reach import Ways, Written, by_task, waking, writing
from dataforge.ledger.stale_search import StaleSearch
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.backfill import MOST_ITEMS, Backfilling
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.rebuild import Standing, why_built
from dataforge.model.task import is_test
from dataforge.storage import backfill_basis as storage
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Node, Place, Subject, by_node
from dataforge.storage.wakeup import TaskPartition

Keys = Mapping[int, Collection[str]]  # of each task
GOOD = frozenset({"ready", "stale", "skipped"})
_LEADING: frozenset[Standing] = frozenset(get_args(Standing)) - {"early"}
_AWAITED: frozenset[Standing] = frozenset({"missing", "failed"})


class Search:
    """The partitions found so far, and what is known of them."""

    def __init__(self, connection: Connection, environment: int, wanted: Backfilling, now: datetime) -> None:
        self._connection, self._environment, self._wanted, self._now = connection, environment, wanted, now
        self.standing: dict[int, dict[str, Standing]] = {}  # of what was found
        self.known = Surroundings({}, {}, {}, {})
        self.statuses: dict[Node, dict[str, str]] = {}  # of what was found, and of what it needs
        self._number = 0
        self._ways = Ways(connection, environment)
        self._parents: dict[int, list[int]] = {}  # of tasks that others run
        self._stale = StaleSearch(connection, environment, now)
        self._opens: dict[tuple[str, str, str | None], dict[str, datetime | None]] = {}  # by cut, and by key

    def add(self, asked: Keys, *, tests: bool = True) -> dict[int, set[str]]:
        """Looks at these partitions and those that run them, and returns which are new: none of a task that updates
        trigger, which runs by itself when what it reads is built, and without `tests` none of dbt's."""
        new = {task: keys for task, keys in self._unknown(asked) if keys}
        self._look_around(new.keys() - self.known.subjects.keys())
        above = [(parent, keys) for task, keys in new.items() for parent in self._run_by(task)]
        for parent, keys in above:
            new[parent] = new.get(parent, set()).union(*(more for _, more in self._unknown({parent: keys})))
        new = {task: keys for task, keys in new.items() if keys and self._is_planned(task, tests=tests)}
        self._number += sum(map(len, new.values()))
        if self._number > MOST_ITEMS:
            first = min(new)
            raise _too_many(self.known.subjects[first], min(new[first]))
        self.read({("task", task): keys for task, keys in new.items()})
        for task, keys in new.items():
            self.standing.setdefault(task, {}).update(self._how_they_stand(task, keys))
        return new

    def _unknown(self, asked: Keys) -> Iterator[tuple[int, set[str]]]:
        return ((task, set(keys).difference(self.standing.get(task, ()))) for task, keys in asked.items())

    def _is_planned(self, task: int, *, tests: bool) -> bool:
        subject = self.known.subjects.get(task)
        if subject is None or subject.trigger is not None:
            return False
        return tests or not is_test(subject.platform, subject.name)

    def _look_around(self, tasks: set[int]) -> None:
        if not tasks:
            return
        self._parents |= storage.run_by(self._connection, self._environment, tasks)
        parents = {each for task in tasks for each in self._parents.get(task, ())}
        tasks = (tasks | parents) - self.known.subjects.keys()
        self.known = self.known.joined(around(self._connection, self._environment, tasks))

    def _run_by(self, task: int) -> list[int]:
        """The tasks that run this one, as Airflow runs a Spark application, for the same keys: where they are cut
        alike."""
        return [each for each in self._parents.get(task, ()) if self._cut(each) == self._cut(task)]

    def _cut(self, task: int) -> str | None:
        subject = self.known.subjects.get(task)
        return subject.partitioning if subject else None

    def follow_down(self, leading: Container[Standing] = _LEADING) -> None:
        """Adds what depends on what was found, in any number of steps; over what stands otherwise no step leads. A
        window that has not ended leads nowhere, and dbt's tests, which dbt runs with what they test, are no part of
        it."""
        new: Keys = self.standing
        while new:
            over = {task: [key for key in keys if self.standing[task][key] in leading] for task, keys in new.items()}
            ended = waking(self._ways, self._made(over), self._now)
            new = self.add(ended, tests=False)

    def after(self, built: Iterable[TaskPartition], then: datetime) -> tuple[Search, bool]:
        """What waits for these as it stands then, if they have not been built by then; and whether that is all."""
        later = Search(self._connection, self._environment, self._wanted, then)
        later.known, later.statuses, later._parents, later._ways = self.known, self.statuses, self._parents, self._ways
        later.standing = {task: dict.fromkeys(keys, "missing") for task, keys in by_task(built).items()}
        try:
            later.follow_down(leading=_AWAITED)
        except InvalidInput:  # it is more than a plan may look at
            return later, False
        return later, True

    def opens(self, task: int, key: str) -> datetime:
        """From when on a partition may run, as far as its window tells."""
        return _opens(self.known.subjects[task], key) or self._now

    def joined(self) -> tuple[Index, Links]:
        """All that was found, and how it hangs together."""
        index = Index(self.standing)
        within = ((task, parent) for task in self.standing for parent in self._run_by(task))
        return index, links(self.known, index, self.written(), within, self._now)

    def written(self) -> Iterator[Written]:
        """What of datasets that which was found makes."""
        return writing(self._ways, self.standing, self._now)

    def _made(self, keys: Keys) -> dict[Node, Collection[str]]:
        """What these make: themselves, and partitions of datasets."""
        datasets: dict[int, set[str]] = {}
        for each in writing(self._ways, keys, self._now):
            datasets.setdefault(each.dataset_id, set()).update(*map(each.keys.__getitem__, keys[each.task_id]))
        made: dict[Node, Collection[str]] = {("task", task): own for task, own in keys.items()}
        return made | {("dataset", dataset): theirs for dataset, theirs in datasets.items()}

    def follow_up(self) -> None:
        """Adds what is to be built above what is to be built, in any number of steps."""
        new: Keys = self.standing
        while new:
            self.look_for_stale()
            built = {task: [key for key in keys if self._is_built(task, key)] for task, keys in new.items()}
            new = self.add(by_task(maker for place in self._wanting(built) for maker in self._makers_of(place)))

    def _is_built(self, task: int, key: str) -> bool:
        return why_built(self.standing[task][key], self._wanted.overwrite) is not None

    def _wanting(self, keys: Keys) -> set[Place]:
        """What these need and is not good as it is."""
        found = {
            place for need in needed(self.known, keys, self._now) for place in places(self.known, need, keys[need.task])
        }
        if self._wanted.overwrite == "always":
            return found
        self.read(by_node(found))
        good = GOOD if self._wanted.overwrite == "never" else GOOD - {"stale"}
        return {place for place in found if self.statuses[place[:2]][place[2]] not in good}

    def _makers_of(self, place: Place) -> list[TaskPartition]:
        if place[0] == "dataset" and place[1] not in self.known.producers:
            return []
        return [(each.task_id, each.partition) for each in self.known.makers(place, self._now)]

    def read(self, asked: Mapping[Node, Collection[str]]) -> None:
        """Reads how these partitions stand, unless it is known."""
        unread = {
            node: more for node, keys in asked.items() if (more := set(keys).difference(self.statuses.get(node, ())))
        }
        if not unread:
            return
        for node, keys in unread.items():
            self.statuses.setdefault(node, {}).update(dict.fromkeys(keys, "missing"))
        if self._wanted.overwrite == "stale":  # then more is asked of them later
            found = self._stale.standing(unread)
        else:
            found = storage.standing(self._connection, self._environment, unread)
        for node, status, stored in found:
            self.statuses[node].update(dict.fromkeys(stored, status))

    def _how_they_stand(self, task: int, keys: Collection[str]) -> dict[str, Standing]:
        subject, statuses = self.known.subjects[task], self.statuses["task", task]
        shape = (subject.partitioning, subject.partitioning_origin, subject.run_after)
        opens = self._opens.setdefault(shape, {})
        opens |= {key: _opens(subject, key) for key in keys if key not in opens}
        early = {key for key in keys if (at := opens[key]) is not None and at > self._now}
        return {key: "early" if key in early else _STANDING[statuses[key]] for key in keys}

    @property
    def all_compared(self) -> bool:
        """Whether all that lies above what may be stale was looked at."""
        return self._stale.is_whole

    def look_for_stale(self) -> None:
        """Tells what is stale from what is good, where that matters; once of each."""
        if self._wanted.overwrite != "stale":
            return
        good = {task: [key for key, how in keys.items() if how == "good"] for task, keys in self.standing.items()}
        for task, stale in self._stale.stale(good).items():
            self.standing[task] |= dict.fromkeys(stale, "stale")


_STANDING: dict[str, Standing] = {
    "missing": "missing",
    "running": "running",
    "ready": "good",
    "failed": "failed",
    "skipped": "skipped",
    "stale": "stale",
    "quarantined": "held",
}


def _opens(subject: Subject, key: str) -> datetime | None:
    cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
    span = window(cut, key)
    wait = timedelta(0) if subject.run_after is None else msgspec.convert(subject.run_after, timedelta)
    return span.end + wait if span is not None else None


def _too_many(subject: Subject, partition: str) -> InvalidInput:
    named = f"{subject.name} {partition}".rstrip()
    expected = f"a plan of at most {MOST_ITEMS:,} partitions: ask for fewer targets, or another direction"
    message = (
        f"there are more than {MOST_ITEMS:,} partitions to look at, of which {named} is the next: expected {expected}"
    )
    return InvalidInput(message, [FieldError("targets", named, expected)])
