"""Which partitions a run of a task may have read, as its edges tell: many at once, and before any state is known.

Guarantees that all that `ledger.comparison` would compare its partition with is among them; what need not have been
there may be, too. A task of which that cannot be told at once says so (`told`). Upstreams that are asked for alike go
together, since a task has many edges and few kinds of them; what one kind asks for is remembered.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import cut_of, living_choices, mapping_of, spelled
from dataforge.model import edge as edges
from dataforge.model.mapping import Side
from dataforge.model.partition import Partitioning
from dataforge.storage.readiness import EdgeRow, Node, NodeRow, Subject


class Way(NamedTuple):
    """How an edge leads from the key of a task to keys of its upstream."""

    mapping: str | None  # its JSON; None where it is the same key, or the upstream has no partitions
    ours: str
    ours_declared: bool
    theirs: str | None
    theirs_declared: bool  # else '' may stand for a key
    whole: bool  # the upstream is declared to have no partitions
    moving: bool  # it leads elsewhere as time passes
    exact: bool  # the upstream has all the keys to which it leads

    def groups(self, key: str, now: datetime, known_from: str) -> tuple[tuple[str, ...], ...]:
        """The keys that are needed and have not ended; of each group one is enough. None where they cannot be told."""
        if self.mapping is None:
            return (("" if self.whole else key,),)
        return _groups(self, key, now if self.moving else _ANY, known_from)


Listed = list[tuple[str, frozenset[Node]]]  # partitions: of a key, those of some nodes


class Alike(msgspec.Struct, frozen=True):
    """Upstreams to which the same way leads."""

    way: Way
    nodes: frozenset[Node]
    surely: frozenset[Node]  # those that count as inputs, whatever else there is

    def listed(self, key: str, now: datetime, known_from: str) -> Listed:
        """The partitions that may have been read, and what may stand for them."""
        keys = {each for group in self.way.groups(key, now, known_from) for each in group}
        if not self.way.theirs_declared:
            keys.add("")
        return [(each, self.nodes) for each in keys]

    def counting(self, key: str, now: datetime, known_from: str) -> Listed:
        """Those that count as inputs for certain, where they were ever made."""
        groups = self.way.groups(key, now, known_from) if self.surely else ()
        return [(group[0], self.surely) for group in groups if len(group) == 1]


class Inputs(msgspec.Struct, frozen=True):
    """What a task consumes, by all its edges."""

    cut: str
    declared: bool
    kinds: Sequence[Alike]
    told: bool  # whether that is all
    rootless: bool
    reads: bool  # datasets, of which its runs may have recorded versions

    def listed(self, key: str, now: datetime, known_from: str) -> Listed:
        """All that a run for this key may have read."""
        return [some for each in self.kinds for some in each.listed(key, now, known_from)]

    def counting(self, key: str, now: datetime, known_from: str) -> Iterator[tuple[str, frozenset[Node]]]:
        """Those of them that are inputs for certain, where they were ever made."""
        return (some for each in self.kinds for some in each.counting(key, now, known_from))


def inputs_of(here: Nodes, tasks: Collection[int]) -> dict[int, Inputs]:
    """What these tasks consume; remembered with their edges."""
    return here.derived(Inputs, tasks, _of_tasks)


_ANY = datetime(2000, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=512)  # of up to a thousand keys each
def _groups(way: Way, key: str, now: datetime, known_from: str) -> tuple[tuple[str, ...], ...]:
    theirs = cut_of(way.theirs, declared=way.theirs_declared)
    side = Side(key, cut_of(way.ours, declared=way.ours_declared), now, known_from)
    return living_choices(way.mapping or "", side, theirs)


def _of_tasks(here: Nodes, tasks: Collection[int]) -> dict[int, Inputs]:
    subjects, found = here.subjects(tasks), here.edges(tasks)
    nodes = here.nodes({edge.node for some in found.values() for edge in some if edge.relation == "consumes"})
    return {task: _of_task(subjects[task], found[task], nodes) for task in tasks}


def _of_task(subject: Subject, found: Iterable[EdgeRow], known: Mapping[Node, NodeRow]) -> Inputs:
    consumed = [edge for edge in found if edge.relation == "consumes"]
    written = {edge.node for edge in found if edge.relation == "produces"}
    reads = any(edge.node[0] == "dataset" for edge in consumed)
    said = any(edge.origin == "declared" for edge in consumed)
    kinds: dict[Way, tuple[set[Node], set[Node]]] = {}
    told = True
    for edge in consumed:
        way = _way(subject, edge, known[edge.node])
        if way is None:
            told = False
            continue
        counts = (edge.origin == "declared" or not said) and edge.required and edge.staleness != "ignore"
        counts = counts and _counts(edge, reads=reads, written=edge.node in written) and way.exact
        nodes, surely = kinds.setdefault(way, (set(), set()))
        nodes.add(edge.node)
        if counts:
            surely.add(edge.node)
    return Inputs(
        cut=subject.partitioning,
        declared=subject.partitioning_origin == "declared",
        kinds=[Alike(way, frozenset(nodes), frozenset(surely)) for way, (nodes, surely) in kinds.items()],
        told=told,
        rootless=not consumed,
        reads=reads,
    )


def _counts(edge: EdgeRow, *, reads: bool, written: bool) -> bool:
    """Whether what the edge leads to counts as an input, whatever else is there."""
    if edge.node[0] == "task":
        return not reads and edge.condition not in ("trigger", "failed", "skipped")
    return edge.condition != "trigger" and not written


def _way(subject: Subject, edge: EdgeRow, node: NodeRow) -> Way | None:
    """None where it takes the keys of a dynamic set to tell where it leads."""
    ours, theirs = subject.partitioning, node.partitioning
    declared = subject.partitioning_origin == "declared"
    kind = getattr(cut_of(theirs, declared=True), "kind", None)
    plain = spelled(edge.mapping) is None and (ours == theirs or kind in _OF_THE_SAME_KEY)
    if plain:
        whole = node.declared_cut and kind == "none"
        exact = ours == theirs or kind != "dynamic"
        return Way(None, "", False, None, node.declared_cut, whole, moving=False, exact=exact)
    if '"set"' in ours or '"set"' in (theirs or ""):
        return None
    moving = _moves(mapping_of(edge.mapping), cut_of(ours, declared=declared))
    return Way(edge.mapping, ours, declared, theirs, node.declared_cut, whole=False, moving=moving, exact=True)


_OF_THE_SAME_KEY = frozenset({None, "none", "dynamic"})


def _moves(mapping: edges.Mapping, ours: Partitioning | None) -> bool:
    """Whether where it leads depends on the present time; said of more than it does."""
    match mapping:
        case edges.Dimension():
            return any(_moves(each, None) for each in mapping.dimensions.values())
        case edges.Along():
            return _moves(mapping.mapping, None)
        case edges.All() | edges.Last():
            return ours is None or not ours.windowed
        case _:
            return False
