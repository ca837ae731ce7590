"""Whether the columns of a dataset have changed since its last good run: the rule, and what it is answered with.

A result is compared with the last good one before it, in the order in which runs ended. Good is what succeeded, is
believed, and was refused by no blocking check; so columns stay changed until one that shows them is good, and then the
next comes. Runs that show no columns tell nothing.

Guarantees an answer that is a function of the values given.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from dataforge.model.column_list import ColumnList, Difference, Retyped, difference

MOST_RESULTS = 20  # of the last runs that are looked at


class Shown(msgspec.Struct, frozen=True):
    """The columns that a run showed of what it made, and whether that is good."""

    partition: str | None
    run: str
    at: datetime  # when it ended
    told: ColumnList
    good: bool


class ColumnChange(msgspec.Struct, frozen=True, kw_only=True):
    """That a run made a dataset with other columns than the last good run before it."""

    partition: Annotated[str | None, Meta(description="The partition that it made; of several, one.")] = None
    run: Annotated[str, Meta(description="The run, as its platform names it.")]
    at: Annotated[datetime, Meta(description="When it ended.")]
    before: Annotated[str, Meta(description="The last good run before it.")]
    added: Annotated[tuple[str, ...], Meta(description="Columns that are new; of a part, column.part.")] = ()
    removed: Annotated[tuple[str, ...], Meta(description="Columns that are gone.")] = ()
    retyped: Annotated[tuple[Retyped, ...], Meta(description="Columns of another type.")] = ()


def keeps(results: Sequence[Shown]) -> bool:
    """Whether the first two of the last results, the newest first, tell that nothing has changed."""
    return len(results) > 1 and results[1].good and results[0].told.hash == results[1].told.hash


def changes(results: Sequence[Shown]) -> tuple[ColumnChange, ...]:
    """The changes among the last results of a dataset, the newest first, as the results are; none where the last run
    changed nothing."""
    found: list[ColumnChange] = []
    for place, result in enumerate(results):
        before = next((each for each in results[place + 1 :] if each.good), None)
        apart = difference(before.told.columns, result.told.columns) if before else Difference()
        if place == 0 and apart == Difference():
            break
        if before is not None and apart != Difference():
            found.append(
                ColumnChange(
                    partition=result.partition,
                    run=result.run,
                    at=result.at,
                    before=before.run,
                    added=apart.added,
                    removed=apart.removed,
                    retyped=apart.retyped,
                )
            )
    return tuple(found)
