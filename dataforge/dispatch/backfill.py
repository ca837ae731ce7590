"""Backfills as somebody asks for them: planned, begun, paused, resumed, canceled, retried.

Guarantees that a plan is made on one snapshot and changes nothing; that one which is begun is kept whole or not at all;
and that one which is begun again under its id is begun once. What it releases is `dispatch.release`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from threading import Lock
from uuid import UUID, uuid4

import msgspec

from dataforge.dispatch.release import follow
from dataforge.dispatch.rerun import Saying, order
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.backfill_answer import answer, natures, reason_of
from dataforge.ledger.backfill_list import detail_of, found_by, said_of
from dataforge.ledger.backfill_plan import Planned, plan
from dataforge.model import backfill as model
from dataforge.model.backfill import BackfillDetail, Backfilling, Plan, Stage, Verb
from dataforge.model.errors import Conflict
from dataforge.model.pace import Nature
from dataforge.storage import backfill as storage
from dataforge.storage import backfill_item as parts
from dataforge.storage import environment as environments
from dataforge.storage import readiness
from dataforge.storage import wakeup as wakeups
from dataforge.storage.backfill import Stored
from dataforge.storage.backfill_item import Item
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment

_turn = Lock()  # a plan of 200,000 partitions takes hundreds of megabytes: a process makes one at a time


def preview(database: Database, environment: str, wanted: Backfilling, now: datetime) -> Plan:
    """What the backfill would do; nothing is changed. Raises InvalidInput or NotFound."""
    model.check(wanted, dry_run=True)
    with _turn:
        return _made(database, environment, wanted, now, None)[0]


def _made(
    database: Database, environment: str, wanted: Backfilling, now: datetime, backfill: UUID | None
) -> tuple[Plan, Planned]:
    with database.transaction() as connection:
        readiness.begin_snapshot(connection)
        here = environments.find(connection, environment)
        planned = plan(connection, here.id, wanted, now)
        return answer(connection, here, wanted, planned, str(backfill) if backfill else None, now), planned


def begin(database: Database, environment: str, wanted: Backfilling, now: datetime) -> Plan:
    """Plans it and lets it begin. Asked again under the same id it begins nothing, and says what a plan of now is.

    Raises InvalidInput or NotFound as `preview` does, and Conflict where the id is another backfill's, or where there
    is nothing to build.
    """
    model.check(wanted, dry_run=False)
    backfill = UUID(wanted.id) if wanted.id else uuid4()
    with _turn:
        shown, planned = _made(database, environment, wanted, now, backfill)
        with database.transaction() as connection:
            here = environments.find(connection, environment)
            if (known := storage.find(connection, here.id, backfill)) is not None:
                _check_same(known, wanted)
            elif not shown.planned:
                raise Conflict("there is nothing to build: `dataforge backfill plan` says why of each partition")
            else:
                _keep(connection, here, backfill, wanted, planned, now)
    return shown


def _check_same(known: Stored, wanted: Backfilling) -> None:
    if said_of(known) != msgspec.structs.replace(wanted, id=said_of(known).id):
        raise Conflict(f"the id {known.id} is another backfill's: begin under another one")


def _keep(
    connection: Connection, here: Environment, backfill: UUID, wanted: Backfilling, planned: Planned, now: datetime
) -> None:
    """Keeps a plan; of two that begin one at the same moment under one id the second finds it kept."""
    if not storage.add(connection, here.id, backfill, msgspec.to_builtins(wanted), now):
        return
    counting = natures(connection, here.id, {task for task, _ in planned.places})
    parts.add_items(connection, here.id, backfill, _items(planned, counting))
    storage.recount(connection, here.id, backfill)
    storage.note(connection, here.id, backfill, "began", now, wanted.by, wanted.reason)
    if wanted.proposed:
        storage.set_state(connection, here.id, backfill, "paused")
        storage.note(connection, here.id, backfill, "paused", now, wanted.by, "it is a proposal")


def _items(planned: Planned, counting: Mapping[int, Nature]) -> Iterable[Item]:
    number = [0] * len(planned.places)
    for place, at in enumerate(planned.order):
        number[at] = place
    built = [each.built for each in planned.decisions]
    needs = [[above for above in mine if built[above]] if built[at] else [] for at, mine in enumerate(planned.needs)]
    feeds: list[list[int]] = [[] for _ in planned.places]
    for at, above in enumerate(needs):
        for each in above:
            feeds[each].append(number[at])
    for at, (task, key) in enumerate(planned.places):
        decision = planned.decisions[at]
        yield Item(
            number=number[at],
            task_id=task,
            partition=key,
            wave=decision.wave,
            again=planned.standing[at] != "missing",
            cost=counting[task].cost,
            reason=reason_of(planned, at),
            waits=len(needs[at]),
            feeds=feeds[at],
        )


def change(
    database: Database,
    environment: str,
    backfill: UUID,
    verb: Verb,
    now: datetime,
    *,
    by: str = "unknown",
    reason: str = "",
    redaction: Redaction = NOTHING,
) -> BackfillDetail:
    """Pauses, resumes, cancels or retries a backfill; said again, it changes nothing. What has been claimed goes on.

    Raises NotFound, and Conflict where it is over or, of what is retried, nothing has failed.
    """
    model.check_words(by, reason)
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        storage.lock(connection, here.id)
        found = found_by(connection, here, backfill)
        if found.state not in _FROM[verb] and found.state != _TO[verb]:
            raise Conflict(f"the backfill {backfill} is {found.state}: there is nothing to {verb}")
        if found.state in _FROM[verb]:
            if verb == "cancel":
                _cancel(
                    connection,
                    here,
                    found,
                    Saying("withdraw", by, reason or "its backfill was canceled"),
                    now,
                    redaction,
                )
            if verb == "retry" and not parts.retry(connection, here.id, backfill):
                raise Conflict(f"nothing of the backfill {backfill} has failed: there is nothing to retry")
            storage.set_state(connection, here.id, backfill, _TO[verb])
            storage.recount(connection, here.id, backfill)
            storage.note(connection, here.id, backfill, _NOTED[verb], now, by, reason)
        return detail_of(connection, here, found_by(connection, here, backfill), now)


_FROM: dict[Verb, tuple[Stage, ...]] = {
    "pause": ("running",),
    "resume": ("paused",),
    "cancel": ("running", "paused", "failed"),
    "retry": ("running", "failed"),
}
_TO: dict[Verb, Stage] = {"pause": "paused", "resume": "running", "cancel": "canceled", "retry": "running"}
_NOTED: dict[Verb, str] = {"pause": "paused", "resume": "resumed", "cancel": "canceled", "retry": "retried"}


def _cancel(
    connection: Connection, here: Environment, found: Stored, said: Saying, now: datetime, redaction: Redaction
) -> None:
    """Gives up what has not ended, takes back what was ordered and has not begun, and lets it be live again."""
    follow(connection, here, found, now)
    released = parts.cancel(connection, here.id, found.id, now)
    ordered = [place for place, again in released if again]
    if ordered:
        order(connection, here, ordered, said, now, redaction)
    wakeups.put(connection, here.id, [place for place, _ in released], everything=False)
