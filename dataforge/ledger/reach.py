"""From partitions to what they make and to what waits for it: one step downstream, by the exact mappings of the edges.

Guarantees two queries for a step, and one more where dynamic sets are on the way, however many partitions it starts
from. Where a mapping cannot be told the step is left out with a line in the log; the verdict on whoever asks names it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

from dataforge.ledger.need import cut_of, mapping_of
from dataforge.ledger.partition_set import completed
from dataforge.model.downstream import downstream_keys, holding
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import MOST_PARTITIONS, produced_keys
from dataforge.model.partition import NONE, Partitioning
from dataforge.model.partition_set import with_key_of
from dataforge.storage import partition_set as sets
from dataforge.storage import reach as storage
from dataforge.storage.database import Connection
from dataforge.storage.reach import Product, Reader
from dataforge.storage.readiness import Node, Place, by_node
from dataforge.storage.wakeup import TaskPartition

_log = logging.getLogger(__name__)
_Of = TypeVar("_Of", Node, int)
_Edge = TypeVar("_Edge", Reader, Product)


class Ways:
    """The edges that lead downstream, within one snapshot: those of a node are read once."""

    def __init__(self, connection: Connection, environment: int) -> None:
        self._connection, self._environment = connection, environment
        self._readers: dict[Node, list[Reader]] = {}
        self._products: dict[int, list[Product]] = {}

    def readers(self, nodes: Collection[Node]) -> list[Reader]:
        """The edges by which tasks wait for these nodes (of datasets by canonical id)."""
        read = partial(storage.readers, self._connection, self._environment)
        return _once(self._readers, nodes, read, lambda edge: edge.node)

    def products(self, tasks: Collection[int]) -> list[Product]:
        """The edges by which these tasks write datasets."""
        read = partial(storage.products, self._connection, self._environment)
        return _once(self._products, tasks, read, lambda edge: edge.task_id)

    def completed(self, shapes: set[str | None]) -> dict[str, str]:
        """Of these ways of cutting those that dynamic sets complete, as they stand."""
        return completed(self._connection, self._environment, shapes)


def _once(
    known: dict[_Of, list[_Edge]],
    asked: Collection[_Of],
    read: Callable[[list[_Of]], Iterable[_Edge]],
    of: Callable[[_Edge], _Of],
) -> list[_Edge]:
    """The edges of these, in their order; those that are not known yet are read."""
    if unread := [each for each in asked if each not in known]:
        known |= {each: [] for each in unread}
        for edge in read(unread):
            known[of(edge)].append(edge)
    return [edge for each in asked for edge in known[each]]


def waiting_for(
    connection: Connection,
    environment: int,
    places: Iterable[Place],
    now: datetime,
    *,
    only: Set[int] | None = None,
) -> set[TaskPartition]:
    """The partitions of tasks that need one of these partitions (of datasets by canonical id); of these tasks alone,
    where some are given."""
    found = waking(Ways(connection, environment), by_node(places), now, only=only)
    return {(task_id, own) for task_id, woken in found.items() for own in woken}


def waking(
    ways: Ways, of: Mapping[Node, Collection[str]], now: datetime, *, only: Set[int] | None = None
) -> dict[int, set[str]]:
    """The same by node and by task, for hundreds of thousands of them."""
    found: dict[int, set[str]] = {}
    for led in _leading(ways, of, now, only):
        found.setdefault(led.task_id, set()).update(chain.from_iterable(map(led.keys.__getitem__, of[led.node])))
    return found


def needing(
    connection: Connection,
    environment: int,
    places: Iterable[Place],
    now: datetime,
    *,
    only: Set[int] | None = None,
) -> set[tuple[Place, TaskPartition]]:
    """The same, each beside what it needs."""
    of = by_node(places)
    return {
        ((*led.node, key), (led.task_id, own))
        for led in _leading(Ways(connection, environment), of, now, only)
        for key in of[led.node]
        for own in led.keys[key]
    }


class _Led(NamedTuple):
    """Where an edge leads from the partitions of a node."""

    node: Node
    task_id: int
    keys: Mapping[str, Sequence[str]]  # by partition of the node, those of the task that need it


def _leading(ways: Ways, of: Mapping[Node, Collection[str]], now: datetime, only: Set[int] | None) -> Iterator[_Led]:
    readers = ways.readers(of) if only is None else [each for each in ways.readers(of) if each.task_id in only]
    full = ways.completed({shape for each in readers for shape in (each.task_cut, each.node_cut)})
    told: dict[tuple[object, ...], dict[str, Sequence[str]]] = {}  # of a thousand readers most read in the same way
    for reader in readers:
        node = reader.node
        if reader.triggers:
            yield _Led(node, reader.task_id, dict.fromkeys(of[node], ("",)))
            continue
        shapes = (reader.mapping, reader.task_cut, reader.task_cut_declared, reader.node_cut, reader.node_cut_declared)
        woken = told.setdefault(shapes, {})
        for key in of[node]:
            if key not in woken:
                woken[key] = _woken(reader, full, key, now)
        yield _Led(node, reader.task_id, woken)


def _woken(reader: Reader, full: Mapping[str, str], key: str, now: datetime) -> Sequence[str]:
    """The partitions of the task that need this one of the node."""
    ours = cut_of(full.get(reader.task_cut, reader.task_cut), declared=reader.task_cut_declared)
    known = cut_of(full.get(reader.node_cut or "", reader.node_cut), declared=reader.node_cut_declared)
    theirs = with_key_of(known, key, MOST_PARTITIONS) if known is not None else _uncut(key, ours)
    mapping = mapping_of(reader.mapping)
    return _told(reader.task_id, key, partial(downstream_keys, mapping, key, ours, theirs, now))


def _uncut(key: str, ours: Partitioning | None) -> Partitioning | None:
    """How a node is cut of which nobody says it: what ran as a whole is needed as one by every partition of a task."""
    return NONE if not key and ours is not None else None


def listed(connection: Connection, environment: int, changed: Iterable[Place], now: datetime) -> set[Place]:
    """The partitions that there are, or are no more, because a set that cuts their node holds a key, which stands in
    the partition's place, or holds it no more."""
    keys = by_node(changed)
    shapes = sets.cuts(connection, environment, keys) if keys else {}
    full = completed(connection, environment, shapes.values())
    found: set[Place] = set()
    for (kind, node), shape in shapes.items():
        cut = cut_of(full.get(shape, shape), declared=True)
        assert cut is not None, "a set cuts it"
        for key in keys[kind, node]:
            found |= {(kind, node, each) for each in _told(node, key, partial(holding, cut, key, now))}
    return found


