"""The ledger without a server between: its use cases, on a connection to its database.

What computes on the graph is imported by the verbs that do: scipy takes longer to load than all else together, and
every process that may reach a ledger imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

from dataforge.client.request import (
    ChangesQuestion,
    GraphQuestion,
    LatestQuestion,
    NewestQuestion,
    backfill_id,
    batches,
    checked,
    claim_id,
    encoded,
    filtered,
    graph_question,
    sound,
    source_name,
)
from dataforge.dispatch import claim as claims
from dataforge.dispatch import claim_each as claims_each
from dataforge.dispatch import lease as leases
from dataforge.dispatch import rerun as reruns
from dataforge.dispatch.waiting import waiting
from dataforge.graph.follower import Follower
from dataforge.ingest import answer
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger import arrival as arrived
from dataforge.ledger import backfill_list, catalog
from dataforge.ledger import change as feed
from dataforge.ledger import findings as found
from dataforge.ledger import freshness as freshnesses
from dataforge.ledger import mirror as mirroring
from dataforge.ledger import partition_set as sets
from dataforge.ledger import readiness as verdicts
from dataforge.ledger.newest import newest as feed_from_its_end
from dataforge.model import definition
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
    Beating,
    ClaimedEach,
    Claiming,
    ClaimingEach,
    ClaimingTogether,
    Ended,
    EndOf,
    Granted,
    Outcome,
    Said,
    SayingEnds,
    Together,
)
from dataforge.model.declaration import Declared
from dataforge.model.filter import (
    DatasetFilter,
    FindingFilter,
    PartitionFilter,
    RejectFilter,
    RunFilter,
    TaskFilter,
    UpdateFilter,
)
from dataforge.model.finding import Finding
from dataforge.model.freshness import MOST_ASKED, FreshnessAnswers, FreshnessQuestion
from dataforge.model.lineage import Direction, Graph, PartitionGraph
from dataforge.model.listing import Page
from dataforge.model.mirror import MirrorItem, MirrorReport, Mirrors
from dataforge.model.partition_set import KeyFilter, SetKey
from dataforge.model.question import Answers, Named
from dataforge.model.recorded import BatchAnswer, Recorded, joined, joined_batches
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.model.rerun import Downstream, Rerunning, Reruns
from dataforge.model.state import PartitionStatus
from dataforge.model.wakeup import Queue, Wakeups
from dataforge.storage import schema
from dataforge.storage.database import Database

_Granted = TypeVar("_Granted")


class DirectClient:
    """The verbs of `Ledger`, each one transaction on this database, which is closed with it.

    Nothing connects before the first verb. Redaction is the server's task elsewhere, and so is what is trusted: give
    its rules here, and the namespaces whose tasks may be claimed on what was only observed.
    """

    def __init__(
        self,
        database: Database,
        environment: str = "dev",
        redaction: Redaction = NOTHING,
        trusted: frozenset[str] = frozenset(),
    ) -> None:
        self._unchecked = database
        self._environment = environment
        self._redaction = redaction
        self._trusted = trusted
        self._follower = Follower()

    @cached_property
    def _database(self) -> Database:
        """The database, once it has been seen to have the schema that the use cases need."""
        schema.require_newest(self._unchecked)
        return self._unchecked

    def record(self, events: Sequence[Mapping[str, Any]]) -> Recorded:
        return joined(
            answer.recorded(record_native(self._database, self._environment, batch, self._redaction))
            for batch in batches(events)
        )

    def lineage(self, events: Sequence[Mapping[str, Any]]) -> BatchAnswer:
        return joined_batches(
            answer.of_openlineage(record_openlineage(self._database, self._environment, batch, self._redaction))
            for batch in batches(events)
        )

    def readiness(self, questions: Sequence[Named]) -> Answers:
        asked = checked(questions, Named)
        return verdicts.readiness(self._database, self._environment, asked, datetime.now(UTC))

    def freshness(self, questions: Sequence[FreshnessQuestion]) -> FreshnessAnswers:
        asked = checked(questions, FreshnessQuestion, MOST_ASKED)
        return freshnesses.freshness(self._database, self._environment, asked, datetime.now(UTC))

    def arrivals(self, questions: Sequence[ArrivalQuestion]) -> Arrivals:
        asked = checked(questions, ArrivalQuestion)
        return arrived.arrivals(self._database, self._environment, asked, datetime.now(UTC))

    def changes(self, after: str | None = None, limit: int = 100, kind: NodeKind | None = None) -> Changes:
        asked = sound(ChangesQuestion(after, limit, kind))
        return feed.changes(self._database, self._environment, asked.after, asked.limit, asked.kind)

    def latest(
        self, datasets: Sequence[DatasetRef], each: int = 30, statuses: Sequence[PartitionStatus] = ()
    ) -> tuple[Change, ...]:
        asked = sound(LatestQuestion(tuple(datasets), each, tuple(statuses)))
        named = [(dataset.namespace, dataset.name) for dataset in asked.datasets]
        return feed.latest(self._database, self._environment, named, asked.each, asked.statuses)

    def newest(
        self, datasets: Sequence[DatasetRef], after: str | None = None, before: str | None = None, limit: int = 100
    ) -> Newest:
        asked = sound(NewestQuestion(tuple(datasets), after, before, limit))
        named = [(dataset.namespace, dataset.name) for dataset in asked.datasets]
        return feed_from_its_end(self._database, self._environment, named, asked.after, asked.before, asked.limit)

    def tell_mirror(self, name: str, shown_through: datetime, waiting: int = 0) -> MirrorItem:
        report = sound(MirrorReport(shown_through=shown_through, waiting=waiting))
        return mirroring.tell(self._database, self._environment, name, report, datetime.now(UTC))

    def mirrors(self) -> Mirrors:
        return mirroring.mirrors(self._database, self._environment, datetime.now(UTC))

    def tasks(self, wanted: TaskFilter) -> Page[TaskItem]:
        return catalog.tasks(self._database, self._environment, filtered(wanted))

    def datasets(self, wanted: DatasetFilter) -> Page[DatasetItem]:
        return catalog.datasets(self._database, self._environment, filtered(wanted))

    def runs(self, wanted: RunFilter) -> Page[RunItem]:
        return catalog.runs(self._database, self._environment, filtered(wanted))

    def partitions(self, wanted: PartitionFilter) -> PartitionPage:
        return catalog.partitions(self._database, self._environment, filtered(wanted), datetime.now(UTC))

    def updates(self, wanted: UpdateFilter) -> Page[UpdateItem]:
        return catalog.updates(self._database, self._environment, filtered(wanted))

    def rejects(self, wanted: RejectFilter) -> Page[RejectItem]:
        return catalog.rejects(self._database, self._environment, filtered(wanted))

    def findings(self, wanted: FindingFilter) -> Page[Finding]:
        return found.findings(self._database, self._environment, filtered(wanted), datetime.now(UTC))

    def set_keys(self, name: str, wanted: KeyFilter) -> Page[SetKey]:
        return sets.keys(self._database, self._environment, name, filtered(wanted))

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
        from dataforge.ledger.lineage import lineage, lineage_at
        from dataforge.ledger.partition_graph import lineage_of

        asked = graph_question(GraphQuestion(name, namespace, direction, depth, kind, at, partition))
        reference, window = (asked.namespace, asked.name), (asked.direction, asked.depth, asked.kind)
        if asked.partition is not None:
            now, narrowed = datetime.now(UTC), (asked.direction, asked.depth)
            return lineage_of(self._database, self._environment, reference, asked.partition, now, *narrowed)
        if asked.at is not None:
            return lineage_at(self._database, self._environment, reference, asked.at, *window)
        return lineage(self._database, self._follower, self._environment, reference, *window)

    def declare(self, source: str, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Declared:
        from dataforge.ledger.declare import declare

        parsed = definition.parse_named(encoded(manifest, "$"), source_name(source))
        return declare(self._database, self._environment, parsed, dry_run=dry_run)

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
        wanted = Rerunning(
            name=name, namespace=namespace, partition=partition, reason=reason, downstream=downstream, by=by
        )
        now = datetime.now(UTC)
        return reruns.rerun(self._database, self._environment, sound(wanted), now, redaction=self._redaction)

    def plan_backfill(self, wanted: Backfilling) -> Plan:
        from dataforge.dispatch import backfill as backfills

        return backfills.preview(self._database, self._environment, sound(wanted), datetime.now(UTC))

    def backfill(self, wanted: Backfilling) -> Plan:
        from dataforge.dispatch import backfill as backfills

        return backfills.begin(self._database, self._environment, sound(wanted), datetime.now(UTC))

    def backfills(self, wanted: BackfillFilter) -> Page[BackfillItem]:
        return backfill_list.backfills(self._database, self._environment, filtered(wanted))

    def backfill_detail(self, backfill: str) -> BackfillDetail:
        return backfill_list.detail(self._database, self._environment, backfill_id(backfill), datetime.now(UTC))

    def backfill_partitions(self, backfill: str, wanted: ItemFilter) -> Page[PlanItem]:
        return backfill_list.items(self._database, self._environment, backfill_id(backfill), filtered(wanted))

    def change_backfill(self, backfill: str, verb: Verb, *, by: str = "unknown", reason: str = "") -> BackfillDetail:
        from dataforge.dispatch import backfill as backfills

        return backfills.change(
            self._database,
            self._environment,
            backfill_id(backfill),
            verb,
            datetime.now(UTC),
            by=by,
            reason=reason,
            redaction=self._redaction,
        )

    def wakeups(self, limit: int = 100, queue: Queue = "all") -> Wakeups:
        return waiting(self._database, self._environment, limit, datetime.now(UTC), queue)

    def claim(
        self, name: str, partition: str = "", *, worker: str, lease_seconds: int = 300, namespace: str | None = None
    ) -> Granted:
        asked = Claiming(
            name=name, namespace=namespace, partition=partition, worker=worker, lease_seconds=lease_seconds
        )
        return self._claimed(claims.claim, asked)

    def heartbeat(self, claim: str, lease_seconds: int = 300) -> Granted:
        return leases.beat(self._database, self._environment, claim_id(claim), lease_seconds, datetime.now(UTC))

    def complete(self, claim: str, outcome: Outcome = DONE) -> Ended:
        return self._end(claim, "completed", outcome)

    def fail(self, claim: str, error: str | None = None) -> Ended:
        return self._end(claim, "failed", Outcome(error=error))

    def release(self, claim: str, error: str | None = None) -> Ended:
        return self._end(claim, "released", Outcome(error=error))

    def claim_together(self, wanted: ClaimingTogether) -> Together:
        return self._claimed(claims.claim_together, wanted)

    def claim_each(self, wanted: ClaimingEach) -> ClaimedEach:
        return self._claimed(claims_each.claim_each, wanted)

    def heartbeat_all(self, claims: Sequence[str], lease_seconds: int = 300) -> Beaten:
        asked = sound(Beating(claims=tuple(claims), lease_seconds=lease_seconds))
        return leases.beat_all(self._database, self._environment, asked.claims, asked.lease_seconds, datetime.now(UTC))

    def end_all(self, ends: Sequence[EndOf]) -> AllEnded:
        said = sound(SayingEnds(ends=tuple(ends)))
        return leases.end_all(
            self._database, self._environment, said.ends, datetime.now(UTC), redaction=self._redaction
        )

    def _claimed(self, claim: Callable[..., _Granted], wanted: Claiming | ClaimingTogether | ClaimingEach) -> _Granted:
        now, may = datetime.now(UTC), {"trusted": self._trusted, "redaction": self._redaction}
        return claim(self._database, self._environment, sound(wanted), now, **may)

    def _end(self, claim: str, ending: Said, outcome: Outcome) -> Ended:
        said, at = sound(outcome), datetime.now(UTC)
        return leases.end(
            self._database, self._environment, claim_id(claim), ending, said, at, redaction=self._redaction
        )

    def close(self) -> None:
        self._unchecked.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
