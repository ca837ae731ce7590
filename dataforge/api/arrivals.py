"""Arrivals over HTTP: has a dataset been seen, and does it come when it usually does?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import RawBody

from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.questions import MOST_QUESTIONS, read_questions
from dataforge.ledger import arrival as ledger
from dataforge.model.arrival import Arrival, ArrivalQuestion, Arrivals
from dataforge.model.verdict import NodeRef
from dataforge.storage.database import Database

_EXAMPLE = Arrivals(
    items=(
        Arrival(
            node=NodeRef("dataset", "s3://lake", "orders"),
            declared=True,
            observed=True,
            owner="team-orders@example.com",
            last="2026-11-01",
            usual_seconds=1_500.0,
            awaited="2026-11-02",
            expected_at=datetime(2026, 11, 3, 0, 25, tzinfo=UTC),
            late_from=datetime(2026, 11, 3, 1, 5, tzinfo=UTC),
            late=1,
        ),
    ),
    decided_at=datetime(2026, 11, 3, 9, tzinfo=UTC),
)
_QUESTIONS: list[dict[str, Any]] = [{"namespace": "s3://lake", "name": "orders"}]
_SCHEMA = Schema(
    type=OpenAPIType.ARRAY,
    max_items=MOST_QUESTIONS,
    items=Schema(
        type=OpenAPIType.OBJECT,
        required=["name"],
        properties={
            "namespace": Schema(type=OpenAPIType.STRING, description="May be left out where the name is unique."),
            "name": Schema(type=OpenAPIType.STRING, description="The dataset's name."),
        },
    ),
)


@post(
    "/{env:str}/arrivals",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Up to 1,000 datasets.", _QUESTIONS, _SCHEMA),
    responses=answers(Arrivals, _EXAMPLE, "One item for each question, in the order asked."),
    summary="Ask what is late",
)
def post_arrivals(database: NamedDependency[Database], env: EnvironmentName, body: RawBody) -> Arrivals:
    """Whether datasets have been seen, and whether their last windows are later than usual, on one snapshot. A dataset
    that nobody knows is neither declared nor observed."""
    return ledger.arrivals(database, env, read_questions(body, ArrivalQuestion), datetime.now(UTC))
