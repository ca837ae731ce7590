"""Backfills in GraphQL, each with how far it has come and with its partitions."""

from __future__ import annotations

from dataforge.api.graphql.reading import Within
from dataforge.api.graphql.shape import FEW, Of, link, placed, takes
from dataforge.ledger import backfill_list
from dataforge.model.backfill import BackfillFilter, BackfillItem, ItemFilter, PlanItem
from dataforge.model.listing import Page


@takes(BackfillFilter)
def listed(within: Within, wanted: BackfillFilter) -> Page[Of[BackfillItem]]:
    """The latest first."""
    found = within.read(lambda connection, here: backfill_list.backfills_in(connection, here, wanted))
    return placed(found, within)


@link(BackfillItem, "partitions", Page[PlanItem] | None, "Its partitions, in the order of its plan.")
@takes(ItemFilter, limit=FEW)
async def partitions(backfill: Of[BackfillItem], wanted: ItemFilter) -> Page[Of[PlanItem]]:
    """The page that a list of its partitions alone would show."""
    return placed(await backfill.within.backfills.load((wanted, backfill.item.id)), backfill.within)
