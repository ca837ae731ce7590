"""OpenLineage over HTTP, as its specification has it: one event, or a batch.

Guarantees that an answer is given after the commit: what was accepted is durable, and what was refused stands in
the rejects with its bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import RawBody
from msgspec import Meta

from dataforge.api.body import events_of
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.problem import TooLarge
from dataforge.ingest.batch import BatchResult, Rejected, record_openlineage
from dataforge.ingest.envelope import MOST_BYTES
from dataforge.ingest.redaction import Redaction
from dataforge.model.errors import InvalidInput
from dataforge.settings import Settings
from dataforge.storage.database import Database


class Recorded(msgspec.Struct, frozen=True):
    """What became of one event."""

    status: Annotated[Literal["recorded", "duplicate"], Meta(description="Whether it was new to the ledger.")]


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


_EVENT: dict[str, Any] = {
    "eventType": "COMPLETE",
    "eventTime": "2026-11-01T06:10:00Z",
    "producer": "https://example.com/scheduler",
    "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "run": {
        "runId": "019a3f3e-7a00-7000-8000-000000000001",
        "facets": {
            "nominalTime": {
                "_producer": "https://example.com/scheduler",
                "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/NominalTimeRunFacet.json",
                "nominalStartTime": "2026-11-01T00:00:00Z",
                "nominalEndTime": "2026-11-02T00:00:00Z",
            }
        },
    },
    "job": {"namespace": "airflow-prod", "name": "orders.load"},
    "inputs": [{"namespace": "postgres://db:5432", "name": "shop.public.orders"}],
    "outputs": [{"namespace": "s3://lake", "name": "orders/clean"}],
}
_ANSWER = BatchAnswer(
    "partial_success",
    Summary(received=2, successful=1, failed=1, retriable=0, non_retriable=1),
    [FailedEvent(1, "eventTime: expected a time such as 2026-11-01T06:00:00Z", retriable=False)],
)
_SCHEMA = Schema(type=OpenAPIType.OBJECT, description="A run, job or dataset event of OpenLineage 2.0.2.")
_TakesEvent = takes_body("One OpenLineage event of at most 10 MB.", _EVENT, _SCHEMA)
_TakesBatch = takes_body(
    "OpenLineage events, each of at most 10 MB, together at most 100 MB.",
    [_EVENT],
    Schema(type=OpenAPIType.ARRAY, items=_SCHEMA, description="OpenLineage events."),
)
_RECORDED = answers(Recorded, Recorded("recorded"), "The event is recorded.", 201)
_BATCH = answers(BatchAnswer, _ANSWER, "The batch is recorded, apart from the events that are named.")


@post(
    "/lineage",
    sync_to_thread=True,
    operation_class=_TakesEvent,
    responses=_RECORDED,
    summary="Record one OpenLineage event in the default environment",
)
def record_event(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    settings: NamedDependency[Settings],
    body: RawBody,
) -> Recorded:
    """A bad event is refused, and kept in the rejects with its bytes."""
    return _one(database, settings.environment, body, redaction)


@post(
    "/{env:str}/lineage",
    sync_to_thread=True,
    operation_class=_TakesEvent,
    responses=_RECORDED,
    summary="Record one OpenLineage event",
)
def record_event_in(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    body: RawBody,
) -> Recorded:
    """A bad event is refused, and kept in the rejects with its bytes."""
    return _one(database, env, body, redaction)


@post(
    "/lineage/batch",
    status_code=200,
    sync_to_thread=True,
    operation_class=_TakesBatch,
    responses=_BATCH,
    summary="Record a batch of OpenLineage events in the default environment",
)
def record_batch(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    settings: NamedDependency[Settings],
    body: RawBody,
) -> BatchAnswer:
    """A bad event is kept in the rejects and named in the answer; the others are recorded in one transaction."""
    return _many(database, settings.environment, body, redaction)


@post(
    "/{env:str}/lineage/batch",
    status_code=200,
    sync_to_thread=True,
    operation_class=_TakesBatch,
    responses=_BATCH,
    summary="Record a batch of OpenLineage events",
)
def record_batch_in(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    body: RawBody,
) -> BatchAnswer:
    """A bad event is kept in the rejects and named in the answer; the others are recorded in one transaction."""
    return _many(database, env, body, redaction)


def _one(database: Database, environment: str, body: bytes, redaction: Redaction) -> Recorded:
    result = record_openlineage(database, environment, [body], redaction)
    for refused in result.rejected:
        kind = TooLarge if len(body) > MOST_BYTES else InvalidInput
        raise kind(f"the event is refused and kept in the rejects: {_reason(refused)}", refused.errors)
    return Recorded("recorded" if result.applied else "duplicate")


def _many(database: Database, environment: str, body: bytes, redaction: Redaction) -> BatchAnswer:
    bodies, problem = events_of(body)
    result = record_openlineage(database, environment, bodies, redaction)
    if problem is not None:
        raise problem
    return _answer(result)


def _answer(result: BatchResult) -> BatchAnswer:
    failed = [FailedEvent(each.index, _reason(each), each.retriable) for each in result.rejected]
    retriable = sum(each.retriable for each in failed)
    summary = Summary(
        received=result.received,
        successful=result.received - len(failed),
        failed=len(failed),
        retriable=retriable,
        non_retriable=len(failed) - retriable,
    )
    return BatchAnswer("partial_success" if failed else "success", summary, failed)


def _reason(refused: Rejected) -> str:
    return "; ".join(f"{error.field}: expected {error.expected}" for error in refused.errors)
