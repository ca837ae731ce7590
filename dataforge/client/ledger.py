"""What a program may ask of the ledger and tell it, however it reaches it.

Guarantees that both ways, over HTTP and straight to the database, answer with equal values and refuse with the same
errors: InvalidInput that names each field, NotFound with names that would work, Conflict, and Unreachable, of one
line, where the ledger cannot answer now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from dataforge.model.arrival import ArrivalQuestion, Arrivals
from dataforge.model.backfill import (
    BackfillDetail,
    BackfillFilter,
    Backfilling,
    BackfillItem,
    ItemFilter,
    Plan,
    PlanItem,
    Verb,
)
from dataforge.model.catalog import DatasetItem, PartitionPage, RejectItem, RunItem, TaskItem, UpdateItem
from dataforge.model.change import Change, Changes, Newest
from dataforge.model.claim import (
    DONE,
    AllEnded,
    Beaten,
    ClaimedEach,
    ClaimingEach,
    ClaimingTogether,
    Ended,
    EndOf,
    Granted,
    Outcome,
    Together,
)
from dataforge.model.declaration import Declared
from dataforge.model.filter import (
    DatasetFilter,
    FindingFilter,
    PartitionFilter,
    RejectFilter,
    RunFilter,
    Shape,
    TaskFilter,
    UpdateFilter,
)
from dataforge.model.finding import Finding
from dataforge.model.freshness import FreshnessAnswers, FreshnessQuestion
from dataforge.model.lineage import Direction, Graph, PartitionGraph
from dataforge.model.listing import Page
from dataforge.model.mirror import MirrorItem, Mirrors
from dataforge.model.partition_set import KeyFilter, SetKey
from dataforge.model.question import Answers, Named
from dataforge.model.recorded import BatchAnswer, Recorded
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.model.rerun import Downstream, Reruns
from dataforge.model.state import PartitionStatus
from dataforge.model.wakeup import Queue, Wakeups

Item = TypeVar("Item")


class Ledger(Protocol):
    """The verbs. All of them may be repeated: what was recorded or declared already changes nothing."""

    def record(self, events: Sequence[Mapping[str, Any]]) -> Recorded:
        """Records native events, any number of them, up to 10,000 in one transaction. Bad ones are kept in the
        rejects and named in the answer. When this raises, some of the events may be recorded: send all again."""
        ...

    def lineage(self, events: Sequence[Mapping[str, Any]]) -> BatchAnswer:
        """Records OpenLineage events in the same way."""
        ...

    def readiness(self, questions: Sequence[Named]) -> Answers:
        """Verdicts on up to 1,000 partitions of tasks, of one moment and in the order asked."""
        ...

    def freshness(self, questions: Sequence[FreshnessQuestion]) -> FreshnessAnswers:
        """Whether up to 5,000 partitions are older than what they were built from, in the order asked."""
        ...

    def arrivals(self, questions: Sequence[ArrivalQuestion]) -> Arrivals:
        """Whether up to 1,000 datasets were seen, and come when they usually do, in the order asked."""
        ...

    def changes(self, after: str | None = None, limit: int = 100, kind: NodeKind | None = None) -> Changes:
        """What has changed since the position of the page before: None is the beginning, `now` only what comes."""
        ...

    def latest(
        self, datasets: Sequence[DatasetRef], each: int = 30, statuses: Sequence[PartitionStatus] = ()
    ) -> tuple[Change, ...]:
        """The present states of the last `each` partitions of up to 1,000 datasets, the newest key first; only those in
        one of these `statuses`, where any are named."""
        ...

    def newest(
        self, datasets: Sequence[DatasetRef], after: str | None = None, before: str | None = None, limit: int = 100
    ) -> Newest:
        """What changed of up to 10,000 datasets behind one position and up to another, the newest first: None is the
        beginning, or the present. With `before` set to an answer's `rest` the next question goes on with older ones."""
        ...

    def tell_mirror(self, name: str, shown_through: datetime, waiting: int = 0) -> MirrorItem:
        """Says how far somebody has come who shows the ledger's states elsewhere: all that changed before a time."""
        ...

    def mirrors(self) -> Mirrors:
        """How far each of those had come when it last said so, by name."""
        ...

    def tasks(self, wanted: TaskFilter) -> Page[TaskItem]:
        """One page of the tasks that were declared or seen."""
        ...

    def datasets(self, wanted: DatasetFilter) -> Page[DatasetItem]:
        """One page of the datasets, each once, under its canonical name."""
        ...

    def runs(self, wanted: RunFilter) -> Page[RunItem]:
        """One page of the runs, or of their attempts, the latest start first."""
        ...

    def partitions(self, wanted: PartitionFilter) -> PartitionPage:
        """One page of partition states; those of one task or dataset in the order of their keys."""
        ...

    def updates(self, wanted: UpdateFilter) -> Page[UpdateItem]:
        """One page of the dataset updates that a run of a triggered task consumed, or that wait for its next run."""
        ...

    def rejects(self, wanted: RejectFilter) -> Page[RejectItem]:
        """One page of what was refused, the latest first."""
        ...

    def findings(self, wanted: FindingFilter) -> Page[Finding]:
        """One page of what history shows to be wrong, the worst of the page first."""
        ...

    def set_keys(self, name: str, wanted: KeyFilter) -> Page[SetKey]:
        """One page of the keys of a dynamic set, in their order; `listed` says whether it holds a key now."""
        ...

    def graph(
        self,
        name: str,
        namespace: str | None = None,
        direction: Direction = "both",
        depth: int | None = None,
        kind: NodeKind | None = None,
        at: datetime | None = None,
        partition: str | None = None,
    ) -> Graph | PartitionGraph:
        """What lies within `depth` steps (None: any) up- or downstream of a task or dataset; now, or as of a time. With
        a `partition` (of what has none: "") the partitions up- and downstream of that one, of now and of both kinds."""
        ...

    def declare(self, source: str, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Declared:
        """Makes the manifest all that this source declares; with `dry_run` only says what that would change."""
        ...

    def rerun(
        self,
        name: str,
        partition: str = "",
        *,
        reason: str,
        downstream: Downstream = "none",
        by: str = "unknown",
        namespace: str | None = None,
    ) -> Reruns:
        """Orders a done partition to be run again, with `downstream` what was built from it too."""
        ...

    def plan_backfill(self, wanted: Backfilling) -> Plan:
        """What a backfill would build, in which order, and what it would leave as it is; changes nothing."""
        ...

    def backfill(self, wanted: Backfilling) -> Plan:
        """Begins a backfill. Where its answer is lost it is asked again under the same id, and begins once."""
        ...

    def backfills(self, wanted: BackfillFilter) -> Page[BackfillItem]:
        """One page of the backfills, the latest first."""
        ...

    def backfill_detail(self, backfill: str) -> BackfillDetail:
        """How far a backfill has come, by interval, and what was done with it."""
        ...

    def backfill_partitions(self, backfill: str, wanted: ItemFilter) -> Page[PlanItem]:
        """One page of a backfill's partitions, in the order of its plan."""
        ...

    def change_backfill(self, backfill: str, verb: Verb, *, by: str = "unknown", reason: str = "") -> BackfillDetail:
        """Pauses, resumes, cancels or retries a backfill. Raises Conflict where that cannot be."""
        ...

    def wakeups(self, limit: int = 100, queue: Queue = "all") -> Wakeups:
        """What to claim next, what is live first and then the greatest priority; or of one queue alone."""
        ...

    def claim(
        self, name: str, partition: str = "", *, worker: str, lease_seconds: int = 300, namespace: str | None = None
    ) -> Granted:
        """The right to run a partition of a task. Raises ClaimRefused with the verdict where it may not run now."""
        ...

    def heartbeat(self, claim: str, lease_seconds: int = 300) -> Granted:
        """Extends a lease. Raises Fenced where it has run out: stop then."""
        ...

    def complete(self, claim: str, outcome: Outcome = DONE) -> Ended:
        """Says that the attempt has succeeded. Raises Fenced where it is no longer its worker's to say."""
        ...

    def fail(self, claim: str, error: str | None = None) -> Ended:
        """Says that the attempt has failed."""
        ...

    def release(self, claim: str, error: str | None = None) -> Ended:
        """Gives an attempt back unfinished, which counts as failed."""
        ...

    def claim_together(self, wanted: ClaimingTogether) -> Together:
        """The right to run all of these partitions, which one worker runs as one. Raises ClaimRefused with the verdicts
        on those that may not run now; then nothing is granted."""
        ...

    def claim_each(self, wanted: ClaimingEach) -> ClaimedEach:
        """The right to run those of up to 1,000 partitions that may run now, each for itself, and why the others may
        not."""
        ...

    def heartbeat_all(self, claims: Sequence[str], lease_seconds: int = 300) -> Beaten:
        """Extends up to 10,000 leases, and tells which have run out."""
        ...

    def end_all(self, ends: Sequence[EndOf]) -> AllEnded:
        """Says of up to 10,000 attempts how they ended, and tells which are no longer their worker's to say."""
        ...

    def close(self) -> None:
        """Gives connections back; nothing may be asked after it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def each(listing: Callable[[Shape], Page[Item]], wanted: Shape) -> Iterator[Item]:
    """Every item of a list, page by page: `for run in each(ledger.runs, RunFilter(state=RunState.FAILED))`."""
    while True:
        page = listing(wanted)
        yield from page.items
        if page.next_cursor is None:
            return
        wanted = msgspec.structs.replace(wanted, cursor=page.next_cursor)
