"""Which partitions that were built may be stale at all: most are not, and for those nothing needs to be told.

Guarantees that what is left out is not stale as far as `ledger.staleness` would look within the same bounds, in a query
or two for each level beside what is remembered of edges. It errs on one side: a partition whose inputs cannot be told
at once is suspected, and what need not have been there may be among its inputs, never the other way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from dataforge.ledger.comparison import Compared, examine, examine_some
from dataforge.ledger.inputs import inputs_of
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import cut_of
from dataforge.ledger.staleness import Bounds
from dataforge.model.freshness import Success
from dataforge.model.partition import InvalidPartitionKey, has_ended, window_of
from dataforge.storage import freshness
from dataforge.storage import unchanged as storage
from dataforge.storage.database import Connection
from dataforge.storage.freshness import Built
from dataforge.storage.readiness import Place

MOST_ABOVE = 100  # places above that are looked at on one level where it is not known how many of them count
MOST_LISTED = 10_000  # places above one level that are asked for


class Suspicion(msgspec.Struct, frozen=True):
    """What may be stale of what was asked about."""

    suspects: Set[Place]
    whole: Set[Place]  # those of which any input may tell
    among: Set[Place]  # where the inputs are that tell of the others
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
    level, seen, exact = asked, asked, True  # of what only may be an input the inputs say nothing of how many there are
    for depth in range(bounds.levels + 1):
        if not level:
            break
        here = here or Nodes(connection, environment)
        built = freshness.built(connection, environment, level)
        found = _above(here, built, now)
        made, later = storage.made(connection, environment, found.earliest)
        doubtful = _doubtful(connection, environment, level, built, found)
        changed = doubtful | _remade(connection, environment, built, found, later)
        surely = (found.counting & made) - seen
        sure = exact and all(_has(*each, here.known_from) for each in found.cuts)
        ends = depth == bounds.levels or (sure and len(surely) > bounds.places)
        if changed and depth == 0 and ends:
            return Suspicion(_reaching(here, built, changed), doubtful, later | asked, replace(bounds, levels=0))
        if changed or (not ends and len(made) > MOST_ABOVE):  # whether that many count is not known
            return Suspicion(asked, asked, set(), bounds)
        if ends:
            break
        level = made - seen
        seen, exact = seen | level, sure and len(surely) == len(level)
    return Suspicion(set(), set(), set(), bounds)


def compared(
    connection: Connection, environment: int, suspicion: Suspicion, own: Set[Place], now: datetime
) -> dict[Place, Compared]:
    """How the suspects stand to the inputs that tell whether they are stale: all that are asked about for their own
    sake (`own`), of the others the first ones as far as the bounds go."""
    whole, rest = suspicion.whole, suspicion.suspects - suspicion.whole
    found = examine(connection, environment, whole & own, now)
    found |= examine(connection, environment, rest & own, now, suspicion.among)
    more = examine_some(connection, environment, sorted(whole - own), now, suspicion.bounds.inputs)
    most = suspicion.bounds.inputs - sum(len(each.inputs) for each in more.values())
    more |= examine_some(connection, environment, sorted(rest - own), now, most, suspicion.among)
    return found | more


class _Above(msgspec.Struct, frozen=True):
    """What lies directly above built partitions."""

    inputs: dict[Place, list[Place]]  # what each may have read
    earliest: dict[Place, datetime]  # when the first run began that may have read it
    counting: set[Place]
    untold: set[Place]  # built partitions of which it is not said here what they need
    readers: list[Place]
    rootless: list[Place]
    cuts: set[tuple[str, bool, str]]  # of the tasks behind them: partitioning, whether declared, and key


def _above(here: Nodes, built: Mapping[Place, Built], now: datetime) -> _Above:
    """Once MOST_LISTED places were listed, of no more partitions it is said what they need."""
    behind = inputs_of(here, {each.success.by[0] for each in built.values()})
    above = _Above({}, {}, set(), set(), [], [], set())
    for place, each in sorted(built.items(), key=lambda item: _begun(item[1]), reverse=True):
        task, key = behind[each.success.by[0]], place[2]
        if task.rootless:
            above.rootless.append(place)
            continue
        above.cuts.add((task.cut, task.declared, key))
        if task.reads:
            above.readers.append(place)
        if not task.told or len(above.earliest) > MOST_LISTED:
            above.untold.add(place)
            continue
        above.inputs[place] = task.places(key, now, here.known_from)
        above.earliest.update(dict.fromkeys(above.inputs[place], _begun(each)))
        above.counting.update(task.counting(key, now, here.known_from))
    return above


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


def _remade(
    connection: Connection, environment: int, built: Mapping[Place, Built], found: _Above, later: Collection[Place]
) -> set[Place]:
    """Those of which an input was made by another run, later than theirs began."""
    standing = freshness.standing(connection, environment, later) if later else {}
    made = {place: each.success for place, each in standing.items() if each.success is not None}
    return {
        place
        for place, inputs in (found.inputs.items() if made else ())
        for one in made.keys() & inputs
        if _is_newer(made[one], built[place].success)
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
