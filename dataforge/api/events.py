"""Native events over HTTP, for platforms and people without OpenLineage: one, or an array of them.

Guarantees that an answer is given after the commit: what was accepted is durable, and what was refused stands in
the rejects with its bytes.
"""

from __future__ import annotations

from typing import Any

from litestar import post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import RawBody

from dataforge.api.body import cut
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.ingest import answer, native
from dataforge.ingest.group import GroupCommit
from dataforge.model.catalog import Complaint
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.recorded import Recorded, RejectedEvent

MOST_EVENTS = 10_000  # of one request


_EVENT: dict[str, Any] = {
    "time": "2026-11-01T06:10:00Z",
    "task": {"namespace": "shell", "name": "orders.export"},
    "partition": "2026-11-01",
    "state": "succeeded",
    "platform": "shell",
    "source": {"host": "batch-7", "pid": 4711, "log": "https://batch-7.example.com/logs/4711"},
    "inputs": [{"namespace": "s3://lake", "name": "orders/clean", "partition": "2026-11-01"}],
    "outputs": [{"namespace": "s3://lake", "name": "orders/export", "partition": "2026-11-01", "rows": 1200}],
}
_ANSWER = Recorded(
    received=2,
    applied=1,
    duplicates=0,
    rejected=[RejectedEvent(1, [Complaint("state", "done", "one of queued, running, succeeded, failed, ...")])],
)
_SCHEMA = Schema(
    one_of=[
        Schema(type=OpenAPIType.OBJECT, description="One event."),
        Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.OBJECT), description="Several events."),
    ],
    description="A native event, or an array of them.",
)


@post(
    "/{env:str}/events",
    status_code=200,
    operation_class=takes_body("One native event, or an array of up to 10,000.", [_EVENT], _SCHEMA),
    responses=answers(Recorded, _ANSWER, "The events are recorded, apart from those that are named."),
    summary="Record native events",
)
async def record_events(
    group_commit: NamedDependency[GroupCommit],
    env: EnvironmentName,
    body: RawBody,
) -> Recorded:
    """A bad event is kept in the rejects and named in the answer; the others are recorded in one transaction, which
    requests that come at the same time share.

    A run is named by `run`, else by its partition; its attempts by `attempt`, counted from 1. Events that name neither
    speak of one attempt, in which a failure outranks a success: name one when the same partition runs again. The state
    is queued, running, up_for_retry, succeeded, failed, skipped, canceled or upstream_failed. `platform` says where the
    task runs, and `source` what its platform calls the run: up to 20 strings or whole numbers by name. `map_index`,
    from 0 on, tells the instances of a mapped task apart, and `instances` beside it how many there are: before one
    event has said that, what waits for all of them waits on. A streaming task tells by `watermark` how far it has come,
    which makes the windows ready that it has passed, and by `late` which partitions got rows after that. `shards` tells
    of the files, customers or other parts that the run is made of, up to 20,000 an event: `[{"key", "state", "rows"}]`,
    where the state (pending unless given, succeeded, skipped, failed) may follow in a later event. A run that succeeded
    is failed while more shards of it failed or are pending than its task allows.

    What a person orders or says is an event too, with `control` and `by`: `{"control": "mark", "task", "partition" or
    "run", "state": "succeeded", "by", "reason"}` decides how a run counts until a later try begins, and `clear` that it
    is to be run again.
    """
    bodies, problem = await cut(body)
    if len(bodies) > MOST_EVENTS:
        expected = f"at most {MOST_EVENTS:,} events"
        errors = [FieldError("$", f"{len(bodies):,} events", expected)]
        raise InvalidInput(f"nothing is recorded: {expected} are taken at once; send several requests", errors)
    result = await group_commit.record(env, bodies, native.parse)
    if problem is not None:
        raise problem
    return answer.recorded(result)