def made_by(connection: Connection, environment: int, runs: Iterable[TaskPartition], now: datetime) -> set[Place]:
    """The partitions of datasets that these tasks' runs for these partitions write."""
    return {place for _, place in making(connection, environment, runs, now)}


def making(
    connection: Connection, environment: int, runs: Iterable[TaskPartition], now: datetime
) -> set[tuple[TaskPartition, Place]]:
    """The same, each beside the partition whose runs write it."""
    keys = by_task(runs)
    return {
        ((each.task_id, key), ("dataset", each.dataset_id, theirs))
        for each in writing(Ways(connection, environment), keys, now)
        for key in keys[each.task_id]
        for theirs in each.keys[key]
    }


def by_task(partitions: Iterable[TaskPartition]) -> dict[int, set[str]]:
    """The keys of each task."""
    keys: dict[int, set[str]] = {}
    for task, key in partitions:
        keys.setdefault(task, set()).add(key)
    return keys


class Written(NamedTuple):
    """What a task's partitions write of a dataset."""

    task_id: int
    dataset_id: int
    keys: Mapping[str, Sequence[str]]  # by partition of the task, those of the dataset; tasks that write alike share it


def writing(ways: Ways, of: Mapping[int, Collection[str]], now: datetime) -> Iterator[Written]:
    """The same by task and dataset, for hundreds of thousands of them."""
    products = ways.products(of)
    full = ways.completed({shape for each in products for shape in (each.task_cut, each.dataset_cut)})
    told: dict[tuple[object, ...], dict[str, Sequence[str]]] = {}
    for product in products:
        way = (product.mapping, product.task_cut, product.task_cut_declared, product.dataset_cut)
        made = told.setdefault(way, {})
        for key in of[product.task_id]:
            if key not in made:
                made[key] = _made(product, full, key, now)
        yield Written(product.task_id, product.dataset_id, made)


def _made(product: Product, full: Mapping[str, str], key: str, now: datetime) -> Sequence[str]:
    """The partitions of the dataset that the task's run for this key writes."""
    ours = cut_of(full.get(product.task_cut, product.task_cut), declared=product.task_cut_declared)
    theirs = cut_of(full.get(product.dataset_cut or "", product.dataset_cut), declared=True)
    return _told(product.task_id, key, partial(produced_keys, mapping_of(product.mapping), key, ours, theirs, now))


def _told(task_id: int, key: str, keys: Callable[[], Sequence[str]]) -> Sequence[str]:
    try:
        return keys()
    except InvalidInput as error:
        _log.debug("where the partition %r leads at the node %d cannot be told: %s", key, task_id, error)
        return ()
