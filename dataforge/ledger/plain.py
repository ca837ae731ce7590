"""What partitions need by plain edges, as places alone: an upstream that has plainly succeeded takes no more than that.

Guarantees that a sketch opened with what is met asks the same as one that has a need for each of its places, since of
what is met nothing is to be said.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

from msgspec.structs import replace

from dataforge.ledger.need import Asked, Need, Sketch, cut_of, mapping_of, misfit, needs_of, sketch
from dataforge.ledger.outline import Outline, Way
from dataforge.ledger.surroundings import Surroundings
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import Side, upstream_choices
from dataforge.model.partition import has_ended
from dataforge.storage.readiness import Place, Subject


class Sketches:
    """Draws the sketches of one moment: what the partitions of many tasks have in common is told once."""

    def __init__(self, known: Surroundings, now: datetime) -> None:
        self._known, self._now = known, now
        self._fits: dict[tuple[str, str, str], _Fit | None] = {}

    def draw(self, asked: Asked) -> Sketch:
        """What a partition needs, by plain edges as places. Where more is to be said of one of these, such as that it
        cannot be told, all is drawn as for other edges."""
        known, task = self._known, asked.task_id
        subject, outline = known.subjects[task], known.outlines[task]
        fit = self._fit(subject, asked.partition)
        if fit is None or (plain := fit.places(outline)) is None:
            return known.sketch(asked, self._now)
        exact, loose = plain
        if not outline.rest:
            return Sketch(asked, fit.side.cut, None, (), (), (), exact, loose, fit.window)
        rest = sketch(subject, outline.rest, known.nodes, asked, self._now, known.known_from)
        return replace(rest, plain=exact, loose=loose)

    def opened(self, drawn: Sketch, met: Container[Place], states: Container[Place]) -> Sketch:
        """The same with a need for each plain place that is not met."""
        plain = [place for place in drawn.plain if place not in met]
        loose = [pair for pair in drawn.loose if standing(pair, states) not in met]
        if not plain and not loose:
            return drawn
        needs = [self._need(drawn, place) for place in (*plain, *(exact for exact, _ in loose))]
        return replace(
            drawn,
            needs=(*drawn.needs, *needs),
            plain=[place for place in drawn.plain if place in met],
            loose=[pair for pair in drawn.loose if pair not in loose],
        )

    def _need(self, drawn: Sketch, place: Place) -> Need:
        edge = self._known.outlines[drawn.asked.task_id].plain[place[:2]]
        side = Side(drawn.asked.partition, drawn.cut, self._now, self._known.known_from)
        return next(needs_of(edge, self._known.nodes[edge.node], side, ((place[2],),)))

    def _fit(self, subject: Subject, key: str) -> _Fit | None:
        """None for what is no partition of the task, or has ended."""
        alike = (subject.partitioning, subject.partitioning_origin, key)
        if alike not in self._fits:
            cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
            lost = misfit(subject, cut, key) is not None or has_ended(key, self._known.known_from)
            self._fits[alike] = None if lost else _Fit(Side(key, cut, self._now, self._known.known_from))
        return self._fits[alike]


def standing(pair: tuple[Place, Place], states: Container[Place]) -> Place:
    """Which of the two counts, as `Need.stands` has it."""
    exact, whole = pair
    return exact if exact in states or whole not in states else whole


class _Fit:
    """A partition that tasks which are cut alike have, and where plain edges lead from it."""

    def __init__(self, side: Side) -> None:
        self.side, self.window = side, side.window
        self._told: dict[Way, tuple[str, ...] | None] = {}

    def places(self, outline: Outline) -> tuple[list[Place], list[tuple[Place, Place]]] | None:
        """The places of plain edges, and those for which others may stand; None where they cannot all be told, or have
        ended."""
        exact: list[Place] = []
        loose: list[tuple[Place, Place]] = []
        for way, nodes in outline.ways:
            keys = self._told[way] if way in self._told else self._tell(way)
            if keys is None:
                return None
            for key in keys:
                if way.declared or not key:
                    exact += [(kind, node, key) for kind, node in nodes]
                else:
                    loose += [((kind, node, key), (kind, node, "")) for kind, node in nodes]
        return exact, loose

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
