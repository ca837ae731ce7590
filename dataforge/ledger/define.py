"""Definitions as they come to stand, with the columns that follow from them and from what was observed.

Guarantees that a row is written once for both: a large manifest writes thousands, each with its place in every index.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec
from msgspec.structs import replace

from dataforge.model import partition
from dataforge.model.manifest import DatasetDefinition, TaskDefinition, to_json
from dataforge.model.reference import DatasetRef
from dataforge.model.task import effective, value
from dataforge.storage import dataset as datasets
from dataforge.storage import definition as definitions
from dataforge.storage import task as tasks
from dataforge.storage.database import Connection
from dataforge.storage.task import EffectiveTask, TaskBasis


class Defined(msgspec.Struct, frozen=True):
    """The tasks and datasets (by id) whose columns stand, those of them that are cut otherwise than before, and the
    datasets that are declared to be produced otherwise."""

    tasks: Set[int] = frozenset()
    datasets: Set[int] = frozenset()
    recut_tasks: Set[int] = frozenset()
    recut_datasets: Set[int] = frozenset()
    produced: Set[int] = frozenset()


def define_tasks(connection: Connection, environment: int, source: str, written: Sequence[TaskDefinition]) -> set[int]:
    """Makes these the definitions of their tasks, and returns those that are cut otherwise than before."""
    defined = {task.ref.id: task for task in written}
    rows = tasks.basis(connection, environment, defined)
    plain = {task_id: to_json(replace(task, consumes=(), produces=())) for task_id, task in defined.items()}
    found = {row.id: effective_columns(msgspec.structs.replace(row, definition=plain[row.id])) for row in rows}
    definitions.define_tasks(
        connection, environment, source, [(defined[task_id], columns) for task_id, columns in found.items()]
    )
    return recut(rows, found.values())


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
    connection: Connection, environment: int, standing: Mapping[DatasetRef, tuple[str, DatasetDefinition] | None]
) -> set[int]:
    """Makes these statements of datasets stand, and returns the datasets that are cut otherwise than before."""
    said = {ref.id: found[1] if found else None for ref, found in standing.items()}
    owners, otherwise = dict[int, str | None](), set[int]()
    for dataset_id, registers, _, cut in datasets.basis(connection, environment, said) if said else ():
        definition = said[dataset_id]
        owners[dataset_id] = (definition.owner if definition else None) or value(registers, "owner")
        declared = definition.partitioning if definition else None
        if (partition.to_json(declared) if declared else None) != cut:
            otherwise.add(dataset_id)
    definitions.define_datasets(connection, environment, standing, owners)
    return otherwise
