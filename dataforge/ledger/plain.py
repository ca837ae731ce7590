"""What partitions need by plain edges, in columns: by key the nodes of which that partition is needed.

Guarantees that a sketch opened with what is met asks the same as one that has a need for each of its places, since of
what is met nothing is to be said.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Set
from datetime import datetime
from typing import TypeAlias

from msgspec.structs import replace

from dataforge.ledger.need import Asked, Column, Need, Sketch, cut_of, mapping_of, misfit, needs_of, sketch
from dataforge.ledger.outline import Outline, Way
from dataforge.ledger.surroundings import Surroundings
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import Side, upstream_choices
from dataforge.model.partition import has_ended
from dataforge.model.upstream import State
from dataforge.storage.readiness import Node, Place, Subject

Met: TypeAlias = "Mapping[str, Set[Node]]"  # by key the nodes whose partition is there, and nothing to be said of it


class Sketches:
    """Draws the sketches of one moment: what the partitions of many tasks have in common is told once."""

    def __init__(self, known: Surroundings, now: datetime) -> None:
        self._known, self._now = known, now
        self._fits: dict[tuple[str, str, str], _Fit | None] = {}
        self._nodes: dict[str, set[Node]] = {}  # by key, of all that was drawn

    def draw(self, asked: Asked) -> Sketch:
        """What a partition needs, by plain edges in columns. Where more is to be said of one of these, such as that it
        cannot be told, all is drawn as for other edges."""
        known, task = self._known, asked.task_id
        subject, outline = known.subjects[task], known.outlines[task]
        fit = self._fit(subject, asked.partition)
        if fit is None or (plain := fit.columns(outline)) is None:
            return known.sketch(asked, self._now)
        for key, nodes in plain:
            self._nodes.setdefault(key, set()).update(nodes)
        if not outline.rest:
            return Sketch(asked, fit.side.cut, None, (), (), (), plain, fit.window)
        rest = sketch(subject, outline.rest, known.nodes, asked, self._now, known.known_from)
        return replace(rest, plain=plain)

    def places(self) -> Iterator[Place]:
        """All to which plain edges lead, and what may stand for them."""
        for key, nodes in self._nodes.items():
            for node in nodes:
                yield (*node, key)
                if not self._known.nodes[node].declared_cut:
                    yield (*node, "")

    def stands(self, node: Node, key: str, states: Container[Place]) -> Place:
        """The place that counts, as `Need.stands` has it."""
        exact, whole = (*node, key), (*node, "")
        loose = not self._known.nodes[node].declared_cut
        return whole if loose and exact not in states and whole in states else exact

    def met(self, states: Mapping[Place, State], but: Set[Place] = frozenset()) -> Met:
        """What is met, but for some places."""
        found = {place for place, state in states.items() if state.plain} - but
        return {
            key: {node for node in nodes if self.stands(node, key, states) in found}
            for key, nodes in self._nodes.items()
        }

    def opened(self, drawn: Sketch, met: Met) -> Sketch:
        """The same with a need for each plain place that is not met."""
        if all(nodes <= met[key] for key, nodes in drawn.plain):
            return drawn
        needs = [self._need(drawn, key, node) for key, nodes in drawn.plain for node in nodes - met[key]]
        plain = [(key, nodes & met[key]) for key, nodes in drawn.plain]
        return replace(drawn, needs=(*drawn.needs, *needs), plain=plain)

    def _need(self, drawn: Sketch, key: str, node: Node) -> Need:
        edge = self._known.outlines[drawn.asked.task_id].edge(node)
        side = Side(drawn.asked.partition, drawn.cut, self._now, self._known.known_from)
        return next(needs_of(edge, self._known.nodes[node], side, ((key,),)))

    def _fit(self, subject: Subject, key: str) -> _Fit | None:
        """None for what is no partition of the task, or has ended."""
        alike = (subject.partitioning, subject.partitioning_origin, key)
        if alike not in self._fits:
            cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
            lost = misfit(subject, cut, key) is not None or has_ended(key, self._known.known_from)
            self._fits[alike] = None if lost else _Fit(Side(key, cut, self._now, self._known.known_from))
        return self._fits[alike]


class _Fit:
    """A partition that tasks which are cut alike have, and where plain edges lead from it."""

    def __init__(self, side: Side) -> None:
        self.side, self.window = side, side.window
        self._told: dict[Way, tuple[str, ...] | None] = {}

    def columns(self, outline: Outline) -> list[Column] | None:
        """Where plain edges lead; None where that cannot be told of all, or has ended."""
        found: list[Column] = []
        for way, nodes in outline.ways:
            keys = self._told[way] if way in self._told else self._tell(way)
            if keys is None:
                return None
            found += [(key, nodes) for key in keys]
        return found

    def _tell(self, way: Way) -> tuple[str, ...] | None:
        theirs = cut_of(way.theirs, declared=way.declared)
        try:
            keys = tuple(key for (key,) in upstream_choices(mapping_of(way.mapping), self.side, theirs))
        except InvalidInput:
            keys = None
        if keys is not None and any(has_ended(key, self.side.known_from) for key in keys):
            keys = None
        self._told[way] = keys
        return keys
