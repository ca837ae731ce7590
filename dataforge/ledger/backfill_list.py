"""Backfills as lists show them: each with how far it has come, and its partitions page by page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from dataforge.model.backfill import (
    MOST_SHOWN,
    BackfillDetail,
    BackfillFilter,
    Backfilling,
    BackfillItem,
    Change,
    ItemFilter,
    PlanItem,
    Progress,
)
from dataforge.model.catalog import NodeName
from dataforge.model.errors import NotFound
from dataforge.model.listing import Page, read_cursor, write_cursor
from dataforge.model.pace import ends_at
from dataforge.storage import backfill as storage
from dataforge.storage import backfill_item as parts
from dataforge.storage import environment as environments
from dataforge.storage import readiness
from dataforge.storage.backfill import Stored, Working
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment

_ANY, _ALL = BackfillFilter(), ItemFilter()


def backfills(database: Database, environment: str, wanted: BackfillFilter = _ANY) -> Page[BackfillItem]:
    """One page of the backfills, the latest first."""
    with database.transaction() as connection:
        return backfills_in(connection, environments.find(connection, environment).id, wanted)


def backfills_in(connection: Connection, environment: int, wanted: BackfillFilter) -> Page[BackfillItem]:
    """The same in a transaction that is open."""
    after, limit = read_cursor(wanted.cursor, _Place), wanted.limit
    key = (after.at, UUID(after.id)) if after else None
    found = storage.page(connection, environment, wanted.state, key, limit + 1)
    last = _Place(found[limit - 1].began_at, str(found[limit - 1].id)) if len(found) > limit else None
    return Page([_shown(each) for each in found[:limit]], write_cursor(last))


class _Place(msgspec.Struct, frozen=True):
    """Where a page of backfills ends."""

    at: datetime
    id: str


class _Number(msgspec.Struct, frozen=True):
    """Where a page of a backfill's partitions ends."""

    number: int


def _shown(found: Stored) -> BackfillItem:
    said = said_of(found)
    return BackfillItem(
        id=str(found.id),
        state=found.state,
        reason=said.reason,
        by=said.by,
        began_at=found.began_at,
        counts=found.counts,
    )


def detail(database: Database, environment: str, backfill: UUID, now: datetime) -> BackfillDetail:
    """All there is to say of a backfill as a whole. Raises NotFound."""
    with database.transaction() as connection:
        readiness.begin_snapshot(connection)
        here = environments.find(connection, environment)
        found = found_by(connection, here, backfill)
        return detail_of(connection, here, found, now)


def detail_of(connection: Connection, here: Environment, found: Stored, now: datetime) -> BackfillDetail:
    said = said_of(found)
    return BackfillDetail(
        **msgspec.structs.asdict(_shown(found)),
        request=said,
        log=tuple(
            Change(what=what, at=at, by=by, reason=reason)  # type: ignore[arg-type]  # the table allows no other
            for what, at, by, reason in storage.changes(connection, here.id, found.id)
        ),
        intervals=tuple(
            Progress(partition=key or None, total=total, succeeded=built, failed=failed)
            for key, total, built, failed in parts.intervals(connection, here.id, found.id, MOST_SHOWN)
        ),
        ends_at=_expected(connection, here, found, said, now),
    )


def _expected(
    connection: Connection, here: Environment, found: Stored, said: Backfilling, now: datetime
) -> datetime | None:
    """When it ends at its pace so far."""
    number, begun, last = parts.pace(connection, here.id, found.id)
    left = found.counts.get("planned", 0) + found.counts.get("released", 0)
    if found.state != "running" or not left or begun is None or last is None or number < 2:
        return None
    return ends_at(said.hours, now, (last - begun).total_seconds() / number * left)


def items(database: Database, environment: str, backfill: UUID, wanted: ItemFilter = _ALL) -> Page[PlanItem]:
    """One page of a backfill's partitions, in the order of the plan. Raises NotFound."""
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        found_by(connection, here, backfill)
        return items_of(connection, here.id, wanted, [str(backfill)])[0]


def items_of(
    connection: Connection, environment: int, wanted: ItemFilter, backfills: Sequence[str]
) -> list[Page[PlanItem]]:
    """The same page of each of these backfills, in a transaction that is open."""
    after, limit = read_cursor(wanted.cursor, _Number), wanted.limit
    ids = [UUID(each) for each in backfills]
    found: dict[UUID, list[parts.Listed]] = {each: [] for each in ids}
    for item in parts.items(connection, environment, ids, wanted.state, after.number if after else -1, limit + 1):
        found[item.backfill].append(item)
    return [_page(found[each], limit) for each in ids]


def _page(found: Sequence[parts.Listed], limit: int) -> Page[PlanItem]:
    last = _Number(found[limit - 1].number) if len(found) > limit else None
    return Page([_listed(each) for each in found[:limit]], write_cursor(last))


def _listed(item: parts.Listed) -> PlanItem:
    return PlanItem(
        task=NodeName(item.namespace, item.name),
        partition=item.partition or None,
        state=item.state,
        wave=item.wave or None,
        reason=item.reason,
        released_at=item.released_at,
        ended_at=item.ended_at,
    )


def found_by(connection: Connection, here: Environment, backfill: UUID) -> Stored:
    found = storage.find(connection, here.id, backfill)
    if found is None:
        raise NotFound(f"there is no backfill {backfill} in {here.name}: `dataforge backfill list` has them")
    return found


def said_of(found: Working) -> Backfilling:
    """What was asked for."""
    return msgspec.convert(found.request, Backfilling)
