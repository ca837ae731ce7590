"""Whether every edge that a declaration concerns can lead from the partitions of its task to those of its other end.

Guarantees that no two partitionings that are both declared, by whichever sources, stand at the ends of an edge whose
mapping cannot join them, whether the edge came first or the partitioning.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec

from dataforge.ledger.cuts import Cuts
from dataforge.model import partition
from dataforge.model.declaration import Plan
from dataforge.model.edge import Consumes, Mapping, Produces
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.fit import Fits, misfit
from dataforge.model.manifest import TaskDefinition
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef
from dataforge.storage import edge as edges
from dataforge.storage.database import Connection
from dataforge.storage.edge import Use


def refuse_misfits(connection: Connection, environment: int, decided: Plan, cuts: Cuts) -> None:
    """Raises InvalidInput where an edge of this manifest does not fit what others declare, or an edge of theirs does
    not fit what this manifest declares."""
    errors = list(_own(decided.tasks.written, cuts))
    errors += _others(connection, environment, decided, cuts)
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InvalidInput(f"{errors[0].field}: expected {errors[0].expected}{more}", errors[:100])


def _own(written: Iterable[TaskDefinition], cuts: Cuts) -> Iterator[FieldError]:
    """Edges to what others cut. What this manifest itself cuts was compared when it was read (`model.definition`)."""
    fits, cut = Fits(), [task for task in written if task.cut]
    named = cuts.others({edge.node for task in cut for edge in _edges(task)})
    tasks = cuts.tasks(ref.id for ref in named if isinstance(ref, TaskRef))
    datasets = cuts.datasets(ref.id for ref in named if isinstance(ref, DatasetRef))
    known = {ref: fits.one((tasks if isinstance(ref, TaskRef) else datasets).get(ref.id)) for ref in named}
    for task in cut if known else ():
        ours = fits.one(task.cut)
        for edge in _edges(task):
            theirs = known.get(edge.node)
            if ours and theirs and (expected := fits.misfit(edge.mapping, ours, theirs)):
                how = "consumes" if isinstance(edge, Consumes) else "produces"
                field = f"tasks[{_shown(task.ref)}].{how}[{_shown(edge.node)}].mapping"
                yield FieldError(field, _spelled(edge), expected)


def _edges(task: TaskDefinition) -> tuple[Consumes | Produces, ...]:
    return (*task.consumes, *task.produces)


def _spelled(edge: Consumes | Produces) -> object:
    return msgspec.to_builtins(edge.mapping)


def _shown(ref: TaskRef | DatasetRef) -> str:
    return f"{ref.namespace}/{ref.name}"


def _others(connection: Connection, environment: int, decided: Plan, cuts: Cuts) -> Iterator[FieldError]:
    """Edges that other sources declare to what this manifest cuts."""
    find = partial(edges.declared_to, connection, environment, but_source=decided.manifest.source)
    tasks = {task.ref.id: task.ref for task in decided.tasks.written if task.cut}
    yield from _of_uses("task", tasks, cuts.tasks(tasks), find("task", tasks.keys()), {each: {each} for each in tasks})
    written = decided.datasets.written
    datasets = {each.ref.id: each.ref for each in written if each.partitioning or each.aliases}
    names = cuts.groups(datasets)
    uses = find("dataset", {name for each in datasets for name in names[each]})
    yield from _of_uses("dataset", datasets, cuts.datasets(datasets), uses, names)


def _of_uses(
    kind: NodeKind,
    refs: dict[int, TaskRef] | dict[int, DatasetRef],
    theirs: dict[int, Partitioning],
    uses: Iterable[Use],
    names: dict[int, set[int]],
) -> Iterator[FieldError]:
    """Of each of these nodes the edges to any of its names that do not fit how it is cut."""
    named: dict[int, list[int]] = {}
    for node in theirs:
        for name in names[node]:
            named.setdefault(name, []).append(node)
    by_node: dict[int, list[Use]] = {}
    for use in uses:
        for node in named.get(use.node_id, ()):
            by_node.setdefault(node, []).append(use)
    for node, ref in refs.items():
        for use in by_node.get(node, ()):
            mapping = msgspec.convert(use.mapping, Mapping)
            if expected := misfit(mapping, partition.from_json(use.partitioning), theirs[node]):
                yield FieldError(
                    f"{kind}s[{_shown(ref)}].partitioning",
                    partition.to_json(theirs[node]),
                    f"one that the edge of {use.namespace}/{use.name}, declared by {use.source!r}, fits;"
                    f" or in that edge {expected}",
                )
