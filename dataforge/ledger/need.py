"""Which partitions a partition of a task needs, by its edges and before any state is known.

Guarantees that what a task declares to consume is the whole of it; only where nothing is declared counts what was
observed. An edge whose partitions cannot be told is a problem that names it, never left out.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from dataforge.model import edge as edges
from dataforge.model import trigger
from dataforge.model.attempt import Interval
from dataforge.model.downstream import producing_keys
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import Side, produced_keys, upstream_choices
from dataforge.model.partition import InvalidPartitionKey, Partitioning, has_ended, window_of
from dataforge.model.readiness import Problem
from dataforge.model.verdict import Code, NodeRef, Reason
from dataforge.storage.readiness import EdgeRow, Node, NodeRow, Place, Producer, Subject

Among = Mapping[Node, Set[str]]  # keys by node


class Asked(NamedTuple):
    """A partition of a task that is known to exist."""

    task_id: int
    partition: str


class Need(msgspec.Struct, frozen=True):
    """A partition that an edge asks for."""

    edge: EdgeRow
    node: NodeRow
    key: str
    window_cut: Partitioning | None
    places: tuple[Place, ...]  # it; and '', which may stand for it where nobody declared how its node is cut
    among: tuple[str, ...] = ()  # the partitions of which one is enough, itself included, oldest first

    def stands(self, known: Container[Place]) -> Place:
        """The place that counts: the exact one, unless only the one without a key is known."""
        exact, whole = self.places[0], self.places[-1]
        return exact if whole is exact or exact in known or whole not in known else whole


Column = tuple[str, Set[Node]]  # a key, and the nodes of which that partition is needed


class Sketch(msgspec.Struct, frozen=True):
    """A question before any state was read."""

    asked: Asked
    cut: Partitioning | None
    misfit: Reason | None
    needs: tuple[Need, ...]
    problems: tuple[Problem, ...]
    updates: tuple[Need, ...] = ()  # what it writes in place: only what is written before it has to be there
    plain: Sequence[Column] = ()  # what else it needs, of which nothing is to be said as long as it is met
    window: Interval | None = None


def used_edges(found: Sequence[EdgeRow]) -> list[EdgeRow]:
    """What the task consumes: as declared, else as observed."""
    consumed = [edge for edge in found if edge.relation == "consumes"]
    return [edge for edge in consumed if edge.origin == "declared"] or consumed


@lru_cache(maxsize=4_096)
def cut_of(shape: str | None, *, declared: bool) -> Partitioning | None:
    """How something is cut; None where nobody has said and no interval was seen."""
    cut = msgspec.json.decode(shape, type=Partitioning) if shape else None
    return None if cut is None or (not declared and cut.kind == "none") else cut


@lru_cache(maxsize=4_096)
def mapping_of(shape: str) -> edges.Mapping:
    """A mapping from its stored JSON."""
    mapping: edges.Mapping = msgspec.json.decode(shape, type=edges.Mapping)
    return mapping


@lru_cache(maxsize=4_096)
def spelled(shape: str) -> str | None:
    """A mapping, from its JSON, in the words of a manifest; None for the default."""
    said = msgspec.json.decode(shape)
    return None if said == _SAME else _flow(said)


_SAME = {"kind": "same"}


def _flow(value: object) -> str:
    """A value as YAML writes it in one line."""
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: (item[0] != "kind", item[0]))
        return f"{{{', '.join(f'{key}: {_flow(each)}' for key, each in ordered)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def sketch(
    subject: Subject,
    found: Sequence[EdgeRow],
    nodes: dict[Node, NodeRow],
    asked: Asked,
    now: datetime,
    known_from: str = "",
    among: Among | None = None,
) -> Sketch:
    """What the partition asked for needs, by all edges of its task, or by those that lead to one `among` some keys.
    What the task itself writes in place it does not wait for, nor for any one partition of a dataset whose updates
    trigger it. Of windows before `known_from` the detail has ended, and nobody knows how they stand."""
    cut = cut_of(subject.partitioning, declared=subject.partitioning_origin == "declared")
    amiss = misfit(subject, cut, asked.partition)
    if amiss is None and has_ended(asked.partition, known_from):
        amiss = Reason(code=Code.DETAIL_ENDED, message=ended(asked.partition, known_from))
    if amiss is not None:
        return Sketch(asked, cut, amiss, (), ())
    side = Side(asked.partition, cut, now, known_from)
    own = _written(found, nodes, side)
    needs: list[Need] = []
    problems, updates = [], []
    told: _Told = {}
    for edge in used_edges(found):
        if edge.condition == trigger.EDGE or (among is not None and edge.node not in among):
            continue
        node = nodes[edge.node]
        try:
            groups = _groups(edge, node, side, told)
            telling = groups if among is None else _leading(groups, node, among[edge.node])
            mapped = list(needs_of(edge, node, side, telling))
            if gone := [group[-1] for group in groups if not living(group, known_from)]:
                problems.append(_gone(edge, node, gone, known_from))
            needs += [need for need in mapped if (edge.node, need.key) not in own]
            updates += [need for need in mapped if (edge.node, need.key) in own and edge.origin == "declared"]
        except InvalidInput as error:
            problems.append(_problem(edge, node, error))
    own_window = window(cut, asked.partition)
    return Sketch(asked, cut, None, tuple(needs), tuple(problems), tuple(updates), window=own_window)


def _written(found: Sequence[EdgeRow], nodes: dict[Node, NodeRow], side: Side) -> set[tuple[Node, str]]:
    """What a run for this partition writes of that which its task also reads."""
    return {
        (edge.node, key)
        for edge in found
        if edge.relation == "produces" and edge.node in nodes
        for key in _output(edge, nodes[edge.node], side)
    }


def _output(edge: EdgeRow, node: NodeRow, side: Side) -> tuple[str, ...]:
    try:
        theirs = cut_of(node.partitioning, declared=node.declared_cut)
        return produced_keys(mapping_of(edge.mapping), side.key, side.cut, theirs, side.now)
    except InvalidInput:  # it cannot be told, so it hides no need
        return ()


def makers(producer: Producer, key: str, now: datetime) -> list[Asked]:
    """The partitions of a task whose runs write this partition of its dataset; none where that cannot be told."""
    task = cut_of(producer.task_partitioning, declared=producer.task_cut_declared)
    dataset = cut_of(producer.partitioning, declared=True)
    try:
        found = producing_keys(mapping_of(producer.mapping), key, task, dataset, now)
    except InvalidInput:
        return []
    return [Asked(producer.task_id, each) for each in found]


def chosen(needs: Sequence[Need], serves: Callable[[Need], bool]) -> list[Need]:
    """The needs that count once states are known: where one of several partitions is enough, the newest that serves;
    the newest of all, where none does."""
    if not any(need.among for need in needs):
        return list(needs)
    counting: dict[tuple[EdgeRow, tuple[str, ...]], Need] = {}
    for need in needs:
        place = (need.edge, need.among or (need.key,))
        standing = counting.get(place)
        if standing is None or serves(need) or not serves(standing):
            counting[place] = need
    return list(counting.values())


def misfit(subject: Subject, cut: Partitioning | None, key: str) -> Reason | None:
    """Why the task has no such partition; None where it has."""
    if cut is None:
        return None
    if not key and cut.kind != "none":
        message = f"{subject.name} has partitions ({cut.kind}): name one"
        return Reason(code=Code.PARTITION_UNKNOWN, message=message)
    try:
        window_of(cut, key)
    except InvalidPartitionKey as error:
        return Reason(code=Code.NO_SUCH_PARTITION, message=str(error))
    return None


# The partitions that edges of one mapping to nodes of one partitioning ask for: of twenty edges most are alike.
_Told = dict[tuple[str, str | None, bool], tuple[tuple[str, ...], ...]]


def _groups(edge: EdgeRow, node: NodeRow, side: Side, told: _Told) -> tuple[tuple[str, ...], ...]:
    theirs = cut_of(node.partitioning, declared=node.declared_cut)
    alike = (edge.mapping, node.partitioning, node.declared_cut)
    if alike not in told:
        told[alike] = upstream_choices(mapping_of(edge.mapping), side, theirs)
    return told[alike]


def _leading(groups: Sequence[tuple[str, ...]], node: NodeRow, among: Set[str]) -> Sequence[tuple[str, ...]]:
    """Those that ask for one of some keys of the node, or for one that '' may stand for."""
    if "" in among and not node.declared_cut:
        return groups
    return [group for group in groups if not among.isdisjoint(group)]


def needs_of(edge: EdgeRow, node: NodeRow, side: Side, groups: Iterable[tuple[str, ...]]) -> Iterator[Need]:
    """What an edge asks for that leads to these keys."""
    theirs = cut_of(node.partitioning, declared=node.declared_cut)
    for group in (living(each, side.known_from) for each in groups):
        for key in group:
            exact: Place = (node.kind, node.id, key)
            places = (exact,) if node.declared_cut or not key else (exact, (node.kind, node.id, ""))
            yield Need(edge, node, key, theirs or side.cut, places, group if len(group) > 1 else ())


def living(group: tuple[str, ...], known_from: str) -> tuple[str, ...]:
    """Those of the partitions, of which one is enough, that have not ended."""
    return tuple(key for key in group if not has_ended(key, known_from)) if known_from else group


def living_choices(mapping: str, side: Side, theirs: Partitioning | None) -> tuple[tuple[str, ...], ...]:
    """The keys that an edge asks for and that have not ended, in groups of which one is enough; none where they cannot
    be told, which the verdict on it says."""
    try:
        found = upstream_choices(mapping_of(mapping), side, theirs)
    except InvalidInput:
        return ()
    return tuple(group for each in found if (group := living(each, side.known_from)))


def ended(said: str, known_from: str) -> str:
    """What there is to say of windows that have ended."""
    return f"how {said} stood is no longer known: the detail of windows before {known_from} has ended"


def _gone(edge: EdgeRow, node: NodeRow, keys: Sequence[str], known_from: str) -> Problem:
    """One reason for all of an edge: nothing can be done about each."""
    said = f"{node.name} for {keys[0]}" + (f" and {len(keys) - 1} more up to {keys[-1]}" if len(keys) > 1 else "")
    message = ended(said, known_from)
    reason = Reason(code=Code.DETAIL_ENDED, message=message, upstream=ref(node), partition=keys[0], owner=node.owner)
    return Problem(reason, edge.required)


def _problem(edge: EdgeRow, node: NodeRow, error: InvalidInput) -> Problem:
    code = Code.NO_SUCH_PARTITION if isinstance(error, InvalidPartitionKey) else Code.PARTITION_UNKNOWN
    message = f"which partition of {node.name} is needed cannot be told: {error}"
    reason = Reason(code=code, message=message, upstream=ref(node), owner=node.owner)
    return Problem(reason, edge.required)


def ref(node: NodeRow) -> NodeRef:
    """The node as a reason names it."""
    return NodeRef(node.kind, node.namespace, node.name)


def window(cut: Partitioning | None, key: str) -> Interval | None:
    """The time window of a key; None where it has none."""
    try:
        return window_of(cut, key) if cut else None
    except InvalidPartitionKey:  # a key of another partitioning, from before it was declared
        return None
