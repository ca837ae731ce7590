"""What several claims of one body consist of: the partitions, and who claims them."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Reference, Schema

from dataforge.api.readiness import TaskName, task_name
from dataforge.model.claim import AttemptNumber, Member, RunName


class MemberBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the partitions that are claimed together."""

    task: TaskName | str
    partition: str | None = None
    claim: str | None = None
    run: RunName | None = None
    attempt: AttemptNumber | None = None

    @property
    def member(self) -> Member:
        task = task_name(self.task)
        return Member(
            name=task.name,
            namespace=task.namespace,
            partition=self.partition or "",
            claim=self.claim,
            run=self.run,
            attempt=self.attempt,
        )


TASK = Schema(
    one_of=[
        Schema(type=OpenAPIType.STRING),
        Schema(
            type=OpenAPIType.OBJECT,
            required=["name"],
            properties={"namespace": Schema(type=OpenAPIType.STRING), "name": Schema(type=OpenAPIType.STRING)},
        ),
    ],
    description="The task's name, or its namespace and name.",
)
SECONDS = Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=86_400, description="How long the lease runs.")
MEMBERS_EXAMPLE: dict[str, Any] = {
    "partitions": [
        {"task": {"namespace": "dbt://shop", "name": "stg_orders"}, "partition": "2026-11-01"},
        {"task": {"namespace": "dbt://shop", "name": "orders_daily"}, "partition": "2026-11-01"},
    ],
    "worker": "dagster run 5f0c2a",
    "lease_seconds": 300,
}


def members_schema(most: int) -> dict[str, Reference | Schema]:
    """The properties of a body that claims up to so many partitions."""
    member = Schema(
        type=OpenAPIType.OBJECT,
        required=["task"],
        properties={
            "task": TASK,
            "partition": Schema(type=OpenAPIType.STRING, description="Its partition, where it has partitions."),
            "claim": Schema(
                type=OpenAPIType.STRING,
                format=OpenAPIFormat.UUID,
                description="An id of the worker's own, under which it may ask again.",
            ),
            "run": Schema(type=OpenAPIType.STRING, description="The run, as its platform names it."),
            "attempt": Schema(
                type=OpenAPIType.INTEGER,
                minimum=1,
                description="The attempt's number in that run; what an earlier one holds is over.",
            ),
        },
    )
    return {
        "partitions": Schema(type=OpenAPIType.ARRAY, min_items=1, max_items=most, items=member),
        "worker": Schema(type=OpenAPIType.STRING, description="Who claims, for those who look."),
        "lease_seconds": SECONDS,
        "source": Schema(type=OpenAPIType.OBJECT, description="What the events say of where they come from."),
    }
