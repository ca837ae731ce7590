"""What became of events that were sent: the same answer over HTTP and in the process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dataforge.model.catalog import Complaint


class RejectedEvent(msgspec.Struct, frozen=True):
    """An event that was refused."""

    index: Annotated[int, Meta(description="Its place in the array, from 0.")]
    errors: Annotated[list[Complaint], Meta(description="Every field that is wrong.")]


class Recorded(msgspec.Struct, frozen=True):
    """What became of the events."""

    received: Annotated[int, Meta(description="Events that were sent.")]
    applied: Annotated[int, Meta(description="Events that were new to the ledger.")]
    duplicates: Annotated[int, Meta(description="Events that it had already; they change nothing.")]
    rejected: Annotated[list[RejectedEvent], Meta(description="Events that were refused and kept in the rejects.")]


class Summary(msgspec.Struct, frozen=True):
    """How many events of a batch were taken."""

    received: Annotated[int, Meta(description="Events in the batch.")]
    successful: Annotated[int, Meta(description="Events recorded, now or before.")]
    failed: Annotated[int, Meta(description="Events refused and kept in the rejects.")]
    retriable: Annotated[int, Meta(description="Refused events that may be accepted when sent again.")]
    non_retriable: Annotated[int, Meta(description="Refused events that will be refused again.")]


class FailedEvent(msgspec.Struct, frozen=True):
    """An event of a batch that was refused."""

    index: Annotated[int, Meta(description="Its place in the batch, from 0.")]
    reason: Annotated[str, Meta(description="What was wrong with it, field by field.")]
    retriable: Annotated[bool, Meta(description="Whether sending it again may help.")]


class BatchAnswer(msgspec.Struct, frozen=True):
    """What became of a batch, in the words of OpenLineage's specification."""

    status: Annotated[Literal["success", "partial_success"], Meta(description="Whether all were taken.")]
    summary: Annotated[Summary, Meta(description="The counts.")]
    failed_events: Annotated[list[FailedEvent], Meta(description="The events that were refused.")]


def batch_answer(received: int, failed: list[FailedEvent]) -> BatchAnswer:
    """The answer to a batch of which these events were refused."""
    retriable = sum(each.retriable for each in failed)
    summary = Summary(
        received=received,
        successful=received - len(failed),
        failed=len(failed),
        retriable=retriable,
        non_retriable=len(failed) - retriable,
    )
    return BatchAnswer("partial_success" if failed else "success", summary, failed)


def joined(answers: Iterable[Recorded]) -> Recorded:
    """One answer to events that were sent in several batches, each event by its place among all of them."""
    received = applied = duplicates = 0
    rejected: list[RejectedEvent] = []
    for answer in answers:
        rejected += [RejectedEvent(received + each.index, each.errors) for each in answer.rejected]
        received += answer.received
        applied += answer.applied
        duplicates += answer.duplicates
    return Recorded(received, applied, duplicates, rejected)


def joined_batches(answers: Iterable[BatchAnswer]) -> BatchAnswer:
    """The same of OpenLineage's events."""
    received, failed = 0, list[FailedEvent]()
    for answer in answers:
        failed += [FailedEvent(received + each.index, each.reason, each.retriable) for each in answer.failed_events]
        received += answer.summary.received
    return batch_answer(received, failed)
