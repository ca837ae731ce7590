"""Which of hundreds of thousands of partitions of tasks are stale, by what they are made from directly or in turn.

Guarantees what `ledger.staleness` says of each, without its reasons and however much lies on a level; and a number of
queries that grows with the levels alone. Where runs and times tell it they are compared here, in arrays. Where it takes
more (an input with versions, one of several that is enough, a run on behalf of another one), the partition is compared
by `ledger.comparison`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from dataforge.ledger.comparison import examine
from dataforge.ledger.need import used_edges
from dataforge.ledger.stale_columns import Columns, Places
from dataforge.ledger.stale_needs import Needs, Wanted
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.freshness import FreshnessStatus
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Node, by_node

MOST_LEVELS = 400  # a year of a task that builds each day on the one before
MOST_PLACES = 500_000  # partitions that are looked at
_AT_ONCE = 2_000  # partitions that are compared one by one
_NONE: Places = np.zeros(0, np.int64)


class StaleSearch:
    """What was looked at so far, and what is stale of it."""

    def __init__(self, connection: Connection, environment: int, now: datetime) -> None:
        self._connection, self._environment, self._now = connection, environment, now
        self._known = Surroundings({}, {}, {}, {})
        self._all = Columns(connection, environment)
        self._links: list[tuple[Places, Places]] = []  # what is made, and from what that was made itself
        self._needs = Needs(now)

    def standing(self, of: Mapping[Node, Collection[str]]) -> Iterator[tuple[Node, str, list[str]]]:
        """How these partitions stand, which were not read yet: those of a node that stand alike together."""
        for found in self._all.read(of):
            alike: dict[str, list[str]] = {}
            for status, key in zip(found.statuses, found.keys, strict=True):
                alike.setdefault(status, []).append(key)
            yield from ((found.node, status, keys) for status, keys in alike.items())

    def stale(self, of: Mapping[int, Collection[str]]) -> dict[int, list[str]]:
        """Which of these partitions of tasks are stale, of those that were ever made."""
        self._all.read({("task", task): keys for task, keys in of.items()})
        for task, keys in of.items():
            self._all["wanted"][self._all.at(("task", task), keys)] = True
        asked = sum(map(len, of.values()))
        for _ in range(MOST_LEVELS):
            new = self._all.unseen()
            if not len(new) or len(self._all.names) > max(MOST_PLACES, asked):
                break
            self._look_above(new)
        stale = self._all["stale"] | self._reached()
        return {
            task: [key for key, each in zip(keys, stale[self._all.at(("task", task), keys)], strict=True) if each]
            for task, keys in of.items()
            if keys
        }

    @property
    def is_whole(self) -> bool:
        """Whether all that lies above what was asked about was looked at."""
        return not len(self._all.unseen())

    def _link(self, own: Places, inputs: Places) -> None:
        """Notes what these are made from, which is to be compared too."""
        self._links.append((own, inputs))
        self._all["wanted"][inputs] = True

    def _reached(self) -> NDArray[np.bool_]:
        """What has changed inputs, or is made from what has, in any number of steps."""
        own = np.concatenate([_NONE, *(own for own, _ in self._links)])
        inputs = np.concatenate([_NONE, *(inputs for _, inputs in self._links)])
        reached: NDArray[np.bool_] = self._all["changed"].copy()
        while len(more := own[reached[inputs] & ~reached[own]]):
            reached[more] = True
        return reached

    def _look_above(self, new: Places) -> None:
        """Compares these with what they are made from, and reads that."""
        datasets = new[~self._all["is_task"][new]]
        makers = list(zip(self._all.named(datasets), self._all.made(datasets), strict=True))
        self._all.read(by_node(("task", task, key) for (_, _, key), (task, _) in makers))
        by = np.array([self._all.place(("task", task, key)) for (_, _, key), (task, _) in makers], np.int64)
        self._all["wanted"][by] = True
        above = self._all.unseen()
        tasks = above[self._all["is_task"][above]]
        self._compare(tasks)
        self._follow(datasets, by)
        looked_at = np.concatenate((datasets, tasks))
        self._compare_each(looked_at[~self._all["simple"][looked_at]])
        self._all["seen"][looked_at] = True

    def _follow(self, datasets: Places, makers: Places) -> None:
        """What a run wrote is as stale as its task's partition is, where the same try of it made that, and simply."""
        same = self._all["simple"][makers] & self._all["ready"][datasets]
        same &= self._all["run"][makers] == self._all["run"][datasets]
        same &= self._all["begun"][makers] == self._all["begun"][datasets]
        self._all["simple"][datasets[same]] = True
        self._link(datasets[same], makers[same])

    def _compare_each(self, places: Places) -> None:
        """Compares one by one what takes more than runs and times."""
        for begin in range(0, len(places), _AT_ONCE):
            named = self._all.named(places[begin : begin + _AT_ONCE])
            found = examine(self._connection, self._environment, named, self._now)
            self._all.read(by_node(above for each in found.values() for above in each.inputs))
            for place, each in found.items():
                at = self._all.place(place)
                self._all["changed"][at] = bool(each.changed)
                self._all["stale"][at] = each.status is FreshnessStatus.STALE
                for node, keys in by_node(each.inputs).items():
                    self._link(np.full(len(keys), at), self._all.at(node, keys))

    def _compare(self, tasks: Places) -> None:
        """Compares partitions of tasks with what they are made from where runs and times tell it, and says of which."""
        of = self._by_task(tasks)
        own, above, written = self._linked(of)
        known, is_made = self._all, self._all["run"][above] >= 0
        is_dataset = ~known["is_task"][above]
        known["simple"][own[is_made & is_dataset & known["versioned"][above]]] = False
        told = known["simple"][own] & (own != above)
        others = known["run"][above] != known["run"][own]
        changed = told & is_made & others & (known["ended"][above] > known["begun"][own])
        missing = told & is_dataset & ~is_made & (written | known["there"][above])
        known["changed"][own[changed]] = True
        known["stale"][own[changed | missing]] = True
        self._link(own[told & is_made], above[told & is_made])

    def _linked(self, of: Mapping[int, Places]) -> tuple[Places, Places, NDArray[np.bool_]]:
        """What these are compared with, and whether a task is known that writes it: pair by pair."""
        having: dict[int, Places] = {}
        keys: dict[int, tuple[str, ...]] = {}
        alike: dict[tuple[str, ...], tuple[str, ...]] = {}
        for task, places, own in self._having(of):
            having[task], keys[task] = places, alike.setdefault(own, own)
        wanted = list(self._needs.of(self._known, keys))
        self._all.read(_nodes(wanted))
        self._all["simple"][np.concatenate([_NONE, *of.values()])] = True
        self._all["simple"][np.concatenate([_NONE, *(having[each.task][each.choosing] for each in wanted)])] = False
        made = np.concatenate([_NONE, *(having[each.task][each.own] for each in wanted)])
        above = np.concatenate([_NONE, *(self._above(each) for each in wanted)])
        written = np.repeat([each.written for each in wanted], [len(each.own) for each in wanted])
        return made, above, written.astype(np.bool_)

    def _having(self, of: Mapping[int, Places]) -> Iterator[tuple[int, Places, tuple[str, ...]]]:
        """Those that need anything, with their keys: what its task has no partition for needs nothing."""
        for task, places in of.items():
            keys = [key for _, _, key in self._all.named(places)]
            fits = self._needs.fitting(self._known.subjects[task], keys)
            yield task, places[np.array(fits, np.bool_)], tuple(compress(keys, fits))

    def _above(self, wanted: Wanted) -> Places:
        """What each key means: itself, unless only the node as a whole is there."""
        exact = self._all.at(wanted.node, wanted.keys)
        if not wanted.or_whole:
            return exact
        (whole,) = self._all.at(wanted.node, ("",))
        there = self._all["there"]
        return np.where(there[exact] | ~there[whole], exact, whole)

    def _by_task(self, tasks: Places) -> dict[int, Places]:
        """By task those of which its edges, and when one run began, tell all."""
        ready = tasks[self._all["ready"][tasks]]
        of: dict[int, list[int]] = {}
        for at, (_, task, _) in zip(ready.tolist(), self._all.named(ready), strict=True):
            of.setdefault(task, []).append(at)
        found = {task: np.array(places, np.int64) for task, places in of.items()}
        self._look_around(found.keys())
        bare = {task: self._all["parent"][found[task]] for task in found if not self._uses(task)}
        self._look_around({parent for parents in bare.values() for parent in parents.tolist() if parent >= 0})
        for task, parents in bare.items():  # where nobody knows what it consumes, that counts which ran it
            found[task] = found[task][[parent < 0 or not self._uses(parent) for parent in parents.tolist()]]
        return {task: places for task, places in found.items() if not self._updates(task)}

    def _look_around(self, tasks: Iterable[int]) -> None:
        new = set(tasks) - self._known.subjects.keys()
        if new:
            self._known = self._known.joined(around(self._connection, self._environment, new))

    def _uses(self, task: int) -> bool:
        return bool(used_edges(self._known.edges.get(task, [])))

    def _updates(self, task: int) -> bool:
        """Whether it writes in place what it reads: then it takes more to tell what of that it needs."""
        edges = self._known.edges.get(task, [])
        return not {each.node for each in edges if each.relation == "produces"}.isdisjoint(
            each.node for each in used_edges(edges)
        )


def _nodes(wanted: Sequence[Wanted]) -> dict[Node, set[str]]:
    found: dict[Node, set[str]] = {}
    for each in wanted:
        found.setdefault(each.node, set()).update(each.keys, ("",) if each.or_whole else ())
    return found
