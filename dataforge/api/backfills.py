"""Backfills over HTTP: planned, begun, followed, and changed by people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.params import PathParameter, RawBody

from dataforge.api.body import shaped
from dataforge.api.operation import EnvironmentName, answers, read_query, takes_body, takes_query
from dataforge.dispatch import backfill as dispatch
from dataforge.ingest.redaction import Redaction
from dataforge.ledger import backfill_list
from dataforge.model.backfill import (
    BackfillDetail,
    BackfillFilter,
    Backfilling,
    BackfillItem,
    Cap,
    Change,
    Deadlines,
    Endangered,
    Estimate,
    ItemFilter,
    Plan,
    PlanItem,
    Progress,
    Target,
    TaskPart,
    Verb,
)
from dataforge.model.catalog import NodeName
from dataforge.model.listing import Page
from dataforge.model.verdict import NodeRef
from dataforge.storage.database import Database

BackfillName = Annotated[UUID, PathParameter(description="The id of the backfill.")]


class BackfillBody(Backfilling, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backfill, and whether it is only to be planned."""

    dry_run: bool = True

    @property
    def wanted(self) -> Backfilling:
        given = {name: getattr(self, name) for name in Backfilling.__struct_fields__}
        return Backfilling(**given)


class _Saying(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    by: str = "unknown"
    reason: str = ""


_ID = "018f4b52-6d5e-7c3f-8a4b-0123456789ab"
_BEGAN = datetime(2026, 11, 6, 8, 30, tzinfo=UTC)
_LOAD = NodeName("airflow-prod", "orders.load")
_REQUEST: dict[str, Any] = {
    "targets": [{"namespace": "airflow-prod", "name": "orders.load", "from": "2026-10-01", "to": "2026-10-31"}],
    "direction": "downstream",
    "overwrite": "stale",
    "caps": [{"scope": "all", "at_once": 20}, {"scope": "pool", "name": "warehouse", "at_once": 4}],
    "budget": 200,
    "hours": {"from": "22:00", "to": "06:00", "time_zone": "Europe/Berlin"},
    "reason": "the supplier sent October again",
    "by": "anna@example.com",
    "dry_run": False,
}
_ITEM = PlanItem(task=_LOAD, partition="2026-10-01", state="planned", wave=1, reason="it is stale")
_PLAN = Plan(
    id=_ID,
    planned=62,
    skipped=3,
    waiting=0,
    waves=(31, 31),
    tasks=(
        TaskPart(task=_LOAD, planned=31, skipped=0, first="2026-10-01", last="2026-10-31", seconds=240.0, cost=2.0),
    ),
    items=(_ITEM,),
    truncated=False,
    estimate=Estimate(
        runs=62,
        work_seconds=9_300.0,
        seconds=2_400.0,
        ends_at=datetime(2026, 11, 6, 21, 40, tzinfo=UTC),
        cost=93.0,
        limited_by="caps",
        without_history=0,
    ),
    deadlines=Deadlines(
        endangered=1,
        first=(
            Endangered(
                node=NodeRef("dataset", "s3://lake", "revenue"),
                partition="2026-11-05",
                due_at=datetime(2026, 11, 6, 6, tzinfo=UTC),
                expected_at=datetime(2026, 11, 6, 21, 40, tzinfo=UTC),
                owner="team-sales@example.com",
            ),
        ),
    ),
    planned_at=_BEGAN,
)
_SHOWN = BackfillItem(
    id=_ID,
    state="running",
    reason="the supplier sent October again",
    by="anna@example.com",
    began_at=_BEGAN,
    counts={"planned": 40, "released": 12, "succeeded": 10},
)
_DETAIL = BackfillDetail(
    **msgspec.structs.asdict(_SHOWN),
    request=Backfilling(targets=(Target(name="orders.load", first="2026-10-01"),), caps=(Cap("all", 20),)),
    log=(Change(what="began", at=_BEGAN, by="anna@example.com", reason="the supplier sent October again"),),
    intervals=(Progress(partition="2026-10-01", total=2, succeeded=1, failed=0),),
    ends_at=datetime(2026, 11, 6, 21, 40, tzinfo=UTC),
)


def _schema() -> Schema:
    text, number = Schema(type=OpenAPIType.STRING), Schema(type=OpenAPIType.NUMBER)
    listed = Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.OBJECT))
    return Schema(
        type=OpenAPIType.OBJECT,
        required=["targets"],
        properties={
            "targets": _described(listed, "Tasks or datasets: name, namespace, and partitions, or from and to."),
            "direction": _one_of("What else is built.", "none", "upstream", "downstream", "both"),
            "overwrite": _one_of("What is built that is there.", "never", "stale", "always"),
            "caps": _described(listed, "How much may be under way: scope, at_once, and the name of one."),
            "budget": _described(number, "The most cost units an hour."),
            "hours": Schema(type=OpenAPIType.OBJECT, description="When it works: from, to and time_zone."),
            "reason": _described(text, "Why; kept with the backfill. Needed to begin."),
            "by": _described(text, "Who asks; kept with the backfill."),
            "id": Schema(
                type=OpenAPIType.STRING, format=OpenAPIFormat.UUID, description="An id of your own: asked again, once."
            ),
            "dry_run": Schema(type=OpenAPIType.BOOLEAN, default=True, description="Plan it alone."),
        },
    )


def _described(schema: Schema, description: str) -> Schema:
    return Schema(type=schema.type, items=schema.items, description=description)


