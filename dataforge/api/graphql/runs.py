"""Runs in GraphQL: every execution as it stands after its last attempt, with what it read and wrote."""

from __future__ import annotations

from typing import Any

import strawberry

from dataforge.api.graphql.nodes import dataset_of, task_of
from dataforge.api.graphql.reading import Within
from dataforge.api.graphql.shape import Of, link, placed, takes
from dataforge.ledger import catalog
from dataforge.model.catalog import DatasetItem, RunItem, TaskItem, TouchItem
from dataforge.model.filter import RunFilter
from dataforge.model.listing import Page

link(RunItem, "task", TaskItem | None, "The task that ran; null where it was only mentioned.")(task_of)
link(TouchItem, "dataset", DatasetItem | None, "The dataset.")(dataset_of)


@takes(RunFilter)
def listed(within: Within, wanted: RunFilter) -> Page[Of[RunItem]]:
    """The latest start first."""
    return placed(within.read(lambda connection, here: catalog.runs_in(connection, here, wanted)), within)


@link(RunItem, "inputs", list[TouchItem], "What it read.")
def _inputs(parent: strawberry.Parent[Any]) -> list[Of[TouchItem]]:
    return [Of(each, parent.within) for each in parent.item.inputs]


@link(RunItem, "outputs", list[TouchItem], "What it wrote.")
def _outputs(parent: strawberry.Parent[Any]) -> list[Of[TouchItem]]:
    return [Of(each, parent.within) for each in parent.item.outputs]
