"""Which upstream partitions runs needed: by the edges of their tasks, mapped as readiness maps them, and by what they
were seen to read.

Guarantees that a run is asked for nothing that it need not have had: what a platform has observed of a task counts for
those of its runs that were seen to read it, and a task that comes before counts where the trigger rule asks for its
success and no dataset between the two tells more.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from dataforge.ledger.need import Asked, Need, sketch, used_edges, window
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.attempt import Interval
from dataforge.model.edge import TriggerRule, trigger_rule
from dataforge.model.freshness import RunKey
from dataforge.storage import finding as storage
from dataforge.storage.database import Connection
from dataforge.storage.finding import Ran, Touched
from dataforge.storage.readiness import EdgeRow, Place, Subject


class Reading(NamedTuple):
    """One upstream partition that a run needed; the first of `places` is it, '' may stand for it."""

    places: tuple[Place, ...]
    read_from: datetime
    read_until: datetime
    version: str | None
    declared: bool  # by an edge of the run's task
    window: Interval | None  # of time, where the key has one


class Readings(msgspec.Struct, frozen=True):
    """What a set of runs needed."""

    known: Surroundings
    of: Mapping[RunKey, Sequence[Reading]]


def readings(connection: Connection, environment: int, runs: Sequence[Ran], now: datetime) -> Readings:
    """What each of these runs needed; one that still runs reads until `now`."""
    known = around(connection, environment, {run.task_id for run in runs})
    touched = storage.touched(connection, environment, runs)
    return Readings(known, {run.key: _readings(known, run, touched.get(run.key, ()), now) for run in runs})


def _readings(known: Surroundings, run: Ran, touched: Sequence[Touched], now: datetime) -> list[Reading]:
    if run.task_id not in known.subjects:
        return []
    written = {(each.dataset_id, each.partition) for each in touched if each.written}
    read = [each for each in touched if not each.written and (each.dataset_id, each.partition) not in written]
    needs = _needs(known, run, {each.dataset_id for each in read})
    exact = {each.dataset_id for each in read if each.partition}
    found: dict[Place, Reading] = {}
    for need in needs:
        if need.edge.origin == "declared" or need.node.kind == "task" or need.node.id not in exact:
            found.setdefault(need.places[0], _needed(run, need, read, now))
    mapped = {need.node.id for need in needs if need.node.kind == "dataset"}
    for each in read:
        if each.partition or each.dataset_id not in mapped:
            place: Place = ("dataset", each.dataset_id, each.partition)
            seen = _seen(run, place, [each], now)
            found.setdefault(place, seen._replace(window=run.interval if each.partition in run.partitions else None))
    return [found[place] for place in sorted(found)]


def _needed(run: Ran, need: Need, read: Iterable[Touched], now: datetime) -> Reading:
    own = [each for each in read if need.node.kind == "dataset" and each.dataset_id == need.node.id]
    exact = [each for each in own if each.partition == need.key]
    seen = _seen(run, need.places[0], exact or [each for each in own if not each.partition], now)
    known = window(need.window_cut, need.key)
    return seen._replace(places=need.places, declared=need.edge.origin == "declared", window=known)


def _seen(run: Ran, place: Place, read: Sequence[Touched], now: datetime) -> Reading:
    """When and in which version the run read it: of a Spark application when its jobs did."""
    begun, ended = run.started_at, run.ended_at or now
    if read and all(each.step for each in read):
        begun = max(begun, min(each.first_at for each in read))
        ended = min(ended, max(each.last_at for each in read))
    version = next((each.version for each in read if each.version is not None and each.partition == place[2]), None)
    return Reading((place,), begun, ended, version, declared=False, window=None)


def _needs(known: Surroundings, run: Ran, read: set[int]) -> list[Need]:
    """By the edges of its task, as of the start of the run. One for several partitions needs what each does."""
    subject, found = known.subjects[run.task_id], known.edges.get(run.task_id, [])
    needs = [
        need
        for key in run.partitions or ("",)
        for need in sketch(subject, found, known.nodes, Asked(run.task_id, key), run.started_at).needs
        if _counts(need, run, read)
    ]
    between = {writer.task_id for need in needs for writer in known.writers(need.node)}
    waits = _waits_for_success(subject, used_edges(found))
    return [need for need in needs if need.node.kind == "dataset" or (waits and need.node.id not in between)]


def _counts(need: Need, run: Ran, read: set[int]) -> bool:
    edge = need.edge
    if need.among or not edge.required or edge.staleness == "ignore" or edge.condition != "succeeded":
        return False
    if need.node.kind == "task":
        return need.node.id != run.task_id or need.key not in run.partitions
    return edge.origin == "declared" or need.node.id in read


def _waits_for_success(subject: Subject, used: Sequence[EdgeRow]) -> bool:
    """Whether every task that comes before has to succeed. Of an Airflow task nobody may have said."""
    spelling = subject.declared_rule or subject.observed_rule
    if spelling is not None:
        return trigger_rule(spelling) is TriggerRule.ALL_SUCCESS
    return subject.platform != "airflow" or all(edge.origin == "declared" for edge in used if edge.node[0] == "task")
