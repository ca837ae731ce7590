"""Dynamic sets: keys that grow by registration and by being observed, and what is cut by them.

Guarantees that which keys a set holds is a function of facts alone: those that were registered and those of which a
partition was observed, without those that an order has taken off since they were last registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.filter import Paging
from dataforge.model.partition import Partitioning

MOST_REGISTERED = 10_000  # keys of one order


def parts(cut: Partitioning) -> list[tuple[str, Partitioning]]:
    """What a key of it consists of, in order, each with the name of its dimension; of a plain cut itself."""
    return sorted(cut.dimensions.items()) if cut.kind == "product" else [("", cut)]


def sets_of(cut: Partitioning) -> set[str]:
    """The names of the dynamic sets that it is cut by."""
    return {part.set for _, part in parts(cut) if part.kind == "dynamic" and part.set is not None}


def with_keys(cut: Partitioning, keys: Mapping[str, tuple[str, ...]]) -> Partitioning:
    """The same cut, its sets with the keys that they hold now."""
    if cut.kind == "product":
        return replace(cut, dimensions={name: with_keys(part, keys) for name, part in cut.dimensions.items()})
    known = keys.get(cut.set) if cut.kind == "dynamic" and cut.set is not None else None
    return cut if known is None else replace(cut, keys=known)


def with_key_of(cut: Partitioning, partition: str, most: int) -> Partitioning:
    """The same cut, its sets holding what this partition is of; of `most` keys another one makes room. Who waits for
    all of a set is asked so: also of a key that has just been taken off it."""
    mine = dict(zip((name for name, _ in parts(cut)), partition.split("|"), strict=False))
    if cut.kind != "product":
        return _holding(cut, partition, most)
    held = {name: _holding(part, mine.get(name, ""), most) for name, part in cut.dimensions.items()}
    return replace(cut, dimensions=held)


def _holding(cut: Partitioning, key: str, most: int) -> Partitioning:
    if cut.kind != "dynamic" or not key or key in cut.keys[:most]:
        return cut
    return replace(cut, keys=(key, *cut.keys)[:most])


def keys_in(cut: Partitioning, partition: str) -> Iterator[tuple[str, str]]:
    """The sets that a partition shows a key of, each with that key. What is no partition of it shows none."""
    found, given = parts(cut), partition.split("|") if cut.kind == "product" else [partition]
    if len(found) != len(given):
        return
    for (_, part), key in zip(found, given, strict=True):
        if part.kind == "dynamic" and part.set is not None and key:
            yield part.set, key


class SetKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key of a dynamic set."""

    key: Annotated[str, Meta(description="The key.")]
    listed: Annotated[bool, Meta(description="Whether the set holds it: `all` of the set asks for it.")]
    observed: Annotated[bool, Meta(description="Whether what is cut by the set has a partition of it.")]
    since: Annotated[datetime | None, Meta(description="When it was last registered or taken off, if ever.")] = None
    by: Annotated[str | None, Meta(description="By whom.")] = None
    reason: Annotated[str | None, Meta(description="Why.")] = None


class KeyFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of a set's keys."""


class Registering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys to register in a set, or to take off it."""

    register: tuple[str, ...] = ()
    delist: tuple[str, ...] = ()
    by: str = "unknown"
    reason: str | None = None

    def check(self) -> None:
        """Raises InvalidInput where it says nothing, or both of one key."""
        if not self.register and not self.delist:
            raise InvalidInput("no keys are named", [FieldError("register", [], "at least one key, here or in delist")])
        if both := sorted(set(self.register) & set(self.delist)):
            message = f"{both[0]!r} is to be registered and taken off at once"
            raise InvalidInput(message, [FieldError("delist", both[0], "keys that are not to be registered as well")])


class Registered(msgspec.Struct, frozen=True):
    """What was ordered of a set."""

    set: Annotated[str, Meta(description="The set.")]
    registered: Annotated[int, Meta(description="How many keys were registered.")]
    delisted: Annotated[int, Meta(description="How many keys were taken off.")]
