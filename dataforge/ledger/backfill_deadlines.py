"""Which deadlines a backfill would endanger.

What a plan builds is expected when its wave has ended. What is not in the plan, waits for it and is not there yet
comes after that, and takes what its runs took of late; so do windows that end while the backfill runs. What has been
due before is no longer endangered, and what is good stays so while what it was made from is built anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from dataforge.ledger.backfill_search import Search
from dataforge.ledger.need import cut_of, window
from dataforge.model.backfill import MOST_SHOWN, Deadlines, Endangered
from dataforge.model.due import Due, due_at
from dataforge.model.rebuild import rebuilt
from dataforge.model.verdict import NodeRef
from dataforge.storage import backfill_basis
from dataforge.storage import deadline as storage
from dataforge.storage.database import Connection
from dataforge.storage.deadline import Deadline
from dataforge.storage.readiness import Node
from dataforge.storage.wakeup import TaskPartition

_Expected = Mapping[TaskPartition, datetime]  # when partitions will have been built


def endangered(
    connection: Connection, environment: int, search: Search, built: _Expected, untimed: float, now: datetime
) -> Deadlines:
    """The deadlines after now before which what is built, or what waits for it, would not be there. `untimed` is how
    many seconds a run is taken for of which nobody knows how long it takes."""
    declared = storage.deadlines(connection, environment)
    if not declared or not built:
        return Deadlines()
    later, all_seen = search.after(built, max(built.values()))
    seconds = backfill_basis.recent(connection, environment, later.standing)
    expected = _expected(later, built, lambda task: timedelta(seconds=seconds.get(task, untimed)))
    found = [
        Endangered(
            node=NodeRef(node[0], declared[node].namespace, declared[node].name),
            partition=key,
            due_at=due,
            expected_at=at,
            owner=declared[node].owner,
        )
        for node, key, at, cut in _there(later, expected, declared)
        if (due := _due(declared[node], cut, key)) is not None and now < due < at
    ]
    found.sort(key=lambda each: (each.due_at, each.node, each.partition))
    return Deadlines(endangered=len(found), first=tuple(found[:MOST_SHOWN]), all_seen=all_seen)


def _expected(later: Search, built: _Expected, takes: Callable[[int], timedelta]) -> _Expected:
    """When what is built and what waits for it will be there."""
    if sum(map(len, later.standing.values())) == len(built):
        return built
    index, links = later.joined()
    standing = [later.standing[task][key] for task, key in index.places]
    needs = links.needs(len(standing))
    decisions = rebuilt(standing, needs, "never")
    found: dict[TaskPartition, datetime] = {}
    for at in sorted(range(len(standing)), key=lambda at: decisions[at].wave):
        place = index.places[at]
        if place in built:
            found[place] = built[place]
        elif decisions[at].built:
            above = [found[need] for need in map(index.places.__getitem__, needs[at]) if need in found]
            if above:
                found[place] = max(*above, later.opens(*place)) + takes(place[0])
    return found


def _there(
    later: Search, expected: _Expected, declared: Mapping[Node, Deadline]
) -> Iterator[tuple[Node, str, datetime, str]]:
    """What will be there of what has a deadline: a node, its partition, when, and how whoever makes it is cut."""
    ends: dict[int, dict[str, datetime]] = {}
    for (task, key), at in expected.items():
        ends.setdefault(task, {})[key] = at
        if ("task", task) in declared:
            yield ("task", task), key, at, later.known.subjects[task].partitioning
    made: dict[tuple[Node, str], tuple[datetime, str]] = {}
    for each in (each for each in later.written() if ("dataset", each.dataset_id) in declared):
        node: Node = ("dataset", each.dataset_id)
        cut = later.known.subjects[each.task_id].partitioning
        for own, at in ends.get(each.task_id, {}).items():
            for key in each.keys[own]:
                made[node, key] = max((at, cut), made.get((node, key), (at, cut)))
    yield from ((node, key, at, cut) for (node, key), (at, cut) in made.items())


def _due(deadline: Deadline, cut: str, key: str) -> datetime | None:
    """By when a partition is due; None of one that is no time window."""
    span = window(cut_of(deadline.partitioning or cut, declared=True), key)
    return due_at(msgspec.json.decode(deadline.due, type=Due), span.end) if span else None
