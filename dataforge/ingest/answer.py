"""What became of a batch, as whoever sent it is told."""

from __future__ import annotations

from dataforge.ingest.batch import BatchResult, Rejected
from dataforge.model.catalog import complaints
from dataforge.model.recorded import BatchAnswer, FailedEvent, Recorded, RejectedEvent, batch_answer


def recorded(result: BatchResult) -> Recorded:
    """The answer to native events."""
    rejected = [RejectedEvent(each.index, complaints(each.errors)) for each in result.rejected]
    return Recorded(result.received, result.applied, result.duplicates, rejected)


def of_openlineage(result: BatchResult) -> BatchAnswer:
    """The answer to a batch of OpenLineage events."""
    failed = [FailedEvent(each.index, reason(each), each.retriable) for each in result.rejected]
    return batch_answer(result.received, failed)


def reason(refused: Rejected) -> str:
    """What was wrong with an event, in one line."""
    return "; ".join(f"{error.field}: expected {error.expected}" for error in refused.errors)
