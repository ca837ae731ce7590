"""The ledger as a Dagster resource: the one door from Dagster's code to the core."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from dagster import ConfigurableResource, InitResourceContext
from pydantic import Field, PrivateAttr

from dataforge import settings as installation
from dataforge.client import Client, Ledger
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
from dataforge.model.errors import SettingsError
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

# A sensor's tick has 60 s, in which it asks two or three times: a server that hangs is to be found out before it ends.
_PATIENCE_SECONDS = 15.0
# The tick that declares asks nothing else that takes long: 5,000 assets of twenty upstreams took 12 s straight to the
# database, and 33 s over HTTP where three others shared two cores (measured).
_MANIFEST_PATIENCE_SECONDS = 45.0


class LedgerResource(ConfigurableResource[Any]):
    """The verbs of `dataforge.client.Ledger`, over HTTP or straight to the database: exactly one of the two URLs.

    Nothing connects before the first verb. What connects then is kept as long as the resource is, through a run's step
    or a sensor's tick, and closed with it.
    """

    url: str = Field(default="", description="The ledger's server, such as http://127.0.0.1:8700; empty: not by HTTP.")
    database_url: str = Field(default="", description="Its database, without a server between; empty: by HTTP.")
    environment: str = Field(default="dev", description="The ledger's environment: dev, staging, prod, ...")
    api_key: str = Field(default="", description="What the server knows this client by, where it asks for it.")

    _opened: Ledger | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=Lock)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Refuses a resource that names no ledger or two, before anything runs with it."""
        self._require_one_url()

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Closes what was opened."""
        self.close()

    def record(self, events: Sequence[Mapping[str, Any]]) -> Recorded:
        """Records native events."""
        return self._ledger.record(events)

    def lineage(self, events: Sequence[Mapping[str, Any]]) -> BatchAnswer:
        """Records OpenLineage events."""
        return self._ledger.lineage(events)

    def readiness(self, questions: Sequence[Named]) -> Answers:
        """Verdicts on up to 1,000 partitions of tasks, of one moment and in the order asked."""
        return self._ledger.readiness(questions)

    def freshness(self, questions: Sequence[FreshnessQuestion]) -> FreshnessAnswers:
        """Whether up to 5,000 partitions are older than what they were built from, in the order asked."""
        return self._ledger.freshness(questions)

    def arrivals(self, questions: Sequence[ArrivalQuestion]) -> Arrivals:
        """Whether up to 1,000 datasets were seen, and come when they usually do, in the order asked."""
        return self._ledger.arrivals(questions)

    def changes(self, after: str | None = None, limit: int = 100, kind: NodeKind | None = None) -> Changes:
        """What has changed since the position of the page before."""
        return self._ledger.changes(after, limit, kind)

    def latest(
        self, datasets: Sequence[DatasetRef], each: int = 30, statuses: Sequence[PartitionStatus] = ()
    ) -> tuple[Change, ...]:
        """The present states of the last `each` partitions of these datasets."""
        return self._ledger.latest(datasets, each, statuses)

    def newest(
        self, datasets: Sequence[DatasetRef], after: str | None = None, before: str | None = None, limit: int = 100
    ) -> Newest:
        """What changed of these datasets between two positions, the newest first."""
        return self._ledger.newest(datasets, after, before, limit)

    def tell_mirror(self, name: str, shown_through: datetime, waiting: int = 0) -> MirrorItem:
        """Says how far a mirror has come."""
        return self._ledger.tell_mirror(name, shown_through, waiting)

    def mirrors(self) -> Mirrors:
        """How far each mirror had come when it last said so."""
        return self._ledger.mirrors()

    def tasks(self, wanted: TaskFilter) -> Page[TaskItem]:
        """One page of the tasks."""
        return self._ledger.tasks(wanted)

    def datasets(self, wanted: DatasetFilter) -> Page[DatasetItem]:
        """One page of the datasets."""
        return self._ledger.datasets(wanted)

    def runs(self, wanted: RunFilter) -> Page[RunItem]:
        """One page of the runs, or of their attempts."""
        return self._ledger.runs(wanted)

    def partitions(self, wanted: PartitionFilter) -> PartitionPage:
        """One page of partition states."""
        return self._ledger.partitions(wanted)

    def updates(self, wanted: UpdateFilter) -> Page[UpdateItem]:
        """One page of the dataset updates that a run of a triggered task consumed, or that wait for its next run."""
        return self._ledger.updates(wanted)

    def rejects(self, wanted: RejectFilter) -> Page[RejectItem]:
        """One page of what was refused."""
        return self._ledger.rejects(wanted)

    def findings(self, wanted: FindingFilter) -> Page[Finding]:
        """One page of what history shows to be wrong."""
        return self._ledger.findings(wanted)

    def set_keys(self, name: str, wanted: KeyFilter) -> Page[SetKey]:
        """One page of the keys of a dynamic set."""
        return self._ledger.set_keys(name, wanted)

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
        """What lies up- or downstream of a task or dataset, now or as of a time, or of one partition."""
        return self._ledger.graph(name, namespace, direction, depth, kind, at, partition)

    def declare(self, source: str, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Declared:
        """Makes the manifest all that this source declares."""
        return self._ledger.declare(source, manifest, dry_run=dry_run)

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
        """Orders a done partition to be run again."""
        return self._ledger.rerun(name, partition, reason=reason, downstream=downstream, by=by, namespace=namespace)

    def plan_backfill(self, wanted: Backfilling) -> Plan:
        """What a backfill would build."""
        return self._ledger.plan_backfill(wanted)

    def backfill(self, wanted: Backfilling) -> Plan:
        """Begins a backfill."""
        return self._ledger.backfill(wanted)

    def backfills(self, wanted: BackfillFilter) -> Page[BackfillItem]:
        """One page of the backfills."""
        return self._ledger.backfills(wanted)

    def backfill_detail(self, backfill: str) -> BackfillDetail:
        """How far a backfill has come."""
        return self._ledger.backfill_detail(backfill)

    def backfill_partitions(self, backfill: str, wanted: ItemFilter) -> Page[PlanItem]:
        """One page of a backfill's partitions."""
        return self._ledger.backfill_partitions(backfill, wanted)

    def change_backfill(self, backfill: str, verb: Verb, *, by: str = "unknown", reason: str = "") -> BackfillDetail:
        """Pauses, resumes, cancels or retries a backfill."""
        return self._ledger.change_backfill(backfill, verb, by=by, reason=reason)

    def wakeups(self, limit: int = 100, queue: Queue = "all") -> Wakeups:
        """What to claim next."""
        return self._ledger.wakeups(limit, queue)

    def claim(
        self, name: str, partition: str = "", *, worker: str, lease_seconds: int = 300, namespace: str | None = None
    ) -> Granted:
        """The right to run a partition of a task."""
        return self._ledger.claim(name, partition, worker=worker, lease_seconds=lease_seconds, namespace=namespace)

    def heartbeat(self, claim: str, lease_seconds: int = 300) -> Granted:
        """Extends a lease."""
        return self._ledger.heartbeat(claim, lease_seconds)

    def complete(self, claim: str, outcome: Outcome = DONE) -> Ended:
        """Says that a claimed attempt has succeeded."""
        return self._ledger.complete(claim, outcome)

    def fail(self, claim: str, error: str | None = None) -> Ended:
        """Says that a claimed attempt has failed."""
        return self._ledger.fail(claim, error)

    def release(self, claim: str, error: str | None = None) -> Ended:
        """Gives a claimed attempt back unfinished."""
        return self._ledger.release(claim, error)

    def claim_together(self, wanted: ClaimingTogether) -> Together:
        """The right to run several partitions as one."""
        return self._ledger.claim_together(wanted)

    def claim_each(self, wanted: ClaimingEach) -> ClaimedEach:
        """The right to run several partitions, each for itself."""
        return self._ledger.claim_each(wanted)

    def heartbeat_all(self, claims: Sequence[str], lease_seconds: int = 300) -> Beaten:
        """Extends leases."""
        return self._ledger.heartbeat_all(claims, lease_seconds)

    def end_all(self, ends: Sequence[EndOf]) -> AllEnded:
        """Says how several attempts ended."""
        return self._ledger.end_all(ends)

    def page_of(self, change: Change) -> str | None:
        """Where the ledger shows a partition over HTTP; None for a ledger that is reached without."""
        if not self.url:
            return None
        given = {"kind": change.kind, "namespace": change.namespace, "name": change.name, "partition": change.partition}
        query = urlencode({key: value for key, value in given.items() if value is not None})
        return f"{self.url.rstrip('/')}/api/v1/{self.environment}/partitions?{query}"

    def close(self) -> None:
        """Gives connections back; the next verb opens new ones."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _ledger(self) -> Ledger:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> Ledger:
        self._require_one_url()
        if self.url:
            return Client(
                self.url,
                self.environment,
                self.api_key or None,
                patience=_PATIENCE_SECONDS,
                manifest_patience=_MANIFEST_PATIENCE_SECONDS,
            )
        # Imported only now: it takes longer to load than all else of this, and over HTTP it is not needed.
        from dataforge.client import DirectClient
        from dataforge.ingest import redaction
        from dataforge.storage.database import Database

        # Redaction is the server's task, and so is what is trusted; where there is none between, they are ours.
        settings = installation.current()
        rules = redaction.load(settings.redaction)
        return DirectClient(Database(self.database_url, max_size=4), self.environment, rules, settings.trusted)

    def _require_one_url(self) -> None:
        if bool(self.url) == bool(self.database_url):
            given = "both" if self.url else "neither"
            raise SettingsError("url or database_url of the ledger's resource", given, "exactly one of the two")
