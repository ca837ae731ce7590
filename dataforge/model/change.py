"""The feed of changes: what became of each partition, for readers who keep a mirror of it.

Guarantees that a state has one name wherever and however often it is derived: `mirror_id` is a function of the state
alone, so that a reader who is given a state again, by a replay or from the feed's beginning, knows it as such.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta

from dataforge.model.catalog import EvidenceLabel, NodeName
from dataforge.model.reference import NodeKind
from dataforge.model.state import PartitionStatus, RunState

MOST_CHANGES = 1_000  # in one page of the feed
MOST_DATASETS = 1_000  # in one question for the latest states
MOST_EACH = 1_000  # partitions of each of them
MOST_LATEST = 50_000  # partitions in one answer to it
MOST_FOLLOWED = 10_000  # datasets in one question for the newest changes


class Producer(msgspec.Struct, frozen=True, kw_only=True):
    """A run that made a partition what it is, as it stands now."""

    task: Annotated[NodeName, Meta(description="The task that ran.")]
    run: Annotated[str, Meta(description="The platform's own id of the execution.")]
    attempt: Annotated[int | None, Meta(description="The number of its last attempt; null if it is not known.")] = None
    state: Annotated[RunState | None, Meta(description="The run's state; null if nothing else is known of it.")] = None
    source: Annotated[dict[str, str | int | None], Meta(description="What its platform calls it.")] = {}
    error: Annotated[str | None, Meta(description="The error it ended with; null if there is none.")] = None


class LastSuccess(msgspec.Struct, frozen=True, kw_only=True):
    """The last success of a partition, which a failed re-run keeps."""

    since: Annotated[datetime | None, Meta(description="When it became ready.")]
    version: Annotated[str | None, Meta(description="The version of the data it made.")]
    producer: Annotated[Producer, Meta(description="The run that made it ready.")]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The present state of one partition that has changed. Of one that is cleared, since no run says anything of it
    any more, the status is missing and nothing but its name is known."""

    kind: Annotated[NodeKind, Meta(description="Whose partition it is: a task's or a dataset's.")]
    namespace: Annotated[str, Meta(description="The namespace of the task or dataset.")]
    name: Annotated[str, Meta(description="The name of the task, or the canonical name of the dataset.")]
    partition: Annotated[str | None, Meta(description="Its key; null for what has no partitions.")]
    status: Annotated[PartitionStatus, Meta(description="Its state; missing where it was cleared.")]
    state: Annotated[RunState | None, Meta(description="The state of the run that decided; null where cleared.")] = None
    evidence: Annotated[
        EvidenceLabel | None, Meta(description="What the state rests on, from weakest to strongest.")
    ] = None
    since: Annotated[datetime | None, Meta(description="Since when it is in this state.")] = None
    version: Annotated[str | None, Meta(description="The version of the data, where the run has one.")] = None
    rows: Annotated[int | None, Meta(description="Rows that the run wrote, where it counted them.")] = None
    producer: Annotated[Producer | None, Meta(description="The run that decided; null where cleared.")] = None
    owner: Annotated[
        str | None, Meta(description="Who answers for it, else for the task that decided; null if nobody is known.")
    ] = None
    ready: Annotated[LastSuccess | None, Meta(description="Its last success; null if there was none.")] = None
    mirror_id: Annotated[str, Meta(description="Names this state of this partition, in hexadecimal.")]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the feed."""

    items: Annotated[tuple[Change, ...], Meta(description="What changed, each partition once, in its present state.")]
    position: Annotated[str, Meta(description="Give it as `after` to go on from here.")]
    more: Annotated[bool, Meta(description="Whether more is waiting already.")]


class Newest(msgspec.Struct, frozen=True, kw_only=True):
    """What changed of some datasets, from the newest on."""

    items: Annotated[tuple[Change, ...], Meta(description="The newest first, each partition once, as it is now.")]
    position: Annotated[str, Meta(description="The end of the feed: give it as `after` for what comes later.")]
    rest: Annotated[
        str | None,
        Meta(description="Give it as `before`, with the same `after`, for what is older; null where all is shown."),
    ]
    waiting: Annotated[int, Meta(description="Changes that were looked at and did not fit; there may be more.")]


def mirror_id(
    node: tuple[NodeKind, str, str],
    partition: str | None,
    status: PartitionStatus,
    *,
    state: RunState | None = None,
    producer: Producer | None = None,
    since: datetime | None = None,
    version: str | None = None,
) -> str:
    """The name of a state of a partition, 32 hexadecimal digits. What is only read from elsewhere (the rows, the
    attempt, the error, the owner, the evidence, the success before) is no part of it."""
    run = None if producer is None else [producer.task.namespace, producer.task.name, producer.run]
    moment = None if since is None else since.astimezone(UTC).isoformat()
    content = [*node, partition or None, status, state, run, moment, version]
    return blake2b(msgspec.json.encode(content), digest_size=16).hexdigest()
