"""What is stale in turn: built from what is itself stale, however far up the change lies.

Guarantees that each change reaches a partition by a shortest way, that a way passes no partition twice, loops or not,
and an answer that does not depend on the order of what is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

MOST_ROOTS = 5  # changes that are told of one stale input; the nearest ones

Place = TypeVar("Place", bound=tuple[object, ...])


class Trail(msgspec.Struct, Generic[Place], frozen=True):
    """A way from a stale partition up to a change: the stale partitions on it, itself first, and what changed."""

    through: tuple[Place, ...]
    root: Place  # what the last of them was built from, and is another by now


class Trails(msgspec.Struct, Generic[Place], frozen=True):
    """The ways up from what is stale."""

    of: Mapping[Place, Sequence[Trail[Place]]]  # from each stale partition, the shortest first
    cut: frozenset[Place]  # from which there may be more ways than are told


def trails(
    changed: Mapping[Place, Iterable[Place]], inputs: Mapping[Place, Iterable[Place]], unseen: Iterable[Place]
) -> Trails[Place]:
    """The ways up from every stale partition: from those with `changed` inputs, and what is built from them by way of
    `inputs`. What lies above the `unseen` was not looked at."""
    readers = _readers(inputs)
    found: dict[Place, list[Trail[Place]]] = {}
    cut: set[Place] = set()
    layer = [Trail((place,), root) for place in sorted(changed) for root in sorted(changed[place])]
    while layer:
        fresh = [trail for trail in layer if _added(found, cut, trail)]
        layer = sorted(
            (
                Trail((reader, *trail.through), trail.root)
                for trail in fresh
                for reader in readers.get(trail.through[0], ())
                if reader not in trail.through
            ),
            key=lambda trail: (trail.through, trail.root),
        )
    return Trails(found, frozenset(_below(cut | set(unseen), readers)))


def _added(found: dict[Place, list[Trail[Place]]], cut: set[Place], trail: Trail[Place]) -> bool:
    """Whether the trail tells of another change than those that are told already."""
    place = trail.through[0]
    known = found.setdefault(place, [])
    if any(each.root == trail.root for each in known):
        return False
    if len(known) == MOST_ROOTS:
        cut.add(place)
        return False
    known.append(trail)
    return True


def _readers(inputs: Mapping[Place, Iterable[Place]]) -> dict[Place, list[Place]]:
    found: dict[Place, list[Place]] = {}
    for reader in sorted(inputs):
        for place in inputs[reader]:
            found.setdefault(place, []).append(reader)
    return found


def _below(places: set[Place], readers: Mapping[Place, Sequence[Place]]) -> set[Place]:
    """All that is built from these places."""
    found: set[Place] = set()
    level = places
    while level:
        level = {reader for place in level for reader in readers.get(place, ())} - found
        found |= level
    return found
