"""The items that lists show, with what each of their fields means: the same over HTTP and on the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dataforge.model.attempt import Touch
from dataforge.model.errors import FieldError
from dataforge.model.listing import Page
from dataforge.model.message import MessagePlace
from dataforge.model.shard import ShardCounts, ShardState
from dataforge.model.state import PartitionStatus, RunKind, RunState

EvidenceLabel = Literal["inferred", "reported", "confirmed", "operator"]
PartitionFrom = Literal["event", "declared", "parent", "root"]
Origin = Literal["declared", "observed"]
_LONGEST = 200  # characters of a value that are shown


class NodeName(msgspec.Struct, frozen=True):
    """A task or dataset by its names."""

    namespace: Annotated[str, Meta(description="The namespace, as OpenLineage gives it.")]
    name: Annotated[str, Meta(description="The name within the namespace.")]


class IntervalItem(msgspec.Struct, frozen=True):
    """A data interval, from its start to just before its end."""

    start: Annotated[datetime, Meta(description="The first moment of the interval, in UTC.")]
    end: Annotated[datetime, Meta(description="The first moment after the interval, in UTC.")]


class TouchItem(msgspec.Struct, frozen=True):
    """A dataset that a run read or wrote, under its canonical name."""

    namespace: Annotated[str, Meta(description="The dataset's namespace.")]
    name: Annotated[str, Meta(description="The dataset's canonical name.")]
    partition: Annotated[str | None, Meta(description="The partition touched; null where the run names none.")]
    version: Annotated[str | None, Meta(description="Of an input the first version seen, of an output the last.")]
    rows: Annotated[int | None, Meta(description="Rows written, where the run counted them.")]
    evidence: Annotated[
        Literal["inferred", "reported"],
        Meta(description="inferred: a job that never ended may have read it; reported: the run says so."),
    ] = "reported"

    @classmethod
    def of(cls, touch: Touch, *, guessed: bool = False) -> TouchItem:
        """A touch as lists show it; `guessed` where it rests on a job that never ended."""
        dataset, key = touch.dataset, touch.partition or None
        item = cls(dataset.namespace, dataset.name, key, touch.version, touch.rows)
        return msgspec.structs.replace(item, evidence="inferred") if guessed else item


class MarkItem(msgspec.Struct, frozen=True):
    """That a person marked a run or had it cleared."""

    by: Annotated[str, Meta(description="Who did.")]
    at: Annotated[datetime, Meta(description="When.")]
    cleared: Annotated[bool, Meta(description="Whether it is to be run again.")]
    reason: Annotated[str | None, Meta(description="Why.")]


class RunItem(msgspec.Struct, frozen=True, kw_only=True):
    """One execution as it stands after its last attempt, or one of its attempts."""

    kind: Annotated[RunKind, Meta(description="What ran: a task, a dag (or dbt invocation), or a step inside one.")]
    namespace: Annotated[str, Meta(description="The task's namespace.")]
    name: Annotated[str, Meta(description="The task's name.")]
    partition: Annotated[str | None, Meta(description="Its partition, where it has exactly one.")]
    partitions: Annotated[list[str], Meta(description="All partitions it ran for.")]
    run: Annotated[str, Meta(description="The platform's own id of the execution, map index included.")]
    attempt: Annotated[int, Meta(description="The last attempt's number, or this attempt's; 0 if it never tried.")]
    state: Annotated[RunState, Meta(description="Its state.")]
    started_at: Annotated[datetime | None, Meta(description="When it started; null if it never did.")]
    ended_at: Annotated[datetime | None, Meta(description="When it ended; null while it has not.")]
    data_interval: Annotated[IntervalItem | None, Meta(description="The interval of data it ran for.")]
    inputs: Annotated[list[TouchItem], Meta(description="What it read.")]
    outputs: Annotated[list[TouchItem], Meta(description="What it wrote.")]
    error: Annotated[str | None, Meta(description="Why it failed, in its own words.")]
    evidence: Annotated[EvidenceLabel, Meta(description="What its state rests on, from weakest to strongest.")]
    partition_from: Annotated[PartitionFrom | None, Meta(description="Where its partitions were found.")]
    version: Annotated[
        str | None,
        Meta(
            description="The version of its task that it ran: its own word, else what held then; null if nothing did."
        ),
    ]
    source: Annotated[dict[str, str | int | None], Meta(description="What its platform calls it.")]
    marked: Annotated[
        MarkItem | None, Meta(description="What a person said of it, where its state rests on that; else null.")
    ] = None
    shards: Annotated[
        ShardCounts | None, Meta(description="Its shards, as all its attempts told of them; null where it has none.")
    ] = None


class ShardItem(msgspec.Struct, frozen=True):
    """One shard of a run."""

    key: Annotated[str, Meta(description="Its key, which is its own within the run.")]
    state: Annotated[ShardState, Meta(description="How it stands; pending: nobody has said how it ended.")]
    ended_at: Annotated[datetime | None, Meta(description="When its end was told; null while it is pending.")]
    rows: Annotated[int | None, Meta(description="Its rows, where the run counted them.")]


class TaskItem(msgspec.Struct, frozen=True, kw_only=True):
    """A task that was declared or seen."""

    namespace: Annotated[str, Meta(description="The task's namespace.")]
    name: Annotated[str, Meta(description="The task's name.")]
    kind: Annotated[RunKind, Meta(description="Whether it is a task, a dag, or a step inside one.")]
    platform: Annotated[str, Meta(description="Where it runs; empty where nobody has said.")]
    owner: Annotated[str | None, Meta(description="Who answers for it.")]
    domain: Annotated[str | None, Meta(description="The team or client it belongs to.")]
    partitioning: Annotated[dict[str, Any], Meta(description="How it is cut into partitions.")]
    partitioning_origin: Annotated[Origin, Meta(description="Whether that was declared or observed.")]
    declared_by: Annotated[str | None, Meta(description="The source that declares it; null if only observed.")]
    version: Annotated[str | None, Meta(description="The hash of its present definition, in hexadecimal.")]
    trigger_rule: Annotated[str | None, Meta(description="Which outcomes upstream let it run; null if unknown.")]
    description: Annotated[str | None, Meta(description="What it does, in its owner's words.")]
    tags: Annotated[list[str], Meta(description="Its tags, as they are declared.")] = []
    links: Annotated[dict[str, str], Meta(description="Pages about it, by what each is.")] = {}


class DatasetItem(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset under its canonical name."""

    namespace: Annotated[str, Meta(description="The dataset's namespace.")]
    name: Annotated[str, Meta(description="The dataset's canonical name.")]
    aliases: Annotated[list[NodeName], Meta(description="Its other names.")]
    owner: Annotated[str | None, Meta(description="Who answers for it.")]
    partitioning: Annotated[dict[str, Any] | None, Meta(description="How it is cut; null where nobody declared.")]
    declared_by: Annotated[str | None, Meta(description="The source that declares it; null if only observed.")]
    fields: Annotated[list[dict[str, Any]], Meta(description="Its columns as last seen: name and type.")]
    description: Annotated[str | None, Meta(description="What it holds, in its owner's words.")]
    tags: Annotated[list[str], Meta(description="Its tags, as they are declared.")] = []
    links: Annotated[dict[str, str], Meta(description="Pages about it, by what each is.")] = {}


