"""Which partitions a run of a task may have read, as its edges tell: many at once, and before any state is known.

Guarantees that all that `ledger.comparison` would compare its partition with is among them; what need not have been
there may be, too. A task of which that cannot be told at once says so (`told`). Upstreams that are asked for alike go
together, since a task has many edges and few kinds of them; what one kind asks for is remembered.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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

    def keys(self, key: str, now: datetime, known_from: str) -> "Keys":
        """To which keys it leads that have not ended. None where they cannot be told."""
        if self.mapping is None:
            return _plain(self, key)
        return _mapped(self, key, now if self.moving else _ANY, known_from)


class Keys(NamedTuple):
    """Where a way leads from one key."""

    read: frozenset[str]  # of the partitions that may have been read, and of what may stand for them
    needed: frozenset[str]  # of those that are needed, where no other serves as well


Listed = list[tuple[frozenset[str], frozenset[Node]]]  # partitions: of these keys, those of these nodes


class Alike(msgspec.Struct, frozen=True):
    """Upstreams to which the same way leads."""

    way: Way
    nodes: frozenset[Node]
    surely: frozenset[Node]  # those that count as inputs, whatever else there is


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
        return [(each.way.keys(key, now, known_from).read, each.nodes) for each in self.kinds]

    def counting(self, key: str, now: datetime, known_from: str) -> Listed:
        """Those of them that are inputs for certain, where they were ever made."""
        return [(each.way.keys(key, now, known_from).needed, each.surely) for each in self.kinds if each.surely]


class Listing:
    """All that runs may have read, who come one by one, by their begins: the last one to begin comes first."""

    def __init__(self) -> None:
        self.nodes: dict[str, set[Node]] = {}  # by key, as far as `settle` was called
        self.earliest: dict[str, datetime] = {}  # when the first run began that may have read something of a key
        self._alike: dict[frozenset[str], set[Node]] = {}  # most runs are led to the same keys as others
        self._begun: dict[frozenset[str], datetime] = {}
        self._most = 0  # partitions, those counted more than once that were listed with other keys

    def add(self, inputs: Listed, begun: datetime) -> None:
        """What another run may have read, which began then."""
        for keys, nodes in inputs:
            alike = self._alike.setdefault(keys, set())
            self._most += len(nodes - alike) * len(keys)
            alike |= nodes
            self._begun[keys] = begun

    def exceeds(self, most: int) -> bool:
        """Whether there are more partitions."""
        if self._most > most:
            self.settle()
            self._most = sum(map(len, self.nodes.values()))
        return self._most > most

    def settle(self) -> None:
        """Lists all by key."""
        for keys, nodes in self._alike.items():
            for key in keys:
                self.nodes.setdefault(key, set()).update(nodes)
                self.earliest[key] = min(self._begun[keys], self.earliest.get(key, self._begun[keys]))


def inputs_of(here: Nodes, tasks: Collection[int]) -> dict[int, Inputs]:
    """What these tasks consume; remembered with their edges."""
    return here.derived(Inputs, tasks, _of_tasks)


_ANY = datetime(2000, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)  # of one or two keys each
def _plain(way: Way, key: str) -> Keys:
    exact = frozenset(("" if way.whole else key,))
    return Keys(exact if way.theirs_declared else exact | {""}, exact)


@lru_cache(maxsize=512)  # of up to a thousand keys each
def _mapped(way: Way, key: str, now: datetime, known_from: str) -> Keys:
    theirs = cut_of(way.theirs, declared=way.theirs_declared)
    side = Side(key, cut_of(way.ours, declared=way.ours_declared), now, known_from)
    groups = living_choices(way.mapping or "", side, theirs)
    read = {each for group in groups for each in group}
    needed = frozenset(group[0] for group in groups if len(group) == 1)
    return Keys(frozenset(read if way.theirs_declared else read | {""}), needed)


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
