"""Sets of keys that grow: which keys each holds, kept up with what is observed, and made known to mappings.

Guarantees that the keys observed of a set follow from the partitions that have a state and from how nodes are cut now,
whatever came first; and that whoever waits for all of a set is decided on anew when it holds other keys than before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

import msgspec

from dataforge.model.listing import Examined, Page, cut, read_cursor, write_cursor
from dataforge.model.mapping import MOST_PARTITIONS
from dataforge.model.partition import Partitioning
from dataforge.model.partition_set import KeyFilter, SetKey, keys_in, sets_of, with_keys
from dataforge.storage import environment as environments
from dataforge.storage import partition_set as storage
from dataforge.storage.database import Connection, Database
from dataforge.storage.partition import Place
from dataforge.storage.partition_set import KeyPlace, SetAndKey, Shown
from dataforge.storage.readiness import Node

MOST_HELD = MOST_PARTITIONS + 1  # keys that are read of a set: one more than an edge may name, so that it is refused


def completed(connection: Connection, environment: int, shapes: Iterable[str | None]) -> dict[str, str]:
    """Partitionings (JSON) that a dynamic set cuts, each with the keys that its sets hold: what `all` of one means.

    Nothing is read where none of them is.
    """
    cuts = {shape: _cut(shape) for shape in shapes if shape is not None and '"set"' in shape}
    sets = {name for cut in cuts.values() for name in sets_of(cut)}
    if not sets:
        return {}
    held = storage.held(connection, environment, sets, MOST_HELD)
    return {shape: msgspec.json.encode(with_keys(cut, held)).decode() for shape, cut in cuts.items()}


def _cut(shape: str) -> Partitioning:
    return msgspec.json.decode(shape, type=Partitioning)


def follow(connection: Connection, environment: int, recut: Set[Node], settled: Set[Place]) -> None:
    """Keeps what is observed of sets up with these nodes, which are cut otherwise than before, and these partitions,
    whose states were settled. Part of the caller's transaction."""
    cuts = {
        node: _cut(shape)
        for node, shape in storage.cuts(connection, environment, recut | {place[:2] for place in settled}).items()
    }
    places = {place for place in settled if place[:2] in cuts and place[:2] not in recut}
    present = storage.present(connection, environment, places) if places else set()
    whole = recut | {place[:2] for place in places - present}  # where one is gone, others of its key may be left
    new = _shown(cuts, {place for place in present if place[:2] not in whole})
    known = storage.shown_by(connection, environment, sorted(whole))
    kept = {node: storage.partitions(connection, environment, node) for node in whole & cuts.keys()}
    left = _shown(cuts, {(*node, key) for node, keys in kept.items() for key in keys})
    changed = _change(connection, environment, new | (left - known), known - left)
    if changed:
        announce(connection, environment, changed)


def _shown(cuts: Mapping[Node, Partitioning], places: Iterable[Place]) -> set[Shown]:
    return {Shown(name, key, kind, node) for kind, node, of in places for name, key in keys_in(cuts[kind, node], of)}


def _change(connection: Connection, environment: int, new: Set[Shown], gone: Set[Shown]) -> set[SetAndKey]:
    changed = storage.show(connection, environment, new) if new else set()
    if gone:
        storage.hide(connection, environment, gone)
    return changed | {(each.set, each.key) for each in gone}


def announce(connection: Connection, environment: int, changed: Iterable[SetAndKey]) -> None:
    """Leaves word that these sets hold, or hold no more, these keys."""
    by_set: dict[str, set[str]] = {}
    for name, key in changed:
        by_set.setdefault(name, set()).add(key)
    for name, keys in sorted(by_set.items()):
        storage.announce(connection, environment, storage.cut_by(connection, environment, [name]), keys)


def keys(database: Database, environment: str, name: str, wanted: KeyFilter) -> Page[SetKey]:
    """The keys of a set that were ever registered or observed, in order. A set that nobody has spoken of has none."""
    after = read_cursor(wanted.cursor, KeyPlace)
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        found = storage.page(connection, here.id, name, wanted, after)
    shown, last = cut(Examined(found, None), wanted.limit)
    return Page(shown, write_cursor(KeyPlace(last.key) if last else None))
