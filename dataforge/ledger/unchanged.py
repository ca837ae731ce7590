"""Which partitions that were built may be stale at all: most are not, and for those nothing needs to be told.

Guarantees that what is left out is not stale as far as `ledger.staleness` would look within the same bounds, in a query
or two for each level beside what is remembered of edges. It errs on one side: a partition whose inputs cannot be told
at once is suspected, and what need not have been there may be among its inputs, never the other way.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import cut_of, spelled
from dataforge.ledger.staleness import Bounds
from dataforge.model.freshness import Success
from dataforge.model.partition import InvalidPartitionKey, window_of
from dataforge.storage import freshness
from dataforge.storage import unchanged as storage
from dataforge.storage.database import Connection
from dataforge.storage.freshness import Built
from dataforge.storage.readiness import EdgeRow, Node, NodeRow, Place, Subject

MOST_ABOVE = 100  # places above that are looked at on one level where it is not known how many of them count


def suspected(
    connection: Connection, environment: int, places: Iterable[Place], bounds: Bounds, here: Nodes | None = None
) -> tuple[set[Place], Bounds]:
    """Those of the partitions (datasets by canonical id) that may be stale, and how far up it takes to look for these
    what looking for all would see. The bounds are to look at whole levels alone, of no more than MOST_ABOVE places."""
    asked = set(places)
    level, seen, exact = asked, asked, True  # of what only may be an input the inputs say nothing of how many there are
    for depth in range(bounds.levels + 1):
        if not level:
            break
        here = here or Nodes(connection, environment)
        built = freshness.built(connection, environment, level)
        found = _above(here, built)
        made, later = storage.made(connection, environment, found.earliest)
        changed = _changed(connection, environment, level, built, found)
        changed |= _remade(connection, environment, built, found, later)
        surely = (found.counting & made) - seen
        sure = exact and all(_has(*each) for each in found.cuts)
        ends = depth == bounds.levels or (sure and len(surely) > bounds.places)
        if changed and depth == 0 and ends:
            return _reaching(here, built, changed), replace(bounds, levels=0)
        if changed or (not ends and len(made) > MOST_ABOVE):  # whether that many count is not known
            return asked, bounds
        if ends:
            break
        level = made - seen
        seen, exact = seen | level, sure and len(surely) == len(level)
    return set(), bounds


class _Input(NamedTuple):
    """An upstream of a task, as far as which of its partitions is needed."""

    node: Node
    whole: bool  # it is declared to have no partitions
    known: bool  # how it is cut is declared: else '' may stand for a key
    counts: bool  # for certain

    def places(self, key: str) -> list[Place]:
        """The partition that a run for this key needs, and what may stand for it."""
        exact: Place = (*self.node, "" if self.whole else key)
        return [exact] if self.known or not exact[2] else [exact, (*self.node, "")]


class _Behind(msgspec.Struct, frozen=True):
    """What a task consumes, by all its edges."""

    cut: str
    declared: bool
    same: Sequence[Node]  # of which it needs its own key, which counts for certain
    others: Sequence[_Input]  # by edges of the default mapping
    told: bool  # whether that is all
    rootless: bool
    reads: bool  # datasets, of which its runs may have recorded versions

    def places(self, key: str) -> list[Place]:
        """All that a run for this key may have read."""
        found: list[Place] = [(kind, node, key) for kind, node in self.same]
        return found + [place for each in self.others for place in each.places(key)] if self.others else found


class _Above(msgspec.Struct, frozen=True):
    """What lies directly above built partitions."""

    behind: Mapping[int, _Behind]
    earliest: dict[Place, datetime]  # when the first run began that may have read it
    counting: set[Place]
    untold: set[Place]  # built partitions of which it is not said here what they need
    readers: list[Place]
    rootless: list[Place]
    cuts: set[tuple[str, bool, str]]  # of the tasks behind them: partitioning, whether declared, and key


def _above(here: Nodes, built: Mapping[Place, Built]) -> _Above:
    above = _Above(_behind(here, {each.success.by[0] for each in built.values()}), {}, set(), set(), [], [], set())
    for place, each in built.items():
        task, key, begun = above.behind[each.success.by[0]], place[2], each.success.begun or _NEVER
        if task.rootless:
            above.rootless.append(place)
            continue
        above.cuts.add((task.cut, task.declared, key))
        if task.reads:
            above.readers.append(place)
        if not task.told:
            above.untold.add(place)
        for one in task.places(key):
            if begun < above.earliest.get(one, _AFTER):
                above.earliest[one] = begun
        above.counting.update([(kind, node, key) for kind, node in task.same])
        above.counting.update(each.places(key)[0] for each in task.others if each.counts)
    return above


_NEVER = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)  # nothing is made later
_AFTER = _NEVER + timedelta(hours=1)


def _behind(here: Nodes, tasks: Collection[int]) -> dict[int, _Behind]:
    return here.derived(_Behind, tasks, _of_tasks)


def _of_tasks(here: Nodes, tasks: Collection[int]) -> dict[int, _Behind]:
    subjects, edges = here.subjects(tasks), here.edges(tasks)
    consumed = {task: [edge for edge in found if edge.relation == "consumes"] for task, found in edges.items()}
    nodes = here.nodes({edge.node for found in consumed.values() for edge in found})
    return {task: _of_task(subjects[task], edges[task], consumed[task], nodes) for task in tasks}


def _of_task(
    subject: Subject, edges: Iterable[EdgeRow], consumed: Sequence[EdgeRow], nodes: Mapping[Node, NodeRow]
) -> _Behind:
    written = {edge.node for edge in edges if edge.relation == "produces"}
    reads = any(edge.node[0] == "dataset" for edge in consumed)
    said = any(edge.origin == "declared" for edge in consumed)
    inputs = []
    for edge in consumed:
        node = nodes[edge.node]
        kind = _kind(node.partitioning)
        alike = node.partitioning == subject.partitioning
        if spelled(edge.mapping) is not None or not (alike or kind in _LISTED):
            continue
        counts = (alike or kind in _WHOLE) and (edge.origin == "declared" or not said) and edge.required
        counts = counts and edge.staleness != "ignore" and _counts(edge, reads=reads, written=edge.node in written)
        inputs.append(_Input(edge.node, node.declared_cut and kind == "none", node.declared_cut, counts))
    same = [each.node for each in inputs if each.known and each.counts and not each.whole]
    return _Behind(
        cut=subject.partitioning,
        declared=subject.partitioning_origin == "declared",
        same=same,
        others=[each for each in inputs if not (each.known and each.counts and not each.whole)],
        told=len(inputs) == len(consumed),
        rootless=not consumed,
        reads=reads,
    )


_WHOLE = frozenset({None, "none"})
_LISTED = _WHOLE | {"static", "dynamic"}


def _kind(shape: str | None) -> str | None:
    cut = cut_of(shape, declared=True)
    return cut.kind if cut is not None else None


def _counts(edge: EdgeRow, *, reads: bool, written: bool) -> bool:
    """Whether what the edge leads to counts as an input, whatever else is there."""
    if edge.node[0] == "task":
        return not reads and edge.condition not in ("trigger", "failed", "skipped")
    return edge.condition != "trigger" and not written


def _changed(
    connection: Connection, environment: int, level: set[Place], built: Mapping[Place, Built], found: _Above
) -> set[Place]:
    """What may be stale by what its tasks consume, or by what came for it late."""
    changed = found.untold | {place for place in level if place not in built or _differs(place, built[place])}
    changed |= {place for place in found.rootless if built[place].parent_task_id is not None}
    successes = [built[place].success for place in found.readers]
    recorded = freshness.reads(connection, environment, successes) if successes else {}
    return changed | {place for place in found.readers if built[place].success.by in recorded}


def _remade(
    connection: Connection, environment: int, built: Mapping[Place, Built], found: _Above, later: Collection[Place]
) -> set[Place]:
    """Those of which an input was made by another run, later than theirs began."""
    standing = freshness.standing(connection, environment, later) if later else {}
    made = {place: each.success for place, each in standing.items() if each.success is not None}
    return {
        place
        for place, each in (built.items() if made else ())
        for one in found.behind[each.success.by[0]].places(place[2])
        if one in made and _is_newer(made[one], each.success)
    }


def _is_newer(input_: Success, than: Success) -> bool:
    ended, begun = input_.ended_at, than.begun
    return input_.by != than.by and ended is not None and begun is not None and begun < ended


def _differs(place: Place, built: Built) -> bool:
    """Whether more is to be known of it than when its run began, and what was made later."""
    many = bool(built.partitions) and place[2] not in built.partitions
    return built.late or many or built.success.begun is None


def _has(shape: str, declared: bool, key: str) -> bool:
    """Whether a task that is cut so still has this partition: else it needs nothing for it."""
    cut = cut_of(shape, declared=declared)
    if cut is None:
        return True
    if '"set"' in shape or (not key and cut.kind != "none"):
        return False
    try:
        window_of(cut, key)
    except InvalidPartitionKey:
        return False
    return True


def _reaching(here: Nodes, built: Mapping[Place, Built], changed: set[Place]) -> set[Place]:
    """What changed, and all of the same level that may be built from it, however many steps away."""
    makers = {place: each.success.by[0] for place, each in built.items()}
    edges = here.edges(set(makers.values()))
    consumed = {task: {e.node for e in found if e.relation == "consumes"} for task, found in edges.items()}
    found, fresh = set(changed), {place[:2] for place in changed}
    while fresh:
        below = {place for place, task in makers.items() if not fresh.isdisjoint(consumed[task])} - found
        found |= below
        fresh = {place[:2] for place in below}
    return found
