"""Claims over HTTP of what a worker runs side by side: each for itself, in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import RawBody

from dataforge.api.body import shaped
from dataforge.api.claim_members import MEMBERS_EXAMPLE, MemberBody, members_schema
from dataforge.api.claims import GRANTED
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.dispatch import claim_each as dispatch
from dataforge.ingest.redaction import Redaction
from dataforge.model.claim import MOST_EACH, ClaimedEach, ClaimingEach
from dataforge.settings import Settings
from dataforge.storage.database import Database


class EachBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who claims which partitions, to run them side by side."""

    partitions: tuple[MemberBody, ...]
    worker: str
    lease_seconds: int
    source: dict[str, str | int] = {}

    @property
    def claiming(self) -> ClaimingEach:
        return ClaimingEach(
            partitions=tuple(each.member for each in self.partitions),
            worker=self.worker,
            lease_seconds=self.lease_seconds,
            source=self.source,
        )


_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["partitions", "worker", "lease_seconds"],
    properties=members_schema(MOST_EACH),
)


@post(
    "/{env:str}/claims/each",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("What is claimed, by whom and for how long.", MEMBERS_EXAMPLE, _SCHEMA),
    responses=answers(ClaimedEach, ClaimedEach((GRANTED,)), "What is granted, to nobody else, and what is refused."),
    summary="Claim partitions that are run side by side",
)
def claim_each(
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    body: RawBody,
) -> ClaimedEach:
    """As claims one after another, in one transaction: each takes slots of its own, and what may not run now is refused
    with its verdict while the others are granted."""
    wanted = shaped(body, EachBody).claiming
    now = datetime.now(UTC)
    return dispatch.claim_each(database, env, wanted, now, trusted=settings.trusted, redaction=redaction)
