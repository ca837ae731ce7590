"""Which partitions that were built may be stale at all: most are not, and for those nothing needs to be told.

Guarantees that what is left out is not stale as far as `ledger.staleness` would look within the same bounds, in a query
or two for each level beside what is remembered of edges. It errs on one side: a partition whose inputs cannot be told
at once is suspected, and what need not have been there may be among its inputs, never the other way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from dataforge.ledger.comparison import AT_FIRST, Compared, examine, examine_some
from dataforge.ledger.inputs import Inputs, Listed, Listing, inputs_of
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import cut_of, ref
from dataforge.ledger.staleness import Bounds
from dataforge.model.freshness import Success
from dataforge.model.partition import InvalidPartitionKey, has_ended, window_of
from dataforge.model.stale_in_turn import MOST_ROOTS
from dataforge.storage import freshness
from dataforge.storage import unchanged as storage
from dataforge.storage.database import Connection
from dataforge.storage.freshness import Built
from dataforge.storage.readiness import Node, Place

MOST_ABOVE = 100  # places above that are looked at on one level where it is not known how many of them count
MOST_LISTED = 10_000  # places above one level that are asked for


class Suspicion(msgspec.Struct, frozen=True):
    """What may be stale of what was asked about."""

    suspects: Set[Place]
    whole: Set[Place]  # those of which any input may tell
    telling: Mapping[Place, Set[Place]]  # of each of the others the inputs that may
    first: Mapping[Place, Set[Place]]  # of these the first, where there are many: see `compared`
    built: Mapping[Place, Built]  # what was asked about
    bounds: Bounds  # how far up it takes to look for what looking for all would see


def suspected(
    connection: Connection,
    environment: int,
    places: Iterable[Place],
    now: datetime,
    bounds: Bounds,
    here: Nodes | None = None,
) -> Suspicion:
    """Which of the partitions (datasets by canonical id) may be stale. The bounds are to look at whole levels alone, of
    no more than MOST_ABOVE places."""
    asked = set(places)
    of_asked: Mapping[Place, Built] = {}
    level, seen, exact = asked, asked, True  # of what only may be an input the inputs say nothing of how many there are
    for depth in range(bounds.levels + 1):
        if not level:
            break
        here = here or Nodes(connection, environment)
        built = freshness.built(connection, environment, level)
        of_asked = built if depth == 0 else of_asked
        found = _above(here, built, now)
        made, later = storage.made(connection, environment, found.listing.nodes, found.listing.earliest)
        doubtful = _doubtful(connection, environment, level, built, found)
        newer = _newer(connection, environment, built, found, later)
        changed = doubtful | newer.keys()
        surely = _surely(found, made, seen, bounds.places, now, here.known_from)
        sure = exact and all(_has(*each, here.known_from) for each in found.cuts)
        ends = depth == bounds.levels or (sure and len(surely) > bounds.places)
        if changed and depth == 0 and ends:
            return _direct(here, built, found, doubtful, newer, replace(bounds, levels=0))
        if changed or (not ends and sum(map(len, made.values())) > MOST_ABOVE):  # whether that many count is not known
            return Suspicion(asked, asked, {}, {}, of_asked, bounds)
        if ends:
            break
        level = set(_places(made)) - seen
        seen, exact = seen | level, sure and len(surely) == len(level)
    return Suspicion(set(), set(), {}, {}, {}, bounds)


def compared(
    connection: Connection, environment: int, suspicion: Suspicion, own: Set[Place], now: datetime
) -> dict[Place, Compared]:
    """How the suspects stand to the inputs that tell whether they are stale: all that are asked about for their own
    sake (`own`), of the others the first ones as far as the bounds go.

    Of an upstream that is stale one reason is told, and of what is stale in turn MOST_ROOTS; so the others are compared
    with the first of what is newer, and with the rest only where one of these has not changed after all.
    """
    whole, rest = sorted(suspicion.whole - own), suspicion.suspects - suspicion.whole - own
    most, here = suspicion.bounds.inputs, (connection, environment)
    telling = {
        place: found if place in own else suspicion.first.get(place, found)
        for place, found in suspicion.telling.items()
    }
    asked = {*(suspicion.suspects & own), *whole[:AT_FIRST], *_affordable(rest, telling, most)}
    found = examine(*here, asked, now, telling, suspicion.built)
    doubted = {place for place in asked - own if not suspicion.first.get(place, set()) <= found[place].changed.keys()}
    found |= examine(*here, doubted, now, suspicion.telling, suspicion.built)
    most -= sum(len(found[place].inputs) for place in asked - own)
    return found | examine_some(*here, whole[AT_FIRST:], now, most)


def _affordable(places: Set[Place], telling: Mapping[Place, Set[Place]], most: int) -> Iterator[Place]:
    """The first of these partitions, until about `most` of what tells of them is compared."""
    for place in sorted(places):
        if most <= 0:
            break
        yield place
        most -= len(telling[place])


class _Above(msgspec.Struct, frozen=True):
    """What lies directly above built partitions."""

    inputs: dict[Place, Listed]  # what each may have read
    behind: dict[Place, Inputs]  # what the task consumes that made it
    listing: Listing
    untold: set[Place]  # built partitions of which it is not said here what they need
    readers: list[Place]
    rootless: list[Place]
    cuts: set[tuple[str, bool, str]]  # of the tasks behind them: partitioning, whether declared, and key


def _above(here: Nodes, built: Mapping[Place, Built], now: datetime) -> _Above:
    """Once MOST_LISTED places were listed, of no more partitions it is said what they need."""
    behind = inputs_of(here, {each.success.by[0] for each in built.values()})
    above = _Above({}, {}, Listing(), set(), [], [], set())
    for place, each in sorted(built.items(), key=lambda item: _begun(item[1]), reverse=True):
        task, key = behind[each.success.by[0]], place[2]
        if task.rootless:
            above.rootless.append(place)
            continue
        above.cuts.add((task.cut, task.declared, key))
        if task.reads:
            above.readers.append(place)
        if not task.told or above.listing.exceeds(MOST_LISTED):
            above.untold.add(place)
            continue
        above.behind[place], above.inputs[place] = task, task.listed(key, now, here.known_from)
        above.listing.add(above.inputs[place], _begun(each))
    above.listing.settle()
    return above


def _surely(
    found: _Above, made: Mapping[str, Set[Node]], seen: Set[Place], most: int, now: datetime, known_from: str
) -> set[Place]:
    """What was made and counts as an input for certain, and was not seen yet; more than `most` need not be told."""
    surely: set[Place] = set()
    for place, task in found.behind.items():
        surely.update(_within(task.counting(place[2], now, known_from), made))
        surely -= seen
        if len(surely) > most:
            break
    return surely


def _places(by_key: Mapping[str, Iterable[Node]]) -> Iterator[Place]:
    return ((*node, key) for key, nodes in by_key.items() for node in nodes)


def _begun(built: Built) -> datetime:
    return built.success.begun or _NEVER


_NEVER = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)  # nothing is made later


def _doubtful(
    connection: Connection, environment: int, level: set[Place], built: Mapping[Place, Built], found: _Above
) -> set[Place]:
    """What may be stale whichever of its inputs were made anew."""
    doubtful = found.untold | {place for place in level if place not in built or _differs(place, built[place])}
    doubtful |= {place for place in found.rootless if built[place].parent_task_id is not None}
    successes = [built[place].success for place in found.readers]
    recorded = freshness.reads(connection, environment, successes) if successes else {}
    return doubtful | {place for place in found.readers if built[place].success.by in recorded}


def _newer(
    connection: Connection,
    environment: int,
    built: Mapping[Place, Built],
    found: _Above,
    later: Mapping[str, Set[Node]],
) -> dict[Place, set[Place]]:
    """The inputs that were made by another run, later than that of what may have read them began."""
    standing = freshness.standing(connection, environment, _places(later)) if later else {}
    made = {place: each.success for place, each in standing.items() if each.success is not None}
    newer = {
        place: {one for one in _within(inputs, later) if one in made and _is_newer(made[one], built[place].success)}
        for place, inputs in (found.inputs.items() if made else ())
    }
    return {place: inputs for place, inputs in newer.items() if inputs}


def _within(inputs: Listed, some: Mapping[str, Set[Node]]) -> Iterator[Place]:
    """Those of the inputs that are among some places, given by their keys."""
    return ((*node, key) for keys, nodes in inputs for key in keys & some.keys() for node in nodes & some[key])


def _direct(
    here: Nodes,
    built: Mapping[Place, Built],
    found: _Above,
    doubtful: set[Place],
    newer: Mapping[Place, set[Place]],
    bounds: Bounds,
) -> Suspicion:
    """What may be stale, where it is looked no further than at what was asked about."""
    suspects = _reaching(here, built, doubtful | newer.keys())
    alike = storage.by_key(((kind, node), key) for kind, node, key in suspects)
    inside = {place: set(_within(found.inputs[place], alike)) for place in suspects - doubtful}
    telling = {place: newer.get(place, set()) | within for place, within in inside.items()}
    first = {place: some | inside[place] for place, some in _first(here, newer).items() if place in inside}
    return Suspicion(suspects, doubtful, telling, first, built, bounds)


def _first(here: Nodes, newer: Mapping[Place, Set[Place]]) -> dict[Place, set[Place]]:
    """Of many inputs that are newer the one that is told first, and those to which ways up are told, and one more."""
    many = {place: inputs for place, inputs in newer.items() if len(inputs) > MOST_ROOTS + 2}
    known = here.nodes({input_[:2] for inputs in many.values() for input_ in inputs})
    order = {node: number for number, node in enumerate(sorted(known, key=lambda node: ref(known[node])))}
    return {
        place: {min(inputs, key=lambda each: (order[each[:2]], each[2])), *sorted(inputs)[: MOST_ROOTS + 1]}
        for place, inputs in many.items()
    }


def _is_newer(input_: Success, than: Success) -> bool:
    ended, begun = input_.ended_at, than.begun
    return input_.by != than.by and ended is not None and begun is not None and begun < ended


def _differs(place: Place, built: Built) -> bool:
    """Whether more is to be known of it than when its run began, and what was made later."""
    many = bool(built.partitions) and place[2] not in built.partitions
    return built.late or many or built.success.begun is None


def _has(shape: str, declared: bool, key: str, known_from: str) -> bool:
    """Whether a task that is cut so still has this partition: else it needs nothing for it."""
    if has_ended(key, known_from):
        return False
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
