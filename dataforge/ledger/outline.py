"""What every question about a task takes from the task alone, and which of its edges are plain.

Guarantees that a partition to which a plain edge leads changes nothing in a verdict once it has plainly succeeded
(`State.plain`): then nothing of it need be put together. All else, whatever it is, goes the one way of `ledger.need`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import timedelta
from typing import NamedTuple

import msgspec

from dataforge.ledger.need import mapping_of, used_edges
from dataforge.ledger.standing import rule_of
from dataforge.model.edge import Staleness, TriggerRule, chooses
from dataforge.storage.readiness import EdgeRow, Node, NodeRow, Subject


class Way(NamedTuple):
    """How plain edges lead to nodes that are cut alike."""

    mapping: str  # JSON
    theirs: str | None  # JSON
    declared: bool  # how they are cut; else '' may stand for a key


class Outline(msgspec.Struct, frozen=True):
    """What a question takes from its task and the edges of that."""

    used: Sequence[EdgeRow]
    nodes: frozenset[Node]  # to which these lead
    rule: TriggerRule | None
    run_after: timedelta | None
    observed: bool  # an edge of it was only seen
    namespaces: frozenset[str]
    ways: Sequence[tuple[Way, Set[Node]]]  # to the nodes of plain edges
    staleness: frozenset[Staleness]  # what it means to plain edges
    rest: Sequence[EdgeRow]  # all other edges, those among them by which it produces

    def edge(self, node: Node) -> EdgeRow:
        """The plain edge to a node."""
        return next(each for each in self.used if each.node == node)

    def meant(self, nodes: Set[Node], meaning: Staleness) -> Set[Node]:
        """Those of nodes at plain edges to which staleness means this."""
        if len(self.staleness) == 1:  # as of nearly all tasks
            return nodes if meaning in self.staleness else frozenset()
        return nodes & {each.node for each in self.used if each.staleness == meaning}


def outline(subject: Subject, found: Sequence[EdgeRow], nodes: Mapping[Node, NodeRow]) -> Outline:
    """The outline of a task by all of its edges."""
    used = used_edges(found)
    rule = rule_of(subject, used)
    plain = _plain(subject, rule, used, found, nodes)
    ways: dict[Way, list[Node]] = {}
    for node, edge in plain.items():
        theirs = nodes[node]
        ways.setdefault(Way(edge.mapping, theirs.partitioning, theirs.declared_cut), []).append(node)
    led = [(way, frozenset(to)) for way, to in ways.items()]
    every = frozenset(edge.node for edge in used)
    return Outline(
        used=used,
        nodes=led[0][1] if len(led) == 1 and led[0][1] == every else every,  # once, as of most tasks
        rule=rule,
        run_after=msgspec.convert(subject.run_after, timedelta) if subject.run_after else None,
        observed=any(edge.origin == "observed" for edge in used),
        namespaces=frozenset({subject.namespace, *(nodes[edge.node].namespace for edge in used)}),
        ways=led,
        staleness=frozenset(edge.staleness for edge in plain.values()),
        rest=[edge for edge in used if edge.node not in plain] + [e for e in found if e.relation == "produces"],
    )


def _plain(
    subject: Subject,
    rule: TriggerRule | None,
    used: Sequence[EdgeRow],
    found: Iterable[EdgeRow],
    nodes: Mapping[Node, NodeRow],
) -> dict[Node, EdgeRow]:
    """Edges on which a success decides nothing beside others: the trigger rule waits for all, and no other edge speaks
    of the same node. Where a set cuts one of the ends, the keys that it holds are not remembered."""
    if '"set"' in subject.partitioning:
        return {}
    many = Counter(edge.node for edge in used)
    written = {edge.node for edge in found if edge.relation == "produces"}
    ruled = rule is TriggerRule.ALL_SUCCESS and all(
        edge.role == "upstream" for edge in used if edge.node[0] == "task" and edge.condition == "succeeded"
    )
    return {
        edge.node: edge
        for edge in used
        if _is_plain(edge, nodes[edge.node])
        and (ruled or edge.node[0] == "dataset")
        and many[edge.node] == 1
        and edge.node not in written
    }


def _is_plain(edge: EdgeRow, node: NodeRow) -> bool:
    return (
        edge.condition == "succeeded"
        and edge.where is None
        and not (node.branching or node.setup or node.mapped)
        and '"set"' not in (node.partitioning or "")
        and not chooses(mapping_of(edge.mapping))
    )
