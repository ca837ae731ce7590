"""Planning a backfill: what becomes of each partition that there is to look at.

Guarantees one snapshot, if its caller began one. What there is to look at is found by `ledger.backfill_search`, and
which of it is rebuilt is told by `model.rebuild`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataforge.ledger.backfill_links import lacking
from dataforge.ledger.backfill_search import GOOD, Search
from dataforge.ledger.backfill_targets import start
from dataforge.ledger.reach import by_task
from dataforge.model.backfill import Backfilling, Overwrite
from dataforge.model.rebuild import Decision, Standing, rebuilt
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Subject, by_node
from dataforge.storage.wakeup import TaskPartition


class Planned(msgspec.Struct, frozen=True):
    """What becomes of each partition that was looked at."""

    places: Sequence[TaskPartition]  # those of a task beside each other, in the order of their keys
    decisions: Sequence[Decision]
    waves: NDArray[np.int64]  # by place; 0 of what is not built
    needs: Sequence[Sequence[int]]  # by place: which of the others it is made from
    standing: Sequence[Standing]
    lacking: Mapping[int, str]  # by place: what it waits for that is not there and not built here
    subjects: Mapping[int, Subject]
    search: Search  # what was found, for who wants to know more of it

    @property
    def order(self) -> list[int]:
        """The places in the order of the plan: wave by wave, and what is not built last."""
        tasks = sorted(self.subjects, key=lambda task: (self.subjects[task].name, task))
        named = {task: at for at, task in enumerate(tasks)}
        keyed = {key: at for at, key in enumerate(sorted({key for _, key in self.places}))}
        waves = np.where(self.waves, self.waves, _LAST).tolist()
        last_first = [named[task] for task, _ in self.places], [keyed[key] for _, key in self.places], waves
        ordered: list[int] = np.lexsort(last_first).tolist()
        return ordered


_LAST = 2**31  # after every wave


def plan(connection: Connection, environment: int, wanted: Backfilling, now: datetime) -> Planned:
    """What the backfill would do. Raises InvalidInput for targets that cannot be told or more than MOST_ITEMS
    partitions, NotFound for what nobody knows."""
    search = Search(connection, environment, wanted, now)
    search.add(by_task(start(connection, environment, wanted.targets, now)))
    if wanted.direction in ("downstream", "both"):
        search.follow_down()
    if wanted.direction in ("upstream", "both"):
        search.follow_up()
    search.look_for_stale()
    return _decided(search, wanted.overwrite)


def _decided(search: Search, overwrite: Overwrite) -> Planned:
    """What becomes of all that was found."""
    index, links = search.joined()
    subjects, nodes = search.known.subjects, search.known.nodes

    def name(at: int) -> str:
        task, key = index.places[at]
        return f"{subjects[task].name} {key}".rstrip()

    standing = [search.standing[task][key] for task, key in index.places]
    needs = links.needs(len(standing))
    decisions = rebuilt(standing, needs, overwrite, name)
    waves = np.array([each.wave for each in decisions], np.int64)
    waiting = list(links.unmet(waves > 0))
    search.read(by_node((*each.node, key) for each in waiting for key in each.keys))
    return Planned(
        places=index.places,
        decisions=decisions,
        waves=waves,
        needs=needs,
        standing=standing,
        lacking=lacking(waiting, search.statuses, GOOD, lambda node: nodes[node].name),
        subjects=subjects,
        search=search,
    )
