"""Readiness over HTTP: may this task run for this partition, and if not, what exactly is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import QueryParameter, RawBody

from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.questions import MOST_QUESTIONS, read_questions
from dataforge.ledger import readiness as ledger
from dataforge.model.question import Answers, Named
from dataforge.model.reference import TaskRef
from dataforge.model.verdict import Code, NodeRef, Reason, Status, Unanswered, Verdict
from dataforge.storage.database import Database


class TaskName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task by name; the namespace may be left out where the name is unique in the environment."""

    name: str
    namespace: str | None = None


def task_name(given: TaskName | str) -> TaskName:
    """A task as it was named: by its name alone, or with its namespace."""
    return TaskName(given) if isinstance(given, str) else given


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task, by name or by namespace and name, and its partition."""

    task: TaskName | str
    partition: str | None = None

    @property
    def named(self) -> Named:
        task = task_name(self.task)
        return Named(task.name, task.namespace, self.partition or "")


_EXAMPLE = Verdict(
    task=TaskRef("airflow-prod", "orders.load"),
    partition="2026-11-01",
    runnable=False,
    status=Status.BLOCKED,
    basis="declared",
    reasons=(
        Reason(
            code=Code.UPSTREAM_FAILED,
            message="orders.extract for 2026-11-01 failed",
            upstream=NodeRef("task", "airflow-prod", "orders.extract"),
            partition="2026-11-01",
            state="failed",
            since=datetime(2026, 11, 2, 0, 7, tzinfo=UTC),
            owner="team-orders@example.com",
        ),
        Reason(
            code=Code.UPSTREAM_RUNNING,
            message="shop.public.orders for 2026-11-01 is running",
            upstream=NodeRef("dataset", "postgres://db:5432", "shop.public.orders"),
            partition="2026-11-01",
            state="running",
            since=datetime(2026, 11, 2, 0, 5, tzinfo=UTC),
            owner="team-shop@example.com",
            expected_at=datetime(2026, 11, 2, 0, 25, tzinfo=UTC),
        ),
    ),
    warnings=(),
    observed_through={"airflow-prod": datetime(2026, 11, 2, 0, 9, 58, tzinfo=UTC)},
    decided_at=datetime(2026, 11, 2, 0, 10, tzinfo=UTC),
    graph_version=42,
)
_UNANSWERED = Unanswered(
    task=TaskRef("", "orders.report"),
    partition="2026-11-01",
    runnable=False,
    status=Status.UNKNOWN,
    basis="observed",
    reasons=(Reason(code=Code.NO_SUCH_TASK, message="'orders.report' names more than one task: add its namespace"),),
    warnings=(),
    observed_through={},
    decided_at=_EXAMPLE.decided_at,
    graph_version=_EXAMPLE.graph_version,
    candidates=("airflow-dev/orders.report", "airflow-prod/orders.report"),
)
_QUESTIONS: list[dict[str, Any]] = [
    {"task": {"namespace": "airflow-prod", "name": "orders.load"}, "partition": "2026-11-01"},
    {"task": "orders.report", "partition": "2026-11-01"},
]
_SCHEMA = Schema(
    type=OpenAPIType.ARRAY,
    max_items=MOST_QUESTIONS,
    items=Schema(
        type=OpenAPIType.OBJECT,
        required=["task"],
        properties={
            "task": Schema(
                description="The task's name, or its namespace and name.",
                one_of=[
                    Schema(type=OpenAPIType.STRING),
                    Schema(
                        type=OpenAPIType.OBJECT,
                        required=["name"],
                        properties={
                            "namespace": Schema(type=OpenAPIType.STRING),
                            "name": Schema(type=OpenAPIType.STRING),
                        },
                    ),
                ],
            ),
            "partition": Schema(type=OpenAPIType.STRING, description="Its partition, where it has partitions."),
        },
    ),
)


@get(
    "/{env:str}/readiness",
    sync_to_thread=True,
    responses=answers(Verdict, _EXAMPLE, "The verdict."),
    summary="Ask whether a task may run",
)
def get_readiness(
    database: NamedDependency[Database],
    env: EnvironmentName,
    name: Annotated[str, QueryParameter(description="The task's name.")],
    namespace: Annotated[
        str | None, QueryParameter(description="Its namespace; may be left out where the name is unique.")
    ] = None,
    partition: Annotated[str | None, QueryParameter(description="Its partition, such as 2026-11-01.")] = None,
) -> Verdict:
    """The verdict on one partition of a task, with every reason why it may not run."""
    return ledger.verdict(database, env, Named(name, namespace, partition or ""), datetime.now(UTC))


@post(
    "/{env:str}/readiness",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Up to 1,000 questions.", _QUESTIONS, _SCHEMA),
    responses=answers(
        Answers, Answers((_EXAMPLE, _UNANSWERED), _EXAMPLE.decided_at, 42), "The verdicts, in the order asked."
    ),
    summary="Ask whether many tasks may run",
)
def post_readiness(database: NamedDependency[Database], env: EnvironmentName, body: RawBody) -> Answers:
    """Verdicts decided on one snapshot. A task that nobody knows has an item with the code no_such_task."""
    questions = [each.named for each in read_questions(body, Ask)]
    return ledger.readiness(database, env, questions, datetime.now(UTC))
