"""Definitions as they come to stand, with the columns that follow from them and from what was observed.

Guarantees that a row is written once for both: a large manifest writes thousands, each with its place in every index.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import msgspec
from msgspec.structs import replace

from dataforge.ledger.edge import edges_of
from dataforge.model import partition
from dataforge.model.manifest import DatasetDefinition, TaskDefinition, to_json, version
from dataforge.model.reference import DatasetRef
from dataforge.model.task import effective, value
from dataforge.storage import definition as definitions
from dataforge.storage.database import Connection
from dataforge.storage.dataset import DatasetBasis
from dataforge.storage.edge import AlikeEdges
from dataforge.storage.task import EffectiveTask, TaskBasis, unknown


class Defined(msgspec.Struct, frozen=True):
    """The tasks and datasets (by id) whose columns stand, those of them that are cut otherwise than before, and the
    datasets that are declared to be produced otherwise."""

    tasks: Set[int] = frozenset()
    datasets: Set[int] = frozenset()
    recut_tasks: Set[int] = frozenset()
    recut_datasets: Set[int] = frozenset()
    produced: Set[int] = frozenset()


class Written(msgspec.Struct, frozen=True):
    """The tasks that a declaration writes, their versions by id, and their edges."""

    tasks: Sequence[TaskDefinition]
    versions: Mapping[int, bytes]  # in the order of the tasks
    edges: Sequence[AlikeEdges]


def written_of(tasks: Sequence[TaskDefinition], edges: Sequence[AlikeEdges] | None = None) -> Written:
    """These tasks, as they are written; `edges` are theirs where they are at hand."""
    return Written(tasks, {task.ref.id: version(task) for task in tasks}, edges_of(tasks) if edges is None else edges)


def define_tasks(
    connection: Connection, environment: int, source: str, written: Written, known: Mapping[int, TaskBasis]
) -> set[int]:
    """Makes these the definitions of their tasks, and returns those that were `known` and are cut otherwise now."""
    found = [
        effective_columns(replace(known.get(task_id) or unknown(task_id), definition=_plain(task)))
        for task_id, task in zip(written.versions, written.tasks, strict=True)
    ]
    rows = zip((task.ref for task in written.tasks), written.versions.values(), found, strict=True)
    definitions.define_tasks(connection, environment, source, rows)
    return recut(known.values(), (columns for columns in found if columns.id in known))


def _plain(task: TaskDefinition) -> dict[str, Any]:
    """The definition without its edges: they decide over no column, and may be most of it."""
    return to_json(replace(task, consumes=(), produces=()))


def recut(before: Iterable[TaskBasis], after: Iterable[EffectiveTask]) -> set[int]:
    """The tasks that are cut otherwise than before."""
    cuts = {row.id: (row.partitioning, row.partitioning_origin) for row in before}
    return {row.id for row in after if (row.partitioning, row.partitioning_origin) != cuts[row.id]}


def effective_columns(row: TaskBasis) -> EffectiveTask:
    """The columns of a task that follow."""
    found = effective(row.definition, row.registers, row.platform, row.grains)
    return EffectiveTask(
        id=row.id,
        platform=found.platform,
        owner=found.owner,
        domain=found.domain,
        partitioning=partition.to_json(found.partitioning),
        partitioning_origin=found.origin,
    )


def define_datasets(
    connection: Connection,
    environment: int,
    standing: Mapping[DatasetRef, tuple[str, DatasetDefinition] | None],
    known: Mapping[int, DatasetBasis],
) -> set[int]:
    """Makes these statements of datasets stand, and returns those that were `known` and are cut otherwise now."""
    said = {ref.id: found[1] if found else None for ref, found in standing.items()}
    owners = {
        dataset_id: (definition.owner if definition else None)
        or value(known[dataset_id].registers if dataset_id in known else {}, "owner")
        for dataset_id, definition in said.items()
    }
    definitions.define_datasets(connection, environment, standing, owners)
    return {row.id for row in known.values() if _cut(said[row.id]) != row.partitioning}


def _cut(definition: DatasetDefinition | None) -> dict[str, Any] | None:
    declared = definition.partitioning if definition else None
    return partition.to_json(declared) if declared else None
