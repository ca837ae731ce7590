"""Partitions in GraphQL: what the ledger believes of each partition of a task or dataset."""

from __future__ import annotations

from dataforge.api.graphql.nodes import leads_to_node
from dataforge.api.graphql.reading import Within
from dataforge.api.graphql.shape import Of, placed, takes
from dataforge.ledger import catalog
from dataforge.model.catalog import PartitionItem
from dataforge.model.filter import PartitionFilter
from dataforge.model.listing import Page

leads_to_node(PartitionItem)


@takes(PartitionFilter)
def listed(within: Within, wanted: PartitionFilter) -> Listed:
    """Those of one task or dataset together, in the order of their keys."""
    now = within.reading.now
    found = within.read(lambda connection, here: catalog.partitions_in(connection, here, wanted, now))
    return page_of(found, within)


class Listed(Page[Of[PartitionItem]], frozen=True):
    """A page of partitions, each with the environment that it is of."""

    known_from: str | None = None


def page_of(found: Page[PartitionItem], within: Within) -> Listed:
    """The page, which says from when on windows are listed."""
    shown = placed(found, within)
    return Listed(shown.items, shown.next_cursor, within.here.states_known_from or None)
