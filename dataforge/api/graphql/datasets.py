"""Datasets in GraphQL, each once, under its canonical name, with its partitions."""

from __future__ import annotations

from typing import Any

import strawberry

from dataforge.api.graphql.partitions import Listed, page_of
from dataforge.api.graphql.reading import Within
from dataforge.api.graphql.shape import FEW, Of, link, placed, takes
from dataforge.ledger import catalog
from dataforge.model.arrival import Arrival
from dataforge.model.catalog import DatasetItem, PartitionPage
from dataforge.model.filter import DatasetFilter, PartitionFilter
from dataforge.model.listing import Page
from dataforge.model.reference import DatasetRef, node_id

Shown = Of[DatasetItem]


@takes(DatasetFilter)
def listed(within: Within, wanted: DatasetFilter) -> Page[Shown]:
    """Datasets by namespace and name."""
    found = within.read(lambda connection, here: catalog.datasets_in(connection, here, wanted))
    return placed(found, within)


@link(DatasetItem, "arrival", Arrival, "Whether it comes in time, in order, and with the columns that it had.")
async def arrival(parent: strawberry.Parent[Any]) -> Arrival:
    """As `POST /arrivals` answers."""
    found: Arrival = await parent.within.arrivals.load(DatasetRef(parent.item.namespace, parent.item.name))
    return found


@link(DatasetItem, "partitions", PartitionPage | None, "Its partitions, in the order of their keys.")
@takes(PartitionFilter, without=("namespace", "name", "kind", "owner", "platform"), limit=FEW)
async def partitions(dataset: Shown, wanted: PartitionFilter) -> Listed:
    """The page that a list of its partitions alone would show."""
    node = node_id(dataset.item.namespace, dataset.item.name)
    return page_of(await dataset.within.partitions.load((wanted, ("dataset", node))), dataset.within)