class RunName(msgspec.Struct, frozen=True):
    """A run by its task's names and its own id."""

    namespace: Annotated[str, Meta(description="The task's namespace.")]
    name: Annotated[str, Meta(description="The task's name.")]
    run: Annotated[str, Meta(description="The platform's own id of the execution.")]


class LastReady(msgspec.Struct, frozen=True):
    """The last success of a partition, which a failed re-run keeps."""

    run: Annotated[RunName, Meta(description="The run that made it ready.")]
    since: Annotated[datetime | None, Meta(description="When it became ready.")]
    version: Annotated[str | None, Meta(description="The version of the data it made.")]


class UpdateItem(msgspec.Struct, frozen=True):
    """One update of a dataset: a success that wrote one of its partitions."""

    namespace: Annotated[str, Meta(description="The dataset's namespace.")]
    name: Annotated[str, Meta(description="The dataset's canonical name.")]
    partition: Annotated[str | None, Meta(description="The partition written; null where the dataset has none.")]
    updated_at: Annotated[datetime, Meta(description="When the run that wrote it ended.")]
    version: Annotated[str | None, Meta(description="The data version, where the run reported one.")]
    run: Annotated[RunName, Meta(description="The run that wrote it.")]


class PartitionItem(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger believes of one partition of a task or dataset."""

    kind: Annotated[Literal["task", "dataset"], Meta(description="Whose partition it is.")]
    namespace: Annotated[str, Meta(description="The namespace of the task or dataset.")]
    name: Annotated[str, Meta(description="The name of the task or dataset.")]
    partition: Annotated[str | None, Meta(description="Its key; null for what has no partitions.")]
    state: Annotated[PartitionStatus, Meta(description="Its state.")]
    since: Annotated[datetime | None, Meta(description="Since when it is in this state.")]
    evidence: Annotated[EvidenceLabel, Meta(description="What the state rests on, from weakest to strongest.")]
    run: Annotated[RunName, Meta(description="The run that decided the state.")]
    version: Annotated[str | None, Meta(description="The version of the data, where the run has one.")]
    last_ready: Annotated[LastReady | None, Meta(description="Its last success; null if there was none.")]
    reason: Annotated[
        str | None,
        Meta(
            description="Why it is quarantined, by which check or whom; why it is stale; which of its shares are not"
            " there, told of the first 100 such partitions of a page; that the declared partitioning does not have it."
            " Null where its state says all."
        ),
    ] = None


class PartitionPage(Page[PartitionItem], frozen=True, omit_defaults=True):
    """One page of partitions, and where they begin."""

    items: Annotated[list[PartitionItem], Meta(description="The partitions, in the order of their keys.")]
    next_cursor: Annotated[
        str | None,
        Meta(
            description="Where the next page begins; null at the end. A page of those in one state may hold fewer than"
            " the limit, even none, and yet have a next one."
        ),
    ]
    known_from: Annotated[
        str | None,
        Meta(
            description="The day from which on windows are listed: the detail of those before it has ended, and is in"
            " files. Absent where all are."
        ),
    ] = None


class Complaint(msgspec.Struct, frozen=True):
    """What was wrong with one field."""

    field: Annotated[str, Meta(description="The path to the field; `$` is the whole.")]
    value: Annotated[Any, Meta(description="What was given, shortened where it is long.")]
    expected: Annotated[str, Meta(description="What would have been right.")]


def complaints(errors: list[FieldError]) -> list[Complaint]:
    """The fields that are wrong, as they are shown."""
    return [Complaint(error.field, shown(error.value), error.expected) for error in errors]


def shown(value: object) -> object:
    """A value that was given, as an error shows it."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return f"{value[:_LONGEST]}…" if isinstance(value, str) and len(value) > _LONGEST else value


class RejectItem(msgspec.Struct, frozen=True, kw_only=True):
    """Input that was refused, kept as it came."""

    id: Annotated[str, Meta(description="The hash of its bytes, and of which message it was, in hexadecimal.")]
    received_at: Annotated[datetime, Meta(description="When it came.")]
    size: Annotated[int, Meta(description="Its size in bytes.")]
    errors: Annotated[list[Complaint], Meta(description="What was wrong with it.")]
    encoding: Annotated[Literal["utf-8", "base64"], Meta(description="How `body` stands for the bytes.")]
    body: Annotated[str, Meta(description="The bytes: as text if they are UTF-8, else in base64.")]
    message: Annotated[MessagePlace | None, Meta(description="Which message it was, of what came by Kafka.")] = None
