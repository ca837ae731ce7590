"""The ledger without a server between: its use cases, on a connection to its database.

What computes on the graph is imported by the verbs that do: scipy takes longer to load than all else together, and
every process that may reach a ledger imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from dataforge.client.request import (
    ChangesQuestion,
    GraphQuestion,
    LatestQuestion,
    batches,
    checked,
    encoded,
    filtered,
    sound,
    source_name,
)
from dataforge.graph.follower import Follower
from dataforge.ingest import answer
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger import catalog
from dataforge.ledger import change as feed
from dataforge.ledger import findings as found
from dataforge.ledger import freshness as freshnesses
from dataforge.ledger import readiness as verdicts
from dataforge.ledger.readiness import Answers, Named
from dataforge.model import definition
from dataforge.model.catalog import DatasetItem, PartitionItem, RejectItem, RunItem, TaskItem
from dataforge.model.change import Change, Changes
from dataforge.model.declaration import Declared
from dataforge.model.filter import DatasetFilter, FindingFilter, PartitionFilter, RejectFilter, RunFilter, TaskFilter
from dataforge.model.finding import Finding
from dataforge.model.freshness import FreshnessAnswers, FreshnessQuestion
from dataforge.model.lineage import Direction, Graph
from dataforge.model.listing import Page
from dataforge.model.recorded import BatchAnswer, Recorded, joined, joined_batches
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.storage import schema
from dataforge.storage.database import Database


class DirectClient:
    """The verbs of `Ledger`, each one transaction on this database, which is closed with it.

    Nothing connects before the first verb. Redaction is the server's task elsewhere: give its rules here.
    """

    def __init__(self, database: Database, environment: str = "dev", redaction: Redaction = NOTHING) -> None:
        self._unchecked = database
        self._environment = environment
        self._redaction = redaction
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
        asked = checked(questions, FreshnessQuestion)
        return freshnesses.freshness(self._database, self._environment, asked, datetime.now(UTC))

    def changes(self, after: str | None = None, limit: int = 100, kind: NodeKind | None = None) -> Changes:
        asked = sound(ChangesQuestion(after, limit, kind))
        return feed.changes(self._database, self._environment, asked.after, asked.limit, asked.kind)

    def latest(self, datasets: Sequence[DatasetRef], each: int = 30) -> tuple[Change, ...]:
        asked = sound(LatestQuestion(tuple(datasets), each))
        named = [(dataset.namespace, dataset.name) for dataset in asked.datasets]
        return feed.latest(self._database, self._environment, named, asked.each)

    def tasks(self, wanted: TaskFilter) -> Page[TaskItem]:
        return catalog.tasks(self._database, self._environment, filtered(wanted))

    def datasets(self, wanted: DatasetFilter) -> Page[DatasetItem]:
        return catalog.datasets(self._database, self._environment, filtered(wanted))

    def runs(self, wanted: RunFilter) -> Page[RunItem]:
        return catalog.runs(self._database, self._environment, filtered(wanted))

    def partitions(self, wanted: PartitionFilter) -> Page[PartitionItem]:
        return catalog.partitions(self._database, self._environment, filtered(wanted))

    def rejects(self, wanted: RejectFilter) -> Page[RejectItem]:
        return catalog.rejects(self._database, self._environment, filtered(wanted))

    def findings(self, wanted: FindingFilter) -> Page[Finding]:
        return found.findings(self._database, self._environment, filtered(wanted), datetime.now(UTC))

    def graph(
        self,
        name: str,
        namespace: str | None = None,
        direction: Direction = "both",
        depth: int | None = None,
        kind: NodeKind | None = None,
    ) -> Graph:
        from dataforge.ledger.lineage import lineage

        asked = sound(GraphQuestion(name, namespace, direction, depth, kind))
        return lineage(
            self._database,
            self._follower,
            self._environment,
            (asked.namespace, asked.name),
            asked.direction,
            asked.depth,
            asked.kind,
        )

    def declare(self, source: str, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Declared:
        from dataforge.ledger.declare import declare

        parsed = definition.parse_named(encoded(manifest, "$"), source_name(source))
        return declare(self._database, self._environment, parsed, dry_run=dry_run)

    def close(self) -> None:
        self._unchecked.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
