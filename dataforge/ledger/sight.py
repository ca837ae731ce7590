"""What is read for partitions that are asked about: the graph around them, and how all stands that they need.

Guarantees a number of queries that does not grow with the number of partitions.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime

import msgspec

from dataforge.ledger.admission import Orders, orders
from dataforge.ledger.completeness import Lack, Reading, lacking
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked, Sketch
from dataforge.ledger.plain import Sketches
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.ledger.turn import Turns
from dataforge.ledger.update import queues
from dataforge.model.edge import Staleness
from dataforge.model.report import Seen, what_counts
from dataforge.model.state import PartitionStatus
from dataforge.model.trigger import Queue
from dataforge.model.upstream import LateData, State
from dataforge.storage import readiness as storage
from dataforge.storage import report as reports
from dataforge.storage import stream as streams
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Node, Place


class Sight(msgspec.Struct, frozen=True):
    """What was read for some partitions: the graph around them, and the states of what they need."""

    known: Surroundings
    drawing: Sketches
    sketches: Sequence[Sketch]
    states: Mapping[Place, State]
    reported: Mapping[Place, Seen]
    queues: Mapping[int, Queue]
    orders: Orders
    lacking: Mapping[Reading, tuple[Lack, ...]]
    late: Mapping[Place, LateData]
    turns: Turns

    @property
    def pending(self) -> set[Place]:
        """The places of upstreams that are missing or running."""
        places = {need.stands(self.states) for each in self.sketches for need in each.needs}
        places = {place for place in places if (place[1], place[2], False) not in self.lacking or place[0] == "task"}
        places |= _producing(self.lacking)
        return {place for place in places if place not in self.states or _runs(self.states[place])}

    @property
    def missing(self) -> list[Place]:
        return sorted(place for place in self.pending if place not in self.states)

    def met_by(self, meaning: Staleness) -> set[Place]:
        """The plain places that are met, by edges to which staleness means this."""
        found: dict[str, set[Node]] = {}
        for each in self.sketches:
            outline = self.known.outlines[each.asked.task_id]
            if meaning in outline.staleness:
                for key, nodes in each.plain:
                    found.setdefault(key, set()).update(outline.meant(nodes, meaning))
        return {self.drawing.stands(node, key, self.states) for key, nodes in found.items() for node in nodes}

    def showing(self, shown: Set[Place]) -> list[Sketch]:
        """The sketches of which some plain places are to be shown although they are met, with needs for these."""
        met = self.drawing.met(self.states, but=shown)
        opened = ((each, self.drawing.opened(each, met)) for each in self.sketches)
        return [after for before, after in opened if after is not before]


def see(
    connection: Connection,
    environment: int,
    nodes: Nodes,
    asked: Iterable[Asked],
    now: datetime,
    *,
    explain: bool = True,
) -> Sight:
    """What is read for these partitions. Without `explain` only what decides."""
    wanted = sorted(set(asked))
    known = around(connection, environment, {each.task_id for each in wanted}, nodes)
    drawing = Sketches(known, now)
    drawn = [drawing.draw(each) for each in wanted]
    states = storage.states(connection, environment, _places(drawn).union(drawing.places()))
    met = drawing.met(states)
    sketches = [drawing.opened(each, met) for each in drawn]
    lacking = _lacking(connection, environment, sketches, states, explain=explain)
    if producing := _producing(lacking):
        states |= storage.states(connection, environment, producing)
    reported = _reported(connection, environment, sketches, states)
    ordered = orders(connection, environment, known.subjects, wanted, states, now)
    if again := ordered.reruns(states.keys()):
        met = drawing.met(states, but=again)
        sketches = [drawing.opened(each, met) for each in sketches]
    stale = [place for place, state in states.items() if state.status is PartitionStatus.STALE]
    late = streams.late_data(connection, environment, stale)
    queued = queues(connection, environment, known)
    return Sight(known, drawing, sketches, states, reported, queued, ordered, lacking, late, {})


def _lacking(
    connection: Connection,
    environment: int,
    sketches: Iterable[Sketch],
    states: Mapping[Place, State],
    *,
    explain: bool,
) -> dict[Reading, tuple[Lack, ...]]:
    """What is not there of the partitions that tasks update in place, and to explain of those that are asked for and
    not ready."""
    readings: set[Reading] = set()
    for each in sketches:
        readings |= {(need.node.id, need.key, True) for need in each.updates if need.node.kind == "dataset"}
        for need in each.needs if explain else ():
            kind, node, key = place = need.stands(states)
            if kind == "dataset" and (place not in states or states[place].status not in _THERE):
                readings.add((node, key, False))
    return lacking(connection, environment, readings) if readings else {}


_THERE = frozenset({PartitionStatus.READY, PartitionStatus.STALE, PartitionStatus.SKIPPED})


def _producing(lacking: Mapping[Reading, Iterable[Lack]]) -> set[Place]:
    """The partitions of the producers that would bring what is not there, where it is known which."""
    found: set[Place] = set()
    for lack in (each for lacks in lacking.values() for each in lacks):
        partition = lack.standing.due.share.partition
        if lack.product and lack.standing.latest is None and partition is not None:
            found.add(("task", lack.product.task_id, partition))
    return found


def _reported(
    connection: Connection, environment: int, sketches: Iterable[Sketch], states: Mapping[Place, State]
) -> dict[Place, Seen]:
    """What was reported of the partitions whose edges ask for more than a success."""
    asking = (need for each in sketches for need in each.needs if need.edge.where is not None)
    wanted = {place[1:] for need in asking if (place := need.stands(states)) in states}
    if not wanted:
        return {}
    written = reports.written(connection, environment, wanted)
    checked = reports.checked(connection, environment, {place: each.since for place, each in written.items()})
    return {
        ("dataset", *place): what_counts(each.written, each.since, checked.get(place, ()))
        for place, each in written.items()
    }


def _places(sketches: Iterable[Sketch]) -> set[Place]:
    found: set[Place] = set()
    for each in sketches:
        task, key = each.asked
        found |= {("task", task, key), ("task", task, "")}
        for need in each.needs:
            found.update(need.places)
    return found


def _runs(state: State) -> bool:
    return state.status is PartitionStatus.RUNNING
