"""The answer to "may this task run for this partition?", as every interface shows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dataforge.model.reference import NodeKind, TaskRef

Basis = Literal["declared", "observed"]
Fate = Literal["skipped", "upstream_failed"]


class Status(StrEnum):
    """Where a partition of a task stands."""

    RUNNABLE = "runnable"
    WAITING = "waiting"  # it will come by itself
    BLOCKED = "blocked"  # someone must act
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"
    UNKNOWN = "unknown"


class Code(StrEnum):
    """Why a partition may not run. They are listed in this order: first what concerns the question and the task
    itself, then what somebody must mend, then what comes by itself."""

    NO_SUCH_TASK = "no_such_task"
    NO_SUCH_DATASET = "no_such_dataset"
    NO_SUCH_PARTITION = "no_such_partition"
    PARTITION_UNKNOWN = "partition_unknown"
    DETAIL_ENDED = "detail_ended"
    ALREADY_DONE = "already_done"
    ALREADY_RUNNING = "already_running"
    CANCELED = "canceled"
    PAUSED = "paused"
    GATE_PENDING = "gate_pending"
    DEPENDENCIES_UNKNOWN = "dependencies_unknown"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_QUARANTINED = "upstream_quarantined"
    UPSTREAM_SKIPPED = "upstream_skipped"
    UPSTREAM_STALE = "upstream_stale"
    CONDITION_UNMET = "condition_unmet"
    UPSTREAM_UNCONFIRMED = "upstream_unconfirmed"
    UPSTREAM_MISSING = "upstream_missing"
    UPSTREAM_RUNNING = "upstream_running"
    BRANCH_UNDECIDED = "branch_undecided"
    NOT_BEFORE = "not_before"
    POOL_FULL = "pool_full"
    RERUN_ORDERED = "rerun_ordered"
    MARKED = "marked"
    OBSERVED_CYCLE = "observed_cycle"


_RANK = {code: rank for rank, code in enumerate(Code)}


class NodeRef(msgspec.Struct, frozen=True, order=True):
    """A task or dataset that something depends on."""

    kind: Annotated[NodeKind, Meta(description="Whether it is a task or a dataset.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name.")]


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step on the way to what changed: a partition that is itself stale, or at the end the one that changed."""

    message: Annotated[str, Meta(description="The step in a sentence.")]
    upstream: Annotated[NodeRef, Meta(description="The task or dataset.")]
    partition: Annotated[str | None, Meta(description="Its partition.")] = None
    state: Annotated[str | None, Meta(description="stale on the way; of what changed the state it is in.")] = None
    since: Annotated[datetime | None, Meta(description="When it was built; of what changed, when it did.")] = None
    run: Annotated[str | None, Meta(description="The run that did so, by its platform's own id.")] = None
    owner: Annotated[str | None, Meta(description="Who answers for it.")] = None


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that stands in the way, or one to know of. What does not apply is left out."""

    code: Annotated[Code, Meta(description="What kind of reason it is.")]
    message: Annotated[str, Meta(description="The reason in a sentence.")]
    upstream: Annotated[NodeRef | None, Meta(description="The upstream that it is about.")] = None
    partition: Annotated[str | None, Meta(description="The partition of that upstream.")] = None
    state: Annotated[str | None, Meta(description="The state of that partition.")] = None
    since: Annotated[datetime | None, Meta(description="Since when it is so.")] = None
    owner: Annotated[str | None, Meta(description="Who answers for it.")] = None
    expected_at: Annotated[datetime | None, Meta(description="When it should be over, by its history.")] = None
    run: Annotated[str | None, Meta(description="The run that made it so, by its platform's own id.")] = None
    mapping: Annotated[
        str | None,
        Meta(description="How the edge to that upstream is mapped, as a manifest has it; absent where same."),
    ] = None
    condition: Annotated[
        str | None, Meta(description="What the edge asks of that upstream, where that is more or else than a success.")
    ] = None
    because: Annotated[
        tuple[Cause, ...],
        Meta(description="Of an upstream that is stale itself the way up to what changed, the nearest step first."),
    ] = ()

    @property
    def order(self) -> tuple[int, NodeRef, str, str]:
        """Where it stands among others."""
        return (_RANK[self.code], self.upstream or NodeRef("task", "", ""), self.partition or "", self.message)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one partition of a task may run, with every reason why not."""

    task: Annotated[TaskRef, Meta(description="The task.")]
    partition: Annotated[str | None, Meta(description="Its partition; null where the question names none.")]
    runnable: Annotated[bool, Meta(description="Whether a claim would be granted, were the basis trusted.")]
    status: Annotated[Status, Meta(description="Where it stands.")]
    fate: Annotated[
        Fate | None,
        Meta(description="What Airflow marks a task that it can no longer start; null where it still can."),
    ] = None
    basis: Annotated[
        Basis, Meta(description="Whether it rests on declarations alone, or also on what was only observed.")
    ]
    reasons: Annotated[tuple[Reason, ...], Meta(description="Every unmet reason; none if it may run.")]
    warnings: Annotated[tuple[Reason, ...], Meta(description="What to know although it does not stand in the way.")]
    observed_through: Annotated[
        dict[str, datetime], Meta(description="By namespace, the time of the latest event seen from it.")
    ]
    decided_at: Annotated[datetime, Meta(description="The moment it holds for.")]
    graph_version: Annotated[int, Meta(description="The version of the graph it was decided on.")]


class Unanswered(Verdict, frozen=True, kw_only=True):
    """What stands in a batch for a task that no name, or more than one, fits. It reads as a verdict too."""

    code: Annotated[Code, Meta(description="Always no_such_task.")] = Code.NO_SUCH_TASK
    candidates: Annotated[tuple[str, ...], Meta(description="Up to five tasks that may be meant.")] = ()
