"""Which events of a dataset came out of order: recorded after what had occurred later, in the same run or of the same
partition, had been recorded before. Facts merge to the same whole, so the state is right; the source delivers late, or
shuffles.
"""

from datetime import date, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from dataforge.model.reference import TaskRef

DAYS = 7  # that are told of
DAYS_KEPT = 30


class Late(msgspec.Struct, frozen=True, order=True):
    """An event that tells of a dataset what occurred before something that was known."""

    occurred_at: datetime
    event: bytes
    dataset: int
    task: int
    run: str
    partition: str
    behind: datetime  # when that occurred which was known


class OutOfOrder(msgspec.Struct, frozen=True, kw_only=True):
    """How many events of a dataset came out of order on one day, and the last of them."""

    day: Annotated[date, Meta(description="The day on which they were recorded, in UTC.")]
    events: Annotated[int, Meta(description="How many.")]
    task: Annotated[TaskRef, Meta(description="Of the last of them: whose run it tells of.")]
    run: Annotated[str, Meta(description="The run, as its platform names it.")]
    partition: Annotated[str | None, Meta(description="The partition.")] = None
    occurred_at: Annotated[datetime, Meta(description="When that occurred.")]
    behind: Annotated[datetime, Meta(description="When that occurred which was recorded before it.")]
    recorded_at: Annotated[datetime, Meta(description="When it was recorded.")]
