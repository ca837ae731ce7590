"""What partitions of tasks need, of hundreds of thousands of them at once.

Guarantees the same partitions that a verdict waits for (`ledger.need`): each edge's mapping is worked out once for each
key of each pair of partitionings, of which there are few, and not once a partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from dataforge.ledger.need import cut_of, mapping_of, used_edges
from dataforge.ledger.surroundings import Surroundings
from dataforge.model import trigger
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import Side, upstream_choices
from dataforge.storage.readiness import EdgeRow, NodeRow, Place, Subject
from dataforge.storage.wakeup import TaskPartition


class Needed(msgspec.Struct, frozen=True, gc=False):
    """That a partition is made from one of these; of most edges there is just one."""

    own: TaskPartition
    places: tuple[Place, ...]
    required: bool  # whether it waits for it to succeed


Keys = tuple[tuple[str, ...], ...]


def needed(known: Surroundings, partitions: Iterable[TaskPartition], now: datetime) -> Iterator[Needed]:
    """All that these partitions of tasks need, by every edge of theirs."""
    keys: dict[int, list[str]] = {}
    for task, key in partitions:
        keys.setdefault(task, []).append(key)
    told: dict[tuple[str, str, bool, str | None, bool], dict[str, Keys]] = {}
    for task, own in keys.items():
        subject = known.subjects[task]
        for edge in used_edges(known.edges.get(task, [])):
            if edge.condition == trigger.EDGE:
                continue
            node = known.nodes[edge.node]
            ours = subject.partitioning_origin == "declared"
            alike = (edge.mapping, subject.partitioning, ours, node.partitioning, node.declared_cut)
            yield from _by_edge(subject, edge, node, own, told.setdefault(alike, {}), now)


def _by_edge(
    subject: Subject, edge: EdgeRow, node: NodeRow, own: Iterable[str], told: dict[str, Keys], now: datetime
) -> Iterator[Needed]:
    required = edge.required and edge.condition == "succeeded"
    for key in own:
        groups = told.get(key)
        if groups is None:
            groups = told[key] = _groups(subject, edge, node, key, now)
        for group in groups:
            places: tuple[Place, ...] = tuple((node.kind, node.id, each) for each in group)
            if not node.declared_cut and group != ("",):
                places = (*places, (node.kind, node.id, ""))  # which may stand for it where nobody declared its cut
            yield Needed((subject.id, key), places, required)


def _groups(subject: Subject, edge: EdgeRow, node: NodeRow, key: str, now: datetime) -> Keys:
    ours = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
    theirs = cut_of(node.partitioning, declared=node.declared_cut)
    try:
        return upstream_choices(mapping_of(edge.mapping), Side(key, ours, now), theirs)
    except InvalidInput:  # it cannot be told, which the verdict on it says
        return ()
