"""Streams: the claims that follow from watermarks and late data, kept up with what is told and how outputs are cut.

Guarantees that the claims are a function of the facts and of the definitions that stand, whatever came first. A
watermark that moves on adds the windows that it has passed and touches no others; where an output is cut otherwise, or
an earlier first watermark turns up, the task's claims are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dataforge.model import partition
from dataforge.model.errors import InvalidInput
from dataforge.model.event import Event
from dataforge.model.partition import Partitioning, window_of
from dataforge.model.reference import DatasetRef
from dataforge.model.stream import Late, Reach, Told, late_rows, passed, reach
from dataforge.model.windows import INSTANT
from dataforge.storage import stream as storage
from dataforge.storage.database import Connection
from dataforge.storage.partition import Place
from dataforge.storage.readiness import Node
from dataforge.storage.stream import EVERY, Claimed, Output, SaidLate, SaidWatermark, Streaming


class News(msgspec.Struct, frozen=True):
    """What events have told of streams, and the tasks that were seen to write something."""

    watermarks: Sequence[SaidWatermark] = ()
    late: Sequence[SaidLate] = ()
    writers: Set[int] = frozenset()


NO_NEWS = News()


class _Output(msgspec.Struct, frozen=True):
    """A task's own partitions, or those of a dataset that it writes, as far as its stream reaches."""

    task_id: int
    node: Node
    cut: Partitioning
    lateness: timedelta
    within: Reach
    datasets: tuple[int, ...]  # under which what is told of it stands: of a dataset under each of its names

    def place(self, key: str) -> Place:
        return (*self.node, key)


def keep(connection: Connection, environment: int, events: Iterable[Event]) -> News:
    """Keeps what events tell of streams; `follow` makes what follows from it."""
    listed = list(events)
    told = [
        SaidWatermark(said.task.id, _id(said.dataset), said.at, event.occurred_at, event.id, said.run)
        for event in listed
        for said in event.facts.watermarks
    ]
    late = [
        SaidLate(said.task.id, _id(said.dataset), said.partition, event.occurred_at, event.id, said.rows)
        for event in listed
        for said in event.facts.late
    ]
    storage.keep(connection, environment, told, late)
    writers = {edge.task.id for event in listed for edge in event.facts.edges if edge.relation == "produces"}
    return News(told, late, writers)


def _id(dataset: DatasetRef | None) -> int:
    return EVERY if dataset is None else dataset.id


def follow(connection: Connection, environment: int, news: News, tasks: Set[int], datasets: Set[int]) -> set[Place]:
    """Keeps the claims of streams up with the news, and with these tasks and datasets, which may be cut otherwise than
    before. Returns the places whose claims changed, datasets under the names they were written by."""
    concerned = tasks | news.writers
    concerned |= {each.task_id for each in news.watermarks} | {each.task_id for each in news.late}
    if datasets:
        concerned |= storage.writers(connection, environment, datasets)
    places: set[Place] = set()
    found = storage.streaming(connection, environment, concerned) if concerned else []
    written = storage.outputs(connection, environment, [each.task_id for each in found]) if found else []
    for each in found:
        made_for = _shape(connection, environment, each, written)
        outputs = [_output(each.task_id, shape) for shape in made_for]
        if made_for != each.made_for:
            storage.remember(connection, environment, each.task_id, made_for)
            places |= storage.forget_task(connection, environment, each.task_id)
            for one in outputs:
                every = _passed(connection, environment, one, one.within, None)
                places |= _claim(connection, environment, one, every)
        else:
            places |= _move_on(connection, environment, outputs, news)
    return places


def _shape(connection: Connection, environment: int, task: Streaming, written: Iterable[Output]) -> list[list[Any]]:
    """What the claims of a task are made for, as it is remembered: each output that has time windows, how it is cut,
    its lateness, the first watermark that anybody told of, and under which datasets."""
    nodes: list[tuple[str, int, Any, str | None, list[int]]] = [("task", task.task_id, task.cut, task.lateness, [])]
    for each in written:
        if each.task_id == task.task_id:
            cut, lateness = each.cut or task.cut, each.lateness or task.lateness
            nodes.append(("dataset", each.dataset_id, cut, lateness, each.names))
    found: list[list[Any]] = []
    for kind, node, cut, lateness, names in nodes:
        if not partition.from_json(cut).windowed:
            continue
        told = [EVERY, *names]
        first = storage.first(connection, environment, task.task_id, told)
        if first is not None:
            found.append([kind, node, cut, lateness, first.isoformat(), told])
    return found


def _output(task_id: int, shape: Sequence[Any]) -> _Output:
    kind, node, cut, lateness, first, told = shape
    windows = partition.from_json(cut)
    within = reach(windows, datetime.fromisoformat(first))
    return _Output(task_id, (kind, node), windows, storage.duration(lateness), within, tuple(told))


def _move_on(connection: Connection, environment: int, outputs: Iterable[_Output], news: News) -> set[Place]:
    places: set[Place] = set()
    for one in outputs:
        said = [w for w in news.watermarks if w.task_id == one.task_id and w.dataset_id in one.datasets]
        late = [each for each in news.late if each.task_id == one.task_id and each.dataset_id in one.datasets]
        found: dict[str, Told] = {}
        if said:
            begun, new = min(each.said_at for each in said), [each.said_by for each in said]
            above = storage.known_by(connection, environment, one.task_id, one.datasets, begun, new)
            found |= _passed(connection, environment, one, one.within, above)
        for key in {each.partition for each in late} - found.keys():
            found |= _one(connection, environment, one, key)
        places |= _claim(connection, environment, one, found)
    return places


def _passed(
    connection: Connection, environment: int, output: _Output, within: Reach, above: datetime | None
) -> dict[str, Told]:
    told = storage.told(connection, environment, output.task_id, output.datasets, above)
    return passed(output.cut, output.lateness, told, within, above)


def _one(connection: Connection, environment: int, output: _Output, key: str) -> dict[str, Told]:
    """One partition, where a watermark has passed it."""
    try:
        window = window_of(output.cut, key)
    except InvalidInput:  # data for what is no partition is late for none
        return {}
    if window is None or not output.within.after < window.end <= output.within.until:
        return {}
    within = Reach(max(window.start, output.within.after), window.end)
    found = _passed(connection, environment, output, within, window.end + output.lateness - INSTANT)
    return {each: told for each, told in found.items() if each == key}


def _claim(connection: Connection, environment: int, output: _Output, found: Mapping[str, Told]) -> set[Place]:
    if not found:
        return set()
    late = storage.late(connection, environment, output.task_id, output.datasets, found)
    claims = [_claimed(output.place(key), told, late.get(key, ())) for key, told in sorted(found.items())]
    places = {each.place for each in claims}
    storage.forget(connection, environment, output.task_id, places)
    storage.claim(connection, environment, output.task_id, claims)
    return places


def _claimed(place: Place, told: Told, late: Sequence[Late]) -> Claimed:
    after = [each.said_at for each in late if late_rows([each], told.said_at)]
    return Claimed(place, told.run, told.said_at, min(after, default=None))