def _one_of(description: str, *choices: str) -> Schema:
    return Schema(type=OpenAPIType.STRING, enum=list(choices), default=choices[0], description=description)


@post(
    "/{env:str}/backfills",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("What is to be there in the end, and at what pace.", _REQUEST, _schema()),
    responses=answers(Plan, _PLAN, "The plan; with its id where it was begun."),
    summary="Plan a backfill, or begin one",
)
def plan_backfill(database: NamedDependency[Database], env: EnvironmentName, body: RawBody) -> Plan:
    """What must be rebuilt, in which order, what is left as it is and why, how long it takes and what it costs. Unless
    `dry_run` is false nothing is changed. One that is begun lets its partitions be claimed as far as caps, budget and
    hours allow, each when what it needs has been made."""
    given = shaped(body, BackfillBody)
    work = dispatch.preview if given.dry_run else dispatch.begin
    return work(database, env, given.wanted, datetime.now(UTC))


@get(
    "/{env:str}/backfills",
    sync_to_thread=True,
    operation_class=takes_query(BackfillFilter),
    responses=answers(Page[BackfillItem], Page([_SHOWN], None), "One page of the list."),
    summary="List backfills",
)
def list_backfills(
    database: NamedDependency[Database], env: EnvironmentName, request: Request[Any, Any, Any]
) -> Page[BackfillItem]:
    """The latest first, each with how many of its partitions are in which state."""
    return backfill_list.backfills(database, env, read_query(request, BackfillFilter))


@get(
    "/{env:str}/backfills/{backfill:uuid}",
    sync_to_thread=True,
    responses=answers(BackfillDetail, _DETAIL, "The backfill."),
    summary="Show a backfill",
)
def get_backfill(database: NamedDependency[Database], env: EnvironmentName, backfill: BackfillName) -> BackfillDetail:
    """What was asked for, how far each interval has come, what was done with it, and when it would end at its pace."""
    return backfill_list.detail(database, env, backfill, datetime.now(UTC))


@get(
    "/{env:str}/backfills/{backfill:uuid}/partitions",
    sync_to_thread=True,
    operation_class=takes_query(ItemFilter),
    responses=answers(Page[PlanItem], Page([_ITEM], None), "One page of the list."),
    summary="List the partitions of a backfill",
)
def list_backfill_partitions(
    database: NamedDependency[Database],
    env: EnvironmentName,
    backfill: BackfillName,
    request: Request[Any, Any, Any],
) -> Page[PlanItem]:
    """In the order of the plan, those among them that are left as they are; each with why, or what it waits for."""
    return backfill_list.items(database, env, backfill, read_query(request, ItemFilter))


_SAYING = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "by": Schema(type=OpenAPIType.STRING, description="Who says so; kept with the backfill."),
        "reason": Schema(type=OpenAPIType.STRING, description="Why; kept with the backfill."),
    },
)
_SAID = {"by": "anna@example.com", "reason": "the month is being closed"}


def _change(
    database: Database, redaction: Redaction, env: str, backfill: UUID, verb: Verb, body: bytes
) -> BackfillDetail:
    said = shaped(body or b"{}", _Saying)
    now = datetime.now(UTC)
    return dispatch.change(database, env, backfill, verb, now, by=said.by, reason=said.reason, redaction=redaction)


@post(
    "/{env:str}/backfills/{backfill:uuid}/pause",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Who pauses it, and why.", _SAID, _SAYING),
    responses=answers(BackfillDetail, _DETAIL, "It is paused."),
    summary="Pause a backfill",
)
def pause_backfill(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    backfill: BackfillName,
    body: RawBody,
) -> BackfillDetail:
    """Nothing more is released; what has been may still be claimed, and what runs goes on."""
    return _change(database, redaction, env, backfill, "pause", body)


@post(
    "/{env:str}/backfills/{backfill:uuid}/resume",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Who resumes it, and why.", _SAID, _SAYING),
    responses=answers(BackfillDetail, _DETAIL, "It goes on."),
    summary="Resume a backfill",
)
def resume_backfill(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    backfill: BackfillName,
    body: RawBody,
) -> BackfillDetail:
    """A paused backfill goes on where it was."""
    return _change(database, redaction, env, backfill, "resume", body)


@post(
    "/{env:str}/backfills/{backfill:uuid}/cancel",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Who cancels it, and why.", _SAID, _SAYING),
    responses=answers(BackfillDetail, _DETAIL, "It is canceled."),
    summary="Cancel a backfill",
)
def cancel_backfill(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    backfill: BackfillName,
    body: RawBody,
) -> BackfillDetail:
    """What has not begun is given up, and orders to run again what has not begun are withdrawn; what runs goes on."""
    return _change(database, redaction, env, backfill, "cancel", body)


@post(
    "/{env:str}/backfills/{backfill:uuid}/retry",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body("Who retries it, and why.", _SAID, _SAYING),
    responses=answers(BackfillDetail, _DETAIL, "What failed is planned once more."),
    summary="Retry what failed of a backfill",
)
def retry_backfill(
    database: NamedDependency[Database],
    redaction: NamedDependency[Redaction],
    env: EnvironmentName,
    backfill: BackfillName,
    body: RawBody,
) -> BackfillDetail:
    """Only what failed is built again, and then what stands behind it."""
    return _change(database, redaction, env, backfill, "retry", body)
