"""Rows as recording and declaring would write them, and the verdict on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dataforge.ledger.readiness import verdict
from dataforge.model.question import Named
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

NOW = datetime(2026, 11, 3, 6, 0, tzinfo=UTC)
DAY = "2026-11-01"
DAILY = {"kind": "daily", "start": "2026-01-01"}
ENVIRONMENT = 1  # dev


class Ledger:
    """Writes rows as recording and declaring would."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._insert("definition_source", environment=ENVIRONMENT, source="test", manifest=Jsonb({}))

    def task(
        self,
        name: str,
        *,
        partitioning: dict[str, Any] | None = None,
        definition: dict[str, Any] | None = None,
        observed: dict[str, Any] | None = None,
        platform: str = "airflow",
        namespace: str = "ns",
        **more: Any,
    ) -> TaskRef:
        ref = TaskRef(namespace, name)
        self._insert(
            "task",
            environment=ENVIRONMENT,
            id=ref.id,
            namespace=namespace,
            name=name,
            platform=platform,
            seen=observed is not None,
            observed=Jsonb({field: ["2026-11-01", "00", value] for field, value in (observed or {}).items()}),
            owner=f"team-{name}",
            partitioning=Jsonb(partitioning or {"kind": "none"}),
            partitioning_origin="declared" if definition and partitioning else "observed",
            **({"declared_by": "test", "definition": Jsonb(definition), "version": b"v"} if definition else {}),
            **more,
        )
        return ref

    def declared(self, name: str, partitioning: dict[str, Any] | None = None, **definition: Any) -> TaskRef:
        return self.task(name, partitioning=partitioning or DAILY, definition={"name": name, **definition})

    def dataset(
        self, name: str, *, partitioning: dict[str, Any] | None = None, canonical: DatasetRef | None = None
    ) -> DatasetRef:
        ref = DatasetRef("s3", name)
        cut = None if partitioning is None else Jsonb(partitioning)
        self._insert(
            "dataset",
            environment=ENVIRONMENT,
            id=ref.id,
            namespace="s3",
            name=name,
            canonical_id=(canonical or ref).id,
            partitioning=cut,
        )
        return ref

    def edge(
        self, task: TaskRef, node: TaskRef | DatasetRef, relation: str = "consumes", *, seen: bool = False, **more: Any
    ) -> None:
        at = NOW if seen else None
        self._insert(
            "edge",
            environment=ENVIRONMENT,
            task_id=task.id,
            relation=relation,
            node_kind="task" if isinstance(node, TaskRef) else "dataset",
            node_id=node.id,
            origin="observed" if seen else "declared",
            source="" if seen else "test",
            first_at=at,
            last_at=at,
            **{key: Jsonb(value) if isinstance(value, dict) else value for key, value in more.items()},
        )

    def state(
        self,
        node: TaskRef | DatasetRef,
        run_state: str,
        partition: str = DAY,
        *,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        **more: Any,
    ) -> None:
        status = {"succeeded": "ready", "skipped": "skipped", "running": "running"}.get(run_state, "failed")
        ready = {
            "ready_task_id": node.id,
            "ready_run": partition or "r",
            "ready_since": ended_at,
            "ready_began": started_at,
        }
        self._insert(
            "partition_state",
            environment=ENVIRONMENT,
            node_kind="task" if isinstance(node, TaskRef) else "dataset",
            node_id=node.id,
            partition=partition,
            task_id=node.id,
            run=partition or "r",
            began=started_at,
            **{"status": status, "run_state": run_state, "evidence": "reported", "since": ended_at or started_at}
            | (ready if status == "ready" else {})
            | more,
        )

    def order(self, node: TaskRef | DatasetRef, partition: str, kind: str, value: Any = True) -> None:
        self._insert(
            "control",
            environment=ENVIRONMENT,
            scope="task" if isinstance(node, TaskRef) else "dataset",
            subject_id=node.id,
            partition=partition,
            kind=kind,
            name="",
            namespace=node.namespace,
            subject=node.name,
            value=Jsonb(value),
            at=NOW - timedelta(hours=2),
            said_by=bytes(16),
            ordered_by="ada",
        )

    def _insert(self, table: str, **values: Any) -> None:
        columns = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, values))
        statement = psycopg.sql.SQL("insert into {} ({}) values ({})").format(
            psycopg.sql.Identifier(table), columns, psycopg.sql.SQL(", ").join(psycopg.sql.Placeholder() * len(values))
        )
        self.connection.execute(statement, list(values.values()))


def ask(database: Database, name: str, partition: str = DAY) -> Verdict:
    return verdict(database, "dev", Named(name, None, partition), NOW)


def reasons(answer: Verdict) -> list[tuple[str, str | None, str | None, str | None]]:
    return [(r.code.value, r.upstream.name if r.upstream else None, r.partition, r.state) for r in answer.reasons]
