"""OpenLineage over HTTP, as its specification has it: one event, or a batch.

Guarantees that an answer is given after the commit: what was accepted is durable, and what was refused stands in
the rejects with its bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import RawBody
from msgspec import Meta

from dataforge.api.body import cut
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.problem import TooLarge
from dataforge.ingest import answer, openlineage
from dataforge.ingest.envelope import MOST_BYTES
from dataforge.ingest.group import GroupCommit
from dataforge.model.errors import InvalidInput
from dataforge.model.recorded import BatchAnswer, FailedEvent, Summary
from dataforge.settings import Settings


class RecordedEvent(msgspec.Struct, frozen=True):
    """What became of one event."""

    status: Annotated[Literal["recorded", "duplicate"], Meta(description="Whether it was new to the ledger.")]


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
_RECORDED = answers(RecordedEvent, RecordedEvent("recorded"), "The event is recorded.", 201)
_BATCH = answers(BatchAnswer, _ANSWER, "The batch is recorded, apart from the events that are named.")


@post(
    "/lineage",
    operation_class=_TakesEvent,
    responses=_RECORDED,
    summary="Record one OpenLineage event in the default environment",
)
async def record_event(
    group_commit: NamedDependency[GroupCommit],
    state: State,
    body: RawBody,
) -> RecordedEvent:
    """A bad event is refused, and kept in the rejects with its bytes."""
    return await _one(group_commit, _default(state), body)


@post(
    "/{env:str}/lineage",
    operation_class=_TakesEvent,
    responses=_RECORDED,
    summary="Record one OpenLineage event",
)
async def record_event_in(
    group_commit: NamedDependency[GroupCommit],
    env: EnvironmentName,
    body: RawBody,
) -> RecordedEvent:
    """A bad event is refused, and kept in the rejects with its bytes."""
    return await _one(group_commit, env, body)


@post(
    "/lineage/batch",
    status_code=200,
    operation_class=_TakesBatch,
    responses=_BATCH,
    summary="Record a batch of OpenLineage events in the default environment",
)
async def record_batch(
    group_commit: NamedDependency[GroupCommit],
    state: State,
    body: RawBody,
) -> BatchAnswer:
    """A bad event is kept in the rejects and named in the answer; the others are recorded in one transaction."""
    return await _many(group_commit, _default(state), body)


@post(
    "/{env:str}/lineage/batch",
    status_code=200,
    operation_class=_TakesBatch,
    responses=_BATCH,
    summary="Record a batch of OpenLineage events",
)
async def record_batch_in(
    group_commit: NamedDependency[GroupCommit],
    env: EnvironmentName,
    body: RawBody,
) -> BatchAnswer:
    """A bad event is kept in the rejects and named in the answer; the others are recorded in one transaction."""
    return await _many(group_commit, env, body)


def _default(state: State) -> str:
    """The environment meant where none is named. As a dependency beside the other it would cost a task a request."""
    settings: Settings = state.settings
    return settings.environment


async def _one(group_commit: GroupCommit, environment: str, body: bytes) -> RecordedEvent:
    result = await group_commit.record(environment, [body], openlineage.parse)
    for refused in result.rejected:
        kind = TooLarge if len(body) > MOST_BYTES else InvalidInput
        raise kind(f"the event is refused and kept in the rejects: {answer.reason(refused)}", refused.errors)
    return RecordedEvent("recorded" if result.applied else "duplicate")


async def _many(group_commit: GroupCommit, environment: str, body: bytes) -> BatchAnswer:
    bodies, problem = await cut(body)
    result = await group_commit.record(environment, bodies, openlineage.parse)
    if problem is not None:
        raise problem
    return answer.of_openlineage(result)
