"""How the partitions of a plan hang together: which is made from which, and which from what is not in the plan.

Partitions go by their place in the plan here, since there are hundreds of thousands of links between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from dataforge.ledger.backfill_needs import by_task, needed, standing_for
from dataforge.ledger.surroundings import Surroundings
from dataforge.storage.readiness import Node, Place
from dataforge.storage.wakeup import TaskPartition

Makers = dict[Node, dict[str, list[int]]]  # by node and key those that make it


class Required(msgspec.Struct, frozen=True, gc=False):
    """That a partition waits for one of these keys of a node to succeed, which some of the plan may make."""

    own: int
    node: Node
    keys: tuple[str, ...]
    makers: Sequence[int]


class Links(msgspec.Struct, frozen=True):
    """All links of a plan."""

    needs: list[set[int]]  # by place the others that it is made from
    required: list[Required]


def makers_among(partitions: Sequence[TaskPartition], makes: Mapping[TaskPartition, Iterable[Place]]) -> Makers:
    """Who of these makes what."""
    makers: Makers = {}
    for at, each in enumerate(partitions):
        for kind, node, key in makes[each]:
            makers.setdefault((kind, node), {}).setdefault(key, []).append(at)
    return makers


def links(known: Surroundings, partitions: Sequence[TaskPartition], makers: Makers, now: datetime) -> Links:
    """What each of these partitions needs of the others, and of what else."""
    keys = by_task(partitions)
    needs: list[set[int]] = [set() for _ in partitions]
    required: list[Required] = []
    for need in needed(known, keys, now):
        own, theirs, node = makers["task", need.task], makers.get(need.node, {}), known.nodes[need.node]
        for key in keys[need.task]:
            [at] = own[key]
            for group in need.groups[key]:
                wanted = standing_for(node, group)
                above = theirs.get(wanted[0], ()) if len(wanted) == 1 else _all(theirs, wanted)
                needs[at].update(above)
                if need.required:
                    required.append(Required(at, need.node, wanted, above))
    for at, others in enumerate(needs):
        others.discard(at)  # what it updates in place
    return Links(needs, required)


def _all(makers: Mapping[str, Sequence[int]], keys: Iterable[str]) -> list[int]:
    return [maker for key in keys for maker in makers.get(key, ())]


def unmet(found: Links, built: Sequence[bool]) -> list[Required]:
    """What is built and waits for what nothing that is built makes."""
    return [
        each
        for each in found.required
        if built[each.own] and each.own not in each.makers and not any(built[maker] for maker in each.makers)
    ]


def lacking(
    waiting: Iterable[Required], statuses: Mapping[Place, str], good: frozenset[str], name: Callable[[Node], str]
) -> dict[int, str]:
    """By place what of this is not there, in words."""
    found: dict[int, str] = {}
    for each in waiting:
        kind, node = each.node
        stands = [statuses[kind, node, key] for key in each.keys]
        if each.own not in found and good.isdisjoint(stands):
            named = f"{name(each.node)} {each.keys[0]}".rstrip()
            found[each.own] = f"it waits for {named}, which is {stands[0]}"
    return found
