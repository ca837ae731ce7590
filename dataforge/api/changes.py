"""The feed of changes over HTTP: what became of each partition since a reader last asked, from either end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import QueryParameter, RawBody
from msgspec import Meta

from dataforge.api.body import shaped
from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.ledger import change as ledger
from dataforge.ledger.newest import newest
from dataforge.model.catalog import NodeName
from dataforge.model.change import (
    MOST_CHANGES,
    MOST_DATASETS,
    MOST_EACH,
    MOST_FOLLOWED,
    Change,
    Changes,
    LastSuccess,
    Newest,
    Producer,
    mirror_id,
)
from dataforge.model.reference import NodeKind
from dataforge.model.state import PartitionStatus, RunState
from dataforge.storage.database import Database


class LatestQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The datasets whose latest partitions are wanted."""

    datasets: Annotated[tuple[NodeName, ...], Meta(description="Up to 1,000 datasets, by any of their names.")]
    each: Annotated[int, Meta(description="How many partitions of each.")] = 30
    statuses: Annotated[tuple[PartitionStatus, ...], Meta(description="Only those in one of these, if any.")] = ()


class LatestAnswer(msgspec.Struct, frozen=True):
    """The present states of the latest partitions."""

    items: Annotated[
        tuple[Change, ...], Meta(description="By the dataset's canonical name, then the newest partition first.")
    ]


class NewestQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changed of which datasets is wanted, and where it begins and ends."""

    datasets: Annotated[tuple[NodeName, ...], Meta(description="Up to 10,000 datasets, by their canonical names.")]
    after: Annotated[str | None, Meta(description="A position of an answer; null: the beginning.")] = None
    before: Annotated[str | None, Meta(description="The `rest` of an answer; null: the present.")] = None
    limit: Annotated[int, Meta(description="How many changes to answer at most.")] = 100


_SINCE = datetime(2026, 11, 2, 0, 9, tzinfo=UTC)
_PRODUCER = Producer(
    task=NodeName("airflow-prod", "orders.load"),
    run="scheduled__2026-11-01T00:00:00+00:00",
    attempt=2,
    state=RunState.SUCCEEDED,
    source={"dag_id": "orders", "run_id": "scheduled__2026-11-01T00:00:00+00:00", "task_id": "load", "try_number": 2},
)
_EXAMPLE = Change(
    kind="dataset",
    namespace="s3://lake",
    name="orders/clean",
    partition="2026-11-01",
    status=PartitionStatus.READY,
    state=RunState.SUCCEEDED,
    evidence="reported",
    since=_SINCE,
    version="7",
    rows=1200,
    producer=_PRODUCER,
    owner="data@example.com",
    ready=LastSuccess(since=_SINCE, version="7", producer=_PRODUCER),
    mirror_id=mirror_id(
        ("dataset", "s3://lake", "orders/clean"),
        "2026-11-01",
        PartitionStatus.READY,
        state=RunState.SUCCEEDED,
        producer=_PRODUCER,
        since=_SINCE,
        version="7",
    ),
)
_POSITION = "WyJjaGFuZ2VzIiwiNzcxMDU0MDUxMTY5OTg5NzgwNC8xIiwwLCJ0YXNrIiwwLCIiXQ"
_ASKED: dict[str, Any] = {"datasets": [{"namespace": "s3://lake", "name": "orders/clean"}], "each": 30}
_FOLLOWED: dict[str, Any] = {**_ASKED, "after": _POSITION, "limit": 100}
del _FOLLOWED["each"]


def _datasets(most: int, description: str) -> Schema:
    return Schema(
        type=OpenAPIType.ARRAY,
        max_items=most,
        description=description,
        items=Schema(
            type=OpenAPIType.OBJECT,
            required=["namespace", "name"],
            properties={"namespace": Schema(type=OpenAPIType.STRING), "name": Schema(type=OpenAPIType.STRING)},
        ),
    )


_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["datasets"],
    properties={
        "datasets": _datasets(MOST_DATASETS, "The datasets, by any of their names."),
        "each": Schema(
            type=OpenAPIType.INTEGER,
            minimum=1,
            maximum=MOST_EACH,
            default=30,
            description="How many partitions of each; 50,000 partitions are answered at once.",
        ),
        "statuses": Schema(
            type=OpenAPIType.ARRAY,
            description="Only partitions in one of these statuses; none: in any.",
            items=Schema(type=OpenAPIType.STRING, enum=[*map(str, PartitionStatus)]),
        ),
    },
)
_NEWEST_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["datasets"],
    properties={
        "datasets": _datasets(MOST_FOLLOWED, "The datasets, by their canonical names."),
        "after": Schema(type=OpenAPIType.STRING, description="A position of an answer; none: from the beginning."),
        "before": Schema(type=OpenAPIType.STRING, description="The `rest` of an answer; none: up to the present."),
        "limit": Schema(
            type=OpenAPIType.INTEGER,
            minimum=1,
            maximum=MOST_CHANGES,
            default=100,
            description="How many changes to answer at most.",
        ),
    },
)


@get(
    "/{env:str}/changes",
    sync_to_thread=True,
    responses=answers(Changes, Changes(items=(_EXAMPLE,), position=_POSITION, more=False), "One page of the feed."),
    summary="Follow what changes",
)
def list_changes(
    database: NamedDependency[Database],
    env: EnvironmentName,
    after: Annotated[
        str | None,
        QueryParameter(
            description="The position of the answer before; `now`: only what comes; none: from the beginning."
        ),
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=MOST_CHANGES, description="How many changes to answer at most.")
    ] = 100,
    kind: Annotated[NodeKind | None, QueryParameter(description="Only partitions of tasks, or of datasets.")] = None,
) -> Changes:
    """The present state of each partition that has changed, each once, in an order in which none is ever missed.

    Ask again with `after` set to the answer's `position`, at once while `more` is true. A state may be answered again;
    its `mirror_id` is the same then. A position that the server does not know any more, as when the database is another
    one, begins anew. What no run says anything of any more has the status missing.
    """
    return ledger.changes(database, env, after, limit, kind)


@post(
    "/{env:str}/changes/latest",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Up to 1,000 datasets.", _ASKED, _SCHEMA),
    responses=answers(LatestAnswer, LatestAnswer((_EXAMPLE,)), "The states of the latest partitions."),
    summary="Read the latest states",
)
def post_latest(database: NamedDependency[Database], env: EnvironmentName, body: RawBody) -> LatestAnswer:
    """For a reader to begin with: ask for the changes after `now` first, then for the latest states, and then follow
    the changes from that position. A dataset that nobody knows, or nobody has written, has no items."""
    asked = shaped(body, LatestQuestion)
    wanted = [(dataset.namespace, dataset.name) for dataset in asked.datasets]
    return LatestAnswer(ledger.latest(database, env, wanted, asked.each, asked.statuses))


@post(
    "/{env:str}/changes/newest",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Up to 10,000 datasets, and where to begin and to end.", _FOLLOWED, _NEWEST_SCHEMA),
    responses=answers(
        Newest, Newest(items=(_EXAMPLE,), position=_POSITION, rest=None, waiting=0), "The newest changes."
    ),
    summary="Follow what changes, the newest first",
)
def post_newest(database: NamedDependency[Database], env: EnvironmentName, body: RawBody) -> Newest:
    """For who follows some datasets and cannot keep up with all of it. Ask with `after` set to the `position` of the
    answer before; where that leaves a `rest`, ask with the same `after` and `before` set to it, now or when there is
    time. A state that another has replaced by then is not shown any more. At most 20,000 changes of anything are looked
    at, so there may be a `rest` though nothing is shown."""
    asked = shaped(body, NewestQuestion)
    wanted = [(dataset.namespace, dataset.name) for dataset in asked.datasets]
    return newest(database, env, wanted, asked.after, asked.before, asked.limit)
