"""Which partitions that were built may be stale at all: most are not, and for those nothing needs to be told.

Guarantees that what is left out is not stale as far as `ledger.staleness` would look within the same bounds, in a query
or two for each level.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from dataforge.ledger.need import cut_of
from dataforge.ledger.staleness import Bounds
from dataforge.model.partition import InvalidPartitionKey, window_of
from dataforge.storage import freshness
from dataforge.storage import unchanged as storage
from dataforge.storage.database import Connection
from dataforge.storage.freshness import Built
from dataforge.storage.readiness import Place
from dataforge.storage.unchanged import MOST_ABOVE, Above


def suspected(
    connection: Connection, environment: int, places: Iterable[Place], bounds: Bounds
) -> tuple[set[Place], Bounds]:
    """Those of the partitions (datasets by canonical id) that may be stale, and how far up it takes to look for these
    what looking for all would see. The bounds are to look at whole levels alone, of no more than MOST_ABOVE places."""
    asked = set(places)
    level, seen, exact = asked, asked, True  # of what only may be an input the inputs say nothing of how many there are
    for depth in range(bounds.levels + 1):
        if not level:
            break
        built = freshness.built(connection, environment, level)
        found = _above(connection, environment, built, seen)
        changed = _changed(connection, environment, level, built, found)
        sure = exact and all(_has(*each) for each in found.cuts)
        ends = depth == bounds.levels or (sure and found.surely > bounds.places)
        if changed and depth == 0 and ends:
            return _reaching(connection, environment, built, changed), replace(bounds, levels=0)
        if changed or (not ends and len(found.places) > MOST_ABOVE):  # whether that many count is not known
            return asked, bounds
        if ends:
            break
        level = set(found.places) - seen
        seen, exact = seen | level, sure and found.surely == len(level)
    return set(), bounds


def _above(connection: Connection, environment: int, built: Mapping[Place, Built], seen: Iterable[Place]) -> Above:
    asked = [(place[2], each) for place, each in sorted(built.items())]
    return storage.above(connection, environment, asked, seen)


def _changed(
    connection: Connection, environment: int, level: set[Place], built: Mapping[Place, Built], found: Above
) -> set[Place]:
    """What may be stale by what lies directly above it, or by what came for it late."""
    ordered = sorted(built)
    changed = {ordered[number] for number in found.suspected}
    changed |= {place for place in level if place not in built or _differs(place, built[place])}
    changed |= {place for number in found.rootless if built[place := ordered[number]].parent_task_id is not None}
    readers = [ordered[number] for number in found.readers]
    recorded = freshness.reads(connection, environment, [built[place].success for place in readers]) if readers else {}
    return changed | {place for place in readers if built[place].success.by in recorded}


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


def _reaching(
    connection: Connection, environment: int, built: Mapping[Place, Built], changed: set[Place]
) -> set[Place]:
    """What changed, and all of the same level that may be built from it, however many steps away."""
    makers = {place: each.success.by[0] for place, each in built.items()}
    consumed = storage.consumed(connection, environment, makers.values(), {place[:2] for place in makers})
    found, fresh = set(changed), {place[:2] for place in changed}
    while fresh:
        below = {place for place, task in makers.items() if not fresh.isdisjoint(consumed.get(task, ()))} - found
        found |= below
        fresh = {place[:2] for place in below}
    return found
