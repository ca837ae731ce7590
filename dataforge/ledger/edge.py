"""The edges of definitions as they are stored, their defaults spelled out.

Guarantees columns rather than an object for each edge: a manifest may have a hundred thousand, and most are alike.
"""

from collections.abc import Iterable, Iterator

import msgspec

from dataforge.model import trigger
from dataforge.model.edge import SAME, SUCCEEDED, All, Condition, Consumes, Mapping
from dataforge.model.event import Relation
from dataforge.model.manifest import TaskDefinition
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.storage.edge import AlikeEdges


class _How(msgspec.Struct, frozen=True):
    """What an edge says beside its ends."""

    relation: Relation
    node_kind: NodeKind
    mapping: Mapping = SAME
    condition: Condition | None = (
        SUCCEEDED  # None: the node only triggers the task, which waits for none of its partitions
    )
    required: bool = True
    staleness: str = "warn"
    role: str = "upstream"
    triggers: bool = False


def edges_of(defined: Iterable[TaskDefinition]) -> list[AlikeEdges]:
    """All edges of these definitions."""
    found: dict[_How, tuple[list[int], list[int]]] = {}
    for task in defined:
        task_id = task.ref.id
        for how, node in _edges(task):
            tasks, nodes = found.setdefault(how, ([], []))
            tasks.append(task_id)
            nodes.append(node)
    return [_alike(how, tasks, nodes) for how, (tasks, nodes) in found.items()]


def _edges(task: TaskDefinition) -> Iterator[tuple[_How, int]]:
    updates = task.trigger.datasets if task.trigger else set[DatasetRef]()
    for read in task.consumes:
        yield _consumed(read, triggers=read.dataset in updates), read.node.id
    # Datasets of a trigger alone: they are consumed, and which of their partitions nobody says.
    for ref in sorted(updates - {read.dataset for read in task.consumes}):
        yield _How("consumes", "dataset", All(), None, triggers=True), ref.id
    for written in task.produces:
        yield _How("produces", "dataset", written.mapping), written.node.id


def _consumed(read: Consumes, *, triggers: bool) -> _How:
    kind: NodeKind = "dataset" if read.dataset else "task"
    return _How(
        "consumes", kind, read.mapping, read.condition, read.required, read.staleness, read.role, triggers=triggers
    )


def _alike(how: _How, tasks: list[int], nodes: list[int]) -> AlikeEdges:
    return AlikeEdges(
        relation=how.relation,
        node_kind=how.node_kind,
        mapping=msgspec.to_builtins(how.mapping),
        condition=msgspec.to_builtins(how.condition) if how.condition else {"kind": trigger.EDGE},
        required=how.required,
        staleness=how.staleness,
        role=how.role,
        triggers=how.triggers,
        tasks=tasks,
        nodes=nodes,
    )
