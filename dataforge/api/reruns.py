"""Running again what is done, over HTTP: ordered with a reason, for one partition or with what was built from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import QueryParameter, RawBody

from dataforge.api.body import shaped
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.readiness import TaskName, task_name
from dataforge.dispatch import rerun as dispatch
from dataforge.ingest.redaction import Redaction
from dataforge.model.catalog import NodeName
from dataforge.model.rerun import Downstream, RerunItem, Rerunning, Reruns
from dataforge.storage.database import Database


class RerunBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be run again, and why."""

    task: TaskName | str
    reason: str
    partition: str | None = None
    downstream: Downstream = "none"
    by: str = "unknown"

    @property
    def rerunning(self) -> Rerunning:
        task = task_name(self.task)
        return Rerunning(
            name=task.name,
            namespace=task.namespace,
            partition=self.partition or "",
            reason=self.reason,
            downstream=self.downstream,
            by=self.by,
        )


_EXAMPLE: dict[str, Any] = {
    "task": {"namespace": "airflow-prod", "name": "orders.load"},
    "partition": "2026-11-01",
    "reason": "the supplier sent the file again",
    "downstream": "all",
    "by": "anna@example.com",
}
_ANSWER = Reruns(
    (
        RerunItem(NodeName("airflow-prod", "orders.load"), "2026-11-01"),
        RerunItem(NodeName("shell", "orders.report"), "2026-11-01"),
    )
)
_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["task", "reason"],
    properties={
        "task": Schema(description="The task's name, or its namespace and name."),
        "partition": Schema(type=OpenAPIType.STRING, description="Its partition, where it has partitions."),
        "reason": Schema(type=OpenAPIType.STRING, description="Why; kept with the order."),
        "downstream": Schema(
            type=OpenAPIType.STRING,
            enum=["none", "direct", "all"],
            description="Whether what was built from it is run again too: in one step, or in any number.",
        ),
        "by": Schema(type=OpenAPIType.STRING, description="Who orders it; kept with the order."),
    },
)


@post(
    "/{env:str}/reruns",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("What is to be run again, and why.", _EXAMPLE, _SCHEMA),
    responses=answers(Reruns, _ANSWER, "All that may be run again by it."),
    summary="Run again what is done",
)
def order_rerun(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    body: RawBody,
    dry_run: Annotated[bool, QueryParameter(description="Say what would be run again, and order nothing.")] = False,
) -> Reruns:
    """A done partition may run again, as the next attempt of its run. Nothing is run by this, and what reads it may go
    on to do so until a new run has begun. What lies downstream waits until what it needs has been made again."""
    wanted = shaped(body, RerunBody).rerunning
    return dispatch.rerun(database, env, wanted, datetime.now(UTC), redaction=redaction, dry_run=dry_run)
