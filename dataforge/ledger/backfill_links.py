"""How the partitions of a plan hang together: which is made from which, and which from what is not in the plan.

Partitions go by their place in the plan here, in arrays, since there are hundreds of thousands of links between them.
Tasks that have the same keys, and need and make the same ones by them, hang together alike: how is worked out once for
all of them, as places among the keys of a task, and moved to where each task begins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataforge.ledger.backfill_needs import Groups, needed, standing_for
from dataforge.ledger.once import Once
from dataforge.ledger.reach import Written
from dataforge.ledger.surroundings import Surroundings
from dataforge.storage.readiness import Node
from dataforge.storage.wakeup import TaskPartition

_Places = NDArray[np.int64]
_NONE: _Places = np.empty(0, np.int64)


class Index:
    """Where partitions stand in a plan: those of a task beside each other, in the order of their keys."""

    def __init__(self, keys: Mapping[int, Collection[str]]) -> None:
        alike: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.keys: dict[int, tuple[str, ...]] = {}
        self.begins: dict[int, int] = {}
        self.places: list[TaskPartition] = []
        for task in sorted(keys):
            own = tuple(sorted(keys[task]))
            self.keys[task] = own = alike.setdefault(own, own)
            self.begins[task] = len(self.places)
            self.places += [(task, key) for key in own]


class _Asking(NamedTuple):
    """What the partitions of a task ask of a node."""

    own: _Places  # by what is asked, which of the task's partitions asks it
    keys: Sequence[tuple[str, ...]]  # and the keys of which one is enough


class _Maker(NamedTuple):
    """A task of the plan that makes a node."""

    begins: int
    own: Mapping[str, Sequence[int]]  # by key of the node, which of the task's partitions make it


class _Edge(NamedTuple):
    """An edge by which a task of the plan needs a node."""

    first: int  # of all that is asked in the plan, where that by this edge begins
    node: Node
    asking: _Asking


class Unmet(NamedTuple):
    """That a partition waits for one of these keys of a node, which nothing that is built makes."""

    own: int
    node: Node
    keys: tuple[str, ...]


class Links(msgspec.Struct, frozen=True):
    """All links of a plan."""

    edges: Sequence[_Edge]
    asking: _Places  # by what is asked, the partition that asks
    required: NDArray[np.bool_]  # and whether it waits for one of the keys to succeed
    asked: _Places  # by link, what is asked
    makers: _Places  # and the partition that makes it
    within: tuple[_Places, _Places]  # partitions whose runs run within others, and those

    def needs(self, size: int) -> list[list[int]]:
        """Of each of so many partitions the others that it is made from; what it updates in place is none."""
        own = np.concatenate((self.asking[self.asked], self.within[0]))
        above = np.concatenate((self.makers, self.within[1]))
        others = own != above
        pairs = np.sort(own[others] * size + above[others])
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        ends = np.searchsorted(pairs, np.arange(size + 1) * size).tolist()
        listed = (pairs % size).tolist()
        return [listed[begin:end] for begin, end in pairwise(ends)]

    def unmet(self, is_built: NDArray[np.bool_]) -> Iterator[Unmet]:
        """What is built and waits for what nothing that is built makes, unless it makes it itself."""
        met = np.zeros(len(self.asking), np.bool_)
        met[self.asked[is_built[self.makers] | (self.makers == self.asking[self.asked])]] = True
        begins = [edge.first for edge in self.edges]
        for at in np.flatnonzero(self.required & is_built[self.asking] & ~met).tolist():
            edge = self.edges[bisect_right(begins, at) - 1]
            yield Unmet(int(self.asking[at]), edge.node, edge.asking.keys[at - edge.first])


def links(
    known: Surroundings,
    index: Index,
    written: Iterable[Written],
    within: Iterable[tuple[int, int]],
    now: datetime,
) -> Links:
    """What each of these partitions needs of the others, and of what else. Of each pair of tasks in `within` the
    first one's runs run within the second one's for the same key."""
    makers, asking, joined = _makers(index, written), Once(_asking), Once(_joined)
    edges: list[_Edge] = []
    asks, required, asked, above = [_NONE], [np.empty(0, np.bool_)], [_NONE], [_NONE]
    first = 0
    for need in needed(known, index.keys, now):
        edge = _Edge(first, need.node, asking(need.groups, index.keys[need.task], known.nodes[need.node].declared_cut))
        for maker in makers.get(need.node, ()):
            what, whose = joined(edge.asking, maker.own)
            asked.append(what + first)
            above.append(whose + maker.begins)
        edges.append(edge)
        asks.append(edge.asking.own + index.begins[need.task])
        required.append(np.full(len(edge.asking.keys), need.required))
        first += len(edge.asking.keys)
    return Links(
        edges,
        np.concatenate(asks),
        np.concatenate(required),
        np.concatenate(asked),
        np.concatenate(above),
        _within(index, within),
    )


def _makers(index: Index, written: Iterable[Written]) -> dict[Node, list[_Maker]]:
    alone, made = Once(_alone), Once(_made)
    makers: dict[Node, list[_Maker]] = {
        ("task", task): [_Maker(index.begins[task], alone(own))] for task, own in index.keys.items()
    }
    for each in written:
        own = made(each.keys, index.keys[each.task_id])
        makers.setdefault(("dataset", each.dataset_id), []).append(_Maker(index.begins[each.task_id], own))
    return makers


def _alone(own: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {key: (at,) for at, key in enumerate(own)}


def _made(written: Mapping[str, Sequence[str]], own: tuple[str, ...]) -> dict[str, list[int]]:
    makers: dict[str, list[int]] = {}
    for at, key in enumerate(own):
        for theirs in written[key]:
            makers.setdefault(theirs, []).append(at)
    return makers


def _asking(groups: Mapping[str, Groups], own: tuple[str, ...], declared_cut: bool) -> _Asking:
    asked = [(at, standing_for(group, declared_cut)) for at, key in enumerate(own) for group in groups[key]]
    return _Asking(np.array([at for at, _ in asked], np.int64), [keys for _, keys in asked])


def _joined(asking: _Asking, makers: Mapping[str, Sequence[int]]) -> tuple[_Places, _Places]:
    """What is asked, by its place among all that is, and who makes it."""
    pairs = [(at, maker) for at, keys in enumerate(asking.keys) for key in keys for maker in makers.get(key, ())]
    return np.array([at for at, _ in pairs], np.int64), np.array([maker for _, maker in pairs], np.int64)


def _within(index: Index, pairs: Iterable[tuple[int, int]]) -> tuple[_Places, _Places]:
    own, above = [_NONE], [_NONE]
    for task, parent in pairs:
        if task in index.keys and parent in index.keys:
            _, mine, theirs = np.intersect1d(
                np.array(index.keys[task]), np.array(index.keys[parent]), assume_unique=True, return_indices=True
            )
            own.append(mine + index.begins[task])
            above.append(theirs + index.begins[parent])
    return np.concatenate(own), np.concatenate(above)


def lacking(
    waiting: Iterable[Unmet],
    statuses: Mapping[Node, Mapping[str, str]],
    good: frozenset[str],
    name: Callable[[Node], str],
) -> dict[int, str]:
    """By place what of this is not there, in words."""
    found: dict[int, str] = {}
    for each in waiting:
        stands = [statuses[each.node][key] for key in each.keys]
        if each.own not in found and good.isdisjoint(stands):
            named = f"{name(each.node)} {each.keys[0]}".rstrip()
            found[each.own] = f"it waits for {named}, which is {stands[0]}"
    return found
