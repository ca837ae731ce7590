"""Whether every edge that a declaration concerns can lead from the partitions of its task to those of its other end.

Guarantees that no two partitionings that are both declared, by whichever sources, stand at the ends of an edge whose
mapping cannot join them, whether the edge came first or the partitioning.
"""

from collections.abc import Iterable, Iterator

import msgspec

from dataforge.ledger.cuts import Cuts
from dataforge.model import partition
from dataforge.model.declaration import Plan
from dataforge.model.edge import Consumes, Mapping, Produces
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.fit import misfit
from dataforge.model.manifest import TaskDefinition
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef
from dataforge.storage import edge as edges
from dataforge.storage.database import Connection


def refuse_misfits(connection: Connection, environment: int, decided: Plan, cuts: Cuts) -> None:
    """Raises InvalidInput where an edge of this manifest does not fit what others declare, or an edge of theirs does
    not fit what this manifest declares."""
    errors = list(_own(decided.tasks.written, cuts))
    errors += _others(connection, environment, decided, cuts)
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InvalidInput(f"{errors[0].field}: expected {errors[0].expected}{more}", errors[:100])


def _own(written: Iterable[TaskDefinition], cuts: Cuts) -> Iterator[FieldError]:
    said = [
        (task, edge, how)
        for task in written
        if task.cut
        for how, edges_ in (("consumes", task.consumes), ("produces", task.produces))
        for edge in edges_
    ]
    tasks = cuts.tasks(edge.node.id for _, edge, _ in said if isinstance(edge.node, TaskRef))
    datasets = cuts.datasets(edge.node.id for _, edge, _ in said if isinstance(edge.node, DatasetRef))
    for task, edge, how in said:
        theirs = (tasks if isinstance(edge.node, TaskRef) else datasets).get(edge.node.id)
        if theirs and task.cut and (expected := misfit(edge.mapping, task.cut, theirs)):
            field = f"tasks[{_shown(task.ref)}].{how}[{_shown(edge.node)}].mapping"
            yield FieldError(field, _spelled(edge), expected)


def _spelled(edge: Consumes | Produces) -> object:
    return msgspec.to_builtins(edge.mapping)


def _shown(ref: TaskRef | DatasetRef) -> str:
    return f"{ref.namespace}/{ref.name}"


def _others(connection: Connection, environment: int, decided: Plan, cuts: Cuts) -> Iterator[FieldError]:
    """Edges that other sources declare to what this manifest cuts."""
    source = decided.manifest.source
    changed: list[tuple[NodeKind, TaskRef | DatasetRef]] = [
        *(("task", task.ref) for task in decided.tasks.written if task.cut),
        *(("dataset", each.ref) for each in decided.datasets.written if each.partitioning or each.aliases),
    ]
    for kind, ref in changed:
        names = cuts.names({ref.id}) if kind == "dataset" else {ref.id}
        theirs = (cuts.datasets({ref.id}) if kind == "dataset" else cuts.tasks({ref.id})).get(ref.id)
        if theirs is None:
            continue
        for user in edges.declared_to(connection, environment, kind, names, but_source=source):
            mapping = msgspec.convert(user.mapping, Mapping)
            if expected := misfit(mapping, partition.from_json(user.partitioning), theirs):
                yield FieldError(
                    f"{kind}s[{_shown(ref)}].partitioning",
                    partition.to_json(theirs),
                    f"one that the edge of {user.namespace}/{user.name}, declared by {user.source!r}, fits;"
                    f" or in that edge {expected}",
                )
