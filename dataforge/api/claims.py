"""Claims over HTTP: a worker takes one attempt of a partition for a time, and says how it ended.

Guarantees that an answer is given after the commit: what was granted is granted to nobody else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, get_args
from uuid import UUID

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.params import PathParameter, RawBody

from dataforge.api.body import shaped
from dataforge.api.claim_members import MEMBERS_EXAMPLE, SECONDS, TASK, MemberBody, members_schema
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.readiness import TaskName, task_name
from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.ingest.redaction import Redaction
from dataforge.model.claim import (
    MOST_TOGETHER,
    Again,
    AllEnded,
    Beaten,
    Beating,
    Claiming,
    ClaimingTogether,
    Ended,
    Granted,
    Outcome,
    Said,
    SayingEnds,
    Together,
)
from dataforge.settings import Settings
from dataforge.storage.database import Database

ClaimName = Annotated[UUID, PathParameter(description="The claim that was granted.")]


class ClaimBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who claims what, and for how long."""

    task: TaskName | str
    worker: str
    lease_seconds: int
    partition: str | None = None
    claim: str | None = None

    @property
    def claiming(self) -> Claiming:
        task = task_name(self.task)
        return Claiming(
            name=task.name,
            namespace=task.namespace,
            partition=self.partition or "",
            worker=self.worker,
            lease_seconds=self.lease_seconds,
            claim=self.claim,
        )


class TogetherBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who claims which partitions, to run them as one."""

    partitions: tuple[MemberBody, ...]
    worker: str
    lease_seconds: int
    source: dict[str, str | int] = {}
    again: Again | None = None

    @property
    def claiming(self) -> ClaimingTogether:
        return ClaimingTogether(
            partitions=tuple(each.member for each in self.partitions),
            worker=self.worker,
            lease_seconds=self.lease_seconds,
            source=self.source,
            again=self.again,
        )


class _Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lease_seconds: int


_CLAIM = "7f9c24e8-3b12-4fef-91e0-0b6c4a3d2f1a"
_UNTIL = datetime(2026, 11, 2, 0, 15, tzinfo=UTC)
GRANTED = Granted(_CLAIM, 1, _UNTIL)
_ENDED = Ended(_CLAIM, 1, datetime(2026, 11, 2, 0, 12, tzinfo=UTC))
_CLAIM_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["task", "worker", "lease_seconds"],
    properties={
        "task": TASK,
        "partition": Schema(type=OpenAPIType.STRING, description="Its partition, where it has partitions."),
        "worker": Schema(type=OpenAPIType.STRING, description="Who claims, for those who look."),
        "lease_seconds": SECONDS,
        "claim": Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.UUID,
            description="An id of the worker's own, under which it may ask again when the answer was lost.",
        ),
    },
)
_CLAIM_EXAMPLE: dict[str, Any] = {
    "task": {"namespace": "shell", "name": "orders.export"},
    "partition": "2026-11-01",
    "worker": "batch-7",
    "lease_seconds": 300,
}
_CLAIM_ID = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.UUID)
_TOGETHER_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["partitions", "worker", "lease_seconds"],
    properties={
        **members_schema(MOST_TOGETHER),
        "again": Schema(
            type=OpenAPIType.OBJECT,
            required=["by", "reason"],
            properties={"by": Schema(type=OpenAPIType.STRING), "reason": Schema(type=OpenAPIType.STRING)},
            description="Who has done partitions run again, and why.",
        ),
    },
)
_OUTCOME_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "inputs": Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.OBJECT)),
        "outputs": Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.OBJECT)),
        "error": Schema(type=OpenAPIType.STRING),
    },
    description="What the attempt read and wrote, as in native events, and what went wrong.",
)
_OUTCOME: dict[str, Any] = {
    "outputs": [{"namespace": "s3://lake", "name": "orders/export", "partition": "2026-11-01", "rows": 1200}]
}


_ENDS_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["ends"],
    properties={
        "ends": Schema(
            type=OpenAPIType.ARRAY,
            min_items=1,
            max_items=MOST_TOGETHER,
            items=Schema(
                type=OpenAPIType.OBJECT,
                required=["claim", "ending"],
                properties={
                    "claim": _CLAIM_ID,
                    "ending": Schema(type=OpenAPIType.STRING, enum=[*get_args(Said)]),
                    "outcome": _OUTCOME_SCHEMA,
                },
            ),
        )
    },
)
_ENDS_EXAMPLE: dict[str, Any] = {"ends": [{"claim": _CLAIM, "ending": "completed", "outcome": _OUTCOME}]}


@post(
    "/{env:str}/claims",
    status_code=201,
    sync_to_thread=True,
    operation_class=takes_body("What is claimed, by whom and for how long.", _CLAIM_EXAMPLE, _CLAIM_SCHEMA),
    responses=answers(Granted, GRANTED, "It is granted, to nobody else.", 201),
    summary="Claim a partition of a task",
)
def make_claim(
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    body: RawBody,
) -> Granted:
    """Readiness, the slots of pools and the lease are decided in one transaction. What may not run now is answered with
    409 and the verdict; so is a task whose dependencies were only observed, unless its namespace is trusted."""
    wanted = shaped(body, ClaimBody).claiming
    now = datetime.now(UTC)
    return dispatch.claim(database, env, wanted, now, trusted=settings.trusted, redaction=redaction)


@post(
    "/{env:str}/claims/together",
    status_code=201,
    sync_to_thread=True,
    operation_class=takes_body("What is claimed, by whom and for how long.", MEMBERS_EXAMPLE, _TOGETHER_SCHEMA),
    responses=answers(Together, Together((GRANTED,)), "All are granted, to nobody else.", 201),
    summary="Claim partitions that are run as one",
)
def make_claims(
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    body: RawBody,
) -> Together:
    """All or none, in one transaction. What one of them makes, another may wait for; of each pool they take what the
    largest of them takes. With `again` what is done already is ordered to be run again. What may not run now is
    answered with 409, the verdict on the first and those on others."""
    wanted = shaped(body, TogetherBody).claiming
    now = datetime.now(UTC)
    return dispatch.claim_together(database, env, wanted, now, trusted=settings.trusted, redaction=redaction)


@post(
    "/{env:str}/claims/heartbeat",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body(
        "Which leases, and how long they are to run from now on.",
        {"claims": [_CLAIM], "lease_seconds": 300},
        Schema(
            type=OpenAPIType.OBJECT,
            required=["claims", "lease_seconds"],
            properties={"claims": Schema(type=OpenAPIType.ARRAY, items=_CLAIM_ID), "lease_seconds": SECONDS},
        ),
    ),
    responses=answers(Beaten, Beaten((GRANTED,)), "What runs on, and what does not."),
    summary="Extend several leases",
)
def extend_claims(database: NamedDependency[Database], env: EnvironmentName, body: RawBody) -> Beaten:
    """Those that have run out are told; the work on them has to stop."""
    wanted = shaped(body, Beating)
    return leases.beat_all(database, env, wanted.claims, wanted.lease_seconds, datetime.now(UTC))


@post(
    "/{env:str}/claims/end",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Which claims, and how each ended.", _ENDS_EXAMPLE, _ENDS_SCHEMA),
    responses=answers(AllEnded, AllEnded((_ENDED,)), "What has ended, and what had ended otherwise."),
    summary="End several claims",
)
def end_claims(
    database: NamedDependency[Database], redaction: NamedDependency[Redaction], env: EnvironmentName, body: RawBody
) -> AllEnded:
    """Each as its worker says, in one transaction. A claim that is no longer the worker's is told, and nothing of it is
    recorded."""
    return leases.end_all(database, env, shaped(body, SayingEnds).ends, datetime.now(UTC), redaction=redaction)


@post(
    "/{env:str}/claims/{claim:uuid}/heartbeat",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body(
        "How long it is to run from now on.",
        {"lease_seconds": 300},
        Schema(type=OpenAPIType.OBJECT, required=["lease_seconds"], properties={"lease_seconds": SECONDS}),
    ),
    responses=answers(Granted, GRANTED, "The lease runs on."),
    summary="Extend a lease",
)
def extend_claim(database: NamedDependency[Database], env: EnvironmentName, claim: ClaimName, body: RawBody) -> Granted:
    """A lease that has run out is not extended: 409, and the worker has to stop."""
    return leases.beat(database, env, claim, shaped(body, _Extension).lease_seconds, datetime.now(UTC))


def _ending(database: Database, redaction: Redaction, env: str, claim: UUID, ending: Said, body: bytes) -> Ended:
    outcome = shaped(body or b"{}", Outcome)
    return leases.end(database, env, claim, ending, outcome, datetime.now(UTC), redaction=redaction)


@post(
    "/{env:str}/claims/{claim:uuid}/complete",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body(
        "What the attempt read and wrote; nothing where there is nothing.", _OUTCOME, _OUTCOME_SCHEMA
    ),
    responses=answers(Ended, _ENDED, "The attempt has succeeded."),
    summary="Complete a claim",
)
def complete_claim(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    claim: ClaimName,
    body: RawBody,
) -> Ended:
    """The attempt succeeded. A worker whose lease has run out is answered with 409, and nothing is recorded."""
    return _ending(database, redaction, env, claim, "completed", body)


@post(
    "/{env:str}/claims/{claim:uuid}/fail",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("What went wrong.", {"error": "exit status 2: disk full"}, _OUTCOME_SCHEMA),
    responses=answers(Ended, _ENDED, "The attempt has failed."),
    summary="Fail a claim",
)
def fail_claim(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    claim: ClaimName,
    body: RawBody,
) -> Ended:
    """The attempt failed; the partition may be claimed again, as its next attempt."""
    return _ending(database, redaction, env, claim, "failed", body)


@post(
    "/{env:str}/claims/{claim:uuid}/release",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Why it is given back.", {"error": "the host shuts down"}, _OUTCOME_SCHEMA),
    responses=answers(Ended, _ENDED, "It is given back."),
    summary="Give a claim back",
)
def release_claim(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    claim: ClaimName,
    body: RawBody,
) -> Ended:
    """The attempt ends unfinished, which counts as failed; the partition may be claimed again at once."""
    return _ending(database, redaction, env, claim, "released", body)
