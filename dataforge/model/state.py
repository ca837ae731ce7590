"""The states of a run and of a partition, what an outcome rests on, and which statement about a run wins."""

from datetime import datetime
from enum import IntEnum, StrEnum

import msgspec


class RunState(StrEnum):
    """States of one attempt or run. Their order here is their rank: of two statements with the same evidence
    the later in this list wins, so a late START never reopens a run and FAIL beats a COMPLETE (Spark says both).
    """

    UNKNOWN = "unknown"
    QUEUED = "queued"
    RUNNING = "running"
    UP_FOR_RETRY = "up_for_retry"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    CANCELED = "canceled"
    UPSTREAM_FAILED = "upstream_failed"
    FAILED = "failed"

    @property
    def rank(self) -> int:
        return _RANK[self]

    @property
    def final(self) -> bool:
        """Whether the run, and not only this try of it, is over."""
        return self in FINAL


_RANK = {state: rank for rank, state in enumerate(RunState)}
FINAL = frozenset({RunState.SUCCEEDED, RunState.SKIPPED, RunState.CANCELED, RunState.UPSTREAM_FAILED, RunState.FAILED})


class Evidence(IntEnum):
    """What an outcome rests on; a higher value wins whatever the order of arrival."""

    INFERRED = 0  # concluded from something that cannot know it, such as Spark's own COMPLETE
    REPORTED = 1  # the run's own event
    CONFIRMED = 2  # the platform's API, the parent's outcome, an exit code
    OPERATOR = 3  # a person marked, cleared or skipped it

    @property
    def label(self) -> str:
        return _LABELS[self]

    @classmethod
    def of(cls, label: str) -> "Evidence":
        return _EVIDENCE[label]


_LABELS = {evidence: evidence.name.lower() for evidence in Evidence}
_EVIDENCE = {label: evidence for evidence, label in _LABELS.items()}


class RunKind(StrEnum):
    """What a run is of: a task; the DAG or dbt invocation that holds tasks; a step inside one (a Spark action)."""

    TASK = "task"
    DAG = "dag"
    STEP = "step"


class PartitionStatus(StrEnum):
    """What the ledger believes of one partition of a task or dataset."""

    MISSING = "missing"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    SKIPPED = "skipped"
    STALE = "stale"
    QUARANTINED = "quarantined"


class Statement(msgspec.Struct, frozen=True):
    """One statement about the state of an attempt: who could know it, what, when, and by which event."""

    evidence: Evidence
    state: RunState
    at: datetime
    event: bytes

    @property
    def precedence(self) -> tuple[int, int, datetime, bytes]:
        """Total order of statements about one attempt (invariant I1); the greatest is believed."""
        return (self.evidence, self.state.rank, self.at, self.event)


def strongest(first: Statement, second: Statement) -> Statement:
    """The statement that is believed; commutative, associative and idempotent."""
    return max(first, second, key=lambda statement: statement.precedence)
