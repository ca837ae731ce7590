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
from dataforge.storage import dataset as datasets
from dataforge.storage import definition as definitions
from dataforge.storage.database import Connection
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


def written_of(tasks: Sequence[TaskDefinition]) -> Written:
    """These tasks, as they are written."""
    return Written(tasks, {task.ref.id: version(task) for task in tasks}, edges_of(tasks))


def define_tasks(
    connection: Connection, environment: int, source: str, written: Written, known: Iterable[TaskBasis]
) -> set[int]:
    """Makes these the definitions of their tasks, of which some are `known`, and returns those that are cut otherwise
    than before."""
    before = {task_id: unknown(task_id) for task_id in written.versions} | {row.id: row for row in known}
    of_tasks = dict(zip(written.versions, written.tasks, strict=True))
    found = [effective_columns(replace(row, definition=_plain(of_tasks[task_id]))) for task_id, row in before.items()]
    rows = [(of_tasks[columns.id].ref, written.versions[columns.id], columns) for columns in found]
    definitions.define_tasks(connection, environment, source, rows)
    return recut(before.values(), found)


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
    connection: Connection, environment: int, standing: Mapping[DatasetRef, tuple[str, DatasetDefinition] | None]
) -> set[int]:
    """Makes these statements of datasets stand, and returns the datasets that are cut otherwise than before."""
    said = {ref.id: found[1] if found else None for ref, found in standing.items()}
    basis = datasets.basis(connection, environment, said) if said else []
    before = {dataset_id: (registers, cut) for dataset_id, registers, _, cut in basis}
    owners, otherwise = dict[int, str | None](), set[int]()
    for dataset_id, definition in said.items():
        registers, cut = before.get(dataset_id, ({}, None))
        owners[dataset_id] = (definition.owner if definition else None) or value(registers, "owner")
        declared = definition.partitioning if definition else None
        if (partition.to_json(declared) if declared else None) != cut:
            otherwise.add(dataset_id)
    definitions.define_datasets(connection, environment, standing, owners)
    return otherwise
