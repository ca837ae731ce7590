"""Tasks in GraphQL, and what belongs to one: its runs, its partitions, its edges, its verdicts, what is around it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dataforge.api.graphql.partitions import Listed, page_of
from dataforge.api.graphql.reading import Within
from dataforge.api.graphql.shape import FEW, Of, link, placed, takes
from dataforge.ledger import catalog
from dataforge.ledger.need import Asked
from dataforge.model.catalog import PartitionPage, RunItem, TaskItem
from dataforge.model.edge_item import EdgeFilter, EdgeItem
from dataforge.model.filter import PartitionFilter, RunFilter, TaskFilter
from dataforge.model.listing import Page
from dataforge.model.reference import node_id
from dataforge.model.verdict import Verdict

Shown = Of[TaskItem]
_CLEAR = ("namespace", "name", "kind", "owner", "platform")  # of what belongs to a task


class Day(msgspec.Struct, frozen=True):
    """Which partition of a task is meant."""

    partition: Annotated[str, Meta(description="Its partition, such as 2026-11-01, where it has any.")] | None = None


@takes(TaskFilter)
def listed(within: Within, wanted: TaskFilter) -> Page[Shown]:
    """Tasks by namespace and name."""
    found = within.read(lambda connection, here: catalog.tasks_in(connection, here, wanted))
    return placed(found, within)


@link(TaskItem, "verdict", Verdict | None, "Whether it may run for this partition, with every reason why not.")
@takes(Day)
async def verdict(task: Shown, day: Day) -> Verdict:
    """All verdicts of one level are decided together."""
    found: Verdict = await task.within.verdicts.load(Asked(_id(task), day.partition or ""))
    return found


@link(TaskItem, "runs", Page[RunItem] | None, "Its runs, the latest start first.")
@takes(RunFilter, without=(*_CLEAR, "attempts"), limit=FEW)
async def runs(task: Shown, wanted: RunFilter) -> Page[Of[RunItem]]:
    """The page that a list of its runs alone would show."""
    return placed(await task.within.runs.load((wanted, _id(task))), task.within)


@link(TaskItem, "partitions", PartitionPage | None, "Its partitions, in the order of their keys.")
@takes(PartitionFilter, without=_CLEAR, limit=FEW)
async def partitions(task: Shown, wanted: PartitionFilter) -> Listed:
    """The page that a list of its partitions alone would show."""
    return page_of(await task.within.partitions.load((wanted, ("task", _id(task)))), task.within)


@link(
    TaskItem,
    "edges",
    Page[EdgeItem] | None,
    "Its edges of one relation, as each source declares them or as seen.",
)
@takes(EdgeFilter, limit=FEW)
async def edges(task: Shown, wanted: EdgeFilter) -> Page[Of[EdgeItem]]:
    """In the order of their keys."""
    return placed(await task.within.edges.load((wanted, _id(task))), task.within)


def _id(task: Shown) -> int:
    return node_id(task.item.namespace, task.item.name)
