"""Freshness over HTTP: is what was built older than what it was built from?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import RawBody

from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.questions import read_questions
from dataforge.ledger import freshness as ledger
from dataforge.model.freshness import (
    MOST_ASKED,
    BuiltBy,
    Freshness,
    FreshnessAnswers,
    FreshnessQuestion,
    FreshnessStatus,
)
from dataforge.model.reference import TaskRef
from dataforge.model.verdict import Code, NodeRef, Reason
from dataforge.storage.database import Database

_EXAMPLE = FreshnessAnswers(
    items=(
        Freshness(
            node=NodeRef("dataset", "postgres://db:5432", "shop.public.revenue"),
            partition="2026-11-01",
            status=FreshnessStatus.STALE,
            built_at=datetime(2026, 11, 2, 0, 25, tzinfo=UTC),
            built_by=BuiltBy(TaskRef("airflow-prod", "orders.report"), "scheduled__2026-11-01T00:00:00+00:00"),
            reasons=(
                Reason(
                    code=Code.UPSTREAM_STALE,
                    message=(
                        "s3://lake/orders for 2026-11-01 was written again at 2026-11-05 09:12 UTC, after this was"
                        " built (2026-11-02 00:25 UTC)"
                    ),
                    upstream=NodeRef("dataset", "s3://lake", "orders"),
                    partition="2026-11-01",
                    state="ready",
                    since=datetime(2026, 11, 5, 9, 12, tzinfo=UTC),
                    owner="team-orders@example.com",
                    run="scheduled__2026-11-01T00:00:00+00:00",
                ),
            ),
        ),
        Freshness(
            node=NodeRef("dataset", "", "orders.report"),
            partition="2026-11-01",
            status=FreshnessStatus.UNKNOWN,
            reasons=(Reason(code=Code.NO_SUCH_DATASET, message="there is no dataset named 'orders.report'"),),
        ),
    ),
    decided_at=datetime(2026, 11, 5, 10, 0, tzinfo=UTC),
    graph_version=42,
)
_QUESTIONS: list[dict[str, Any]] = [
    {"namespace": "postgres://db:5432", "name": "shop.public.revenue", "partition": "2026-11-01"},
    {"kind": "dataset", "name": "orders.report", "partition": "2026-11-01"},
]
_SCHEMA = Schema(
    type=OpenAPIType.ARRAY,
    max_items=MOST_ASKED,
    items=Schema(
        type=OpenAPIType.OBJECT,
        required=["name"],
        properties={
            "kind": Schema(type=OpenAPIType.STRING, enum=["dataset", "task"], default="dataset"),
            "namespace": Schema(type=OpenAPIType.STRING, description="May be left out where the name is unique."),
            "name": Schema(type=OpenAPIType.STRING, description="The dataset's or task's name."),
            "partition": Schema(type=OpenAPIType.STRING, description="Its partition, where it has partitions."),
        },
    ),
)


@post(
    "/{env:str}/freshness",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Up to 5,000 questions.", _QUESTIONS, _SCHEMA),
    responses=answers(FreshnessAnswers, _EXAMPLE, "One item for each question, in the order asked."),
    summary="Ask what is older than what it was built from",
)
def post_freshness(database: NamedDependency[Database], env: EnvironmentName, body: RawBody) -> FreshnessAnswers:
    """Whether partitions are fresh, stale or not built, decided on one snapshot. A name that nobody knows has an item
    with the code no_such_task or no_such_dataset."""
    return ledger.freshness(database, env, read_questions(body, FreshnessQuestion, MOST_ASKED), datetime.now(UTC))
