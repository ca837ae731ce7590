"""From whatever names a task or a dataset to that task or dataset."""

from __future__ import annotations

from typing import Any

import msgspec
import strawberry

from dataforge.api.graphql.shape import Of, link
from dataforge.model.catalog import DatasetItem, TaskItem
from dataforge.model.reference import DatasetRef, TaskRef


async def task_of(parent: strawberry.Parent[Any]) -> Of[TaskItem] | None:
    """The task that the value names."""
    found = await parent.within.tasks.load(TaskRef(parent.namespace, parent.name))
    return None if found is None else Of(found, parent.within)


async def dataset_of(parent: strawberry.Parent[Any]) -> Of[DatasetItem] | None:
    """The dataset that the value names."""
    found = await parent.within.datasets.load(DatasetRef(parent.namespace, parent.name))
    return None if found is None else Of(found, parent.within)


def leads_to_node(struct: type[msgspec.Struct]) -> None:
    """Lets a value that has a kind, a namespace and a name lead on to the task or the dataset."""
    link(struct, "task", TaskItem | None, "The task; null of a dataset, or where nobody has seen it.")(_task_if)
    link(struct, "dataset", DatasetItem | None, "The dataset; null of a task.")(_dataset_if)


async def _task_if(parent: strawberry.Parent[Any]) -> Of[TaskItem] | None:
    return await task_of(parent) if parent.kind == "task" else None


async def _dataset_if(parent: strawberry.Parent[Any]) -> Of[DatasetItem] | None:
    return await dataset_of(parent) if parent.kind == "dataset" else None
