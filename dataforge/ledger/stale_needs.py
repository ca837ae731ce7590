"""What made partitions of tasks are compared with, of hundreds of thousands of them at once.

Guarantees what `ledger.comparison` compares them with: of required edges that do not ignore staleness; and no task
where a dataset between tells more of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

import numpy as np

from dataforge.ledger.backfill_needs import Groups, Needed, needed, standing_for
from dataforge.ledger.comparison import counts
from dataforge.ledger.need import cut_of, misfit
from dataforge.ledger.once import Once
from dataforge.ledger.stale_columns import Places
from dataforge.ledger.surroundings import Surroundings
from dataforge.storage.readiness import Node, Subject


class Wanted(NamedTuple):
    """What partitions of a task are compared with by one edge: pairs of a place among the task's keys, and a key."""

    task: int
    node: Node
    own: Places
    keys: tuple[str, ...]
    or_whole: bool  # whether the node as a whole may stand for what is not there
    choosing: Places  # the places among the task's keys for which one of several is enough
    written: bool  # whether a task is known that writes the node


class Needs:
    """Tells what is compared with what; asked again, it remembers."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._asking = Once(_asking)
        self._fits: dict[tuple[str, str], dict[str, bool]] = {}

    def of(self, known: Surroundings, keys: Mapping[int, tuple[str, ...]]) -> Iterator[Wanted]:
        """What these partitions of tasks are compared with, edge by edge."""
        for task, needs in groupby(needed(known, keys, self._now), key=lambda need: need.task):
            wanted = [self._wanted(known, need, keys[task]) for need in needs if counts(need.edge)]
            behind = _behind(known, wanted)
            yield from (_without(each, behind.get(each.node[1])) if each.node[0] == "task" else each for each in wanted)

    def _wanted(self, known: Surroundings, need: Needed, own: tuple[str, ...]) -> Wanted:
        node = known.nodes[need.node]
        asked = self._asking(need.groups, own, node.declared_cut)
        return Wanted(need.task, need.node, *asked, bool(known.writers(node)))

    def fitting(self, subject: Subject, keys: Sequence[str]) -> list[bool]:
        """Which of these keys its task has partitions for."""
        fits = self._fits.setdefault((subject.partitioning, subject.partitioning_origin), {})
        cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
        fits |= {key: misfit(subject, cut, key) is None for key in keys if key not in fits}
        return [fits[key] for key in keys]


def _asking(
    groups: Mapping[str, Groups], own: tuple[str, ...], declared_cut: bool
) -> tuple[Places, tuple[str, ...], bool, Places]:
    asked = [(at, group) for at, key in enumerate(own) for group in groups[key]]
    return (
        np.array([at for at, _ in asked], np.int64),
        tuple(group[-1] for _, group in asked),
        any(len(standing_for(group, declared_cut)) > len(group) for _, group in asked),
        np.array([at for at, group in asked if len(group) > 1], np.int64),
    )


def _behind(known: Surroundings, wanted: Sequence[Wanted]) -> dict[int, set[int]]:
    """By needed task, for which places a dataset that it writes is needed too."""
    tasks = {each.node[1] for each in wanted if each.node[0] == "task"}
    found: dict[int, set[int]] = {}
    for each in wanted if tasks else ():
        for writer in known.writers(known.nodes[each.node]):
            if writer.task_id in tasks:
                found.setdefault(writer.task_id, set()).update(each.own.tolist())
    return found


def _without(wanted: Wanted, places: set[int] | None) -> Wanted:
    if not places:
        return wanted
    kept = [at for at, own in enumerate(wanted.own.tolist()) if own not in places]
    return wanted._replace(own=wanted.own[kept], keys=tuple(wanted.keys[at] for at in kept))
