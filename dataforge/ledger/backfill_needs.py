"""What partitions of tasks need, of hundreds of thousands of them at once.

Guarantees the same partitions that a verdict waits for (`ledger.need`): each edge's mapping is worked out once for each
key of each pair of partitionings, of which there are few, and not once a partition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from dataforge.ledger.need import cut_of, living_choices, used_edges
from dataforge.ledger.surroundings import Surroundings
from dataforge.model import trigger
from dataforge.model.mapping import Side
from dataforge.storage.readiness import EdgeRow, Node, Place, Subject

Groups = tuple[tuple[str, ...], ...]  # keys of an upstream: of each group one is enough


class Needed(msgspec.Struct, frozen=True, gc=False):
    """What the partitions of one task need by one of its edges."""

    task: int
    edge: EdgeRow
    required: bool  # whether they wait for it to succeed
    groups: Mapping[str, Groups]  # by key of the task, keys of the node

    @property
    def node(self) -> Node:
        """What is needed."""
        return self.edge.node


def needed(known: Surroundings, keys: Mapping[int, Collection[str]], now: datetime) -> Iterator[Needed]:
    """All that these partitions of tasks need, edge by edge."""
    told: dict[tuple[str, str, bool, str | None, bool], dict[str, Groups]] = {}
    for task, own in keys.items():
        subject = known.subjects[task]
        for edge in used_edges(known.edges.get(task, [])):
            if edge.condition == trigger.EDGE:
                continue
            node = known.nodes[edge.node]
            ours = subject.partitioning_origin == "declared"
            groups = told.setdefault(
                (edge.mapping, subject.partitioning, ours, node.partitioning, node.declared_cut), {}
            )
            for key in own:
                if key not in groups:
                    groups[key] = _groups(known, subject, edge, key, now)
            yield Needed(task, edge, edge.required and edge.condition == "succeeded", groups)


def places(known: Surroundings, need: Needed, keys: Iterable[str]) -> Iterator[Place]:
    """The partitions that these keys of the task need by the edge."""
    kind, node = need.node
    declared_cut = known.nodes[need.node].declared_cut
    for key in keys:
        for group in need.groups[key]:
            yield from ((kind, node, each) for each in standing_for(group, declared_cut))


def standing_for(group: tuple[str, ...], declared_cut: bool) -> tuple[str, ...]:
    """The same keys; and the whole, which may stand for them where nobody declared how the node is cut."""
    return group if declared_cut or group == ("",) else (*group, "")


def _groups(known: Surroundings, subject: Subject, edge: EdgeRow, key: str, now: datetime) -> Groups:
    node = known.nodes[edge.node]
    ours = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
    theirs = cut_of(node.partitioning, declared=node.declared_cut)
    return living_choices(edge.mapping, Side(key, ours, now, known.known_from), theirs)
