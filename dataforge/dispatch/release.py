"""Keeping backfills going: what of them has ended, and what may be claimed next.

Guarantees that a step is one transaction, so that a kill loses none and repeats none: what is released is ordered to be
run again in the transaction that says so, and what was made lets what is below it go in the one that sees it. Whether a
partition may run is its verdict, as of any other; nothing here runs anything, and a claim looks again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from dataforge.dispatch.claim import is_ground
from dataforge.dispatch.rerun import Saying, order
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.aging import questions
from dataforge.ledger.backfill_answer import natures
from dataforge.ledger.backfill_list import said_of
from dataforge.ledger.need import Asked
from dataforge.ledger.question import ask
from dataforge.model.backfill import AT_ONCE, Backfilling, Stage
from dataforge.model.errors import DataForgeError, Unreachable
from dataforge.model.pace import Room, is_open
from dataforge.model.readiness import Question, decide
from dataforge.model.state import PartitionStatus
from dataforge.model.verdict import Code, Verdict
from dataforge.storage import backfill as storage
from dataforge.storage import backfill_basis as basis
from dataforge.storage import backfill_item as parts
from dataforge.storage import environment as environments
from dataforge.storage import readiness
from dataforge.storage import wakeup as wakeups
from dataforge.storage.backfill import Working
from dataforge.storage.backfill_item import Next, UnderWay
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment

_LOOKED_AT = 1_000  # partitions of one backfill among which is chosen in one step
_log = logging.getLogger(__name__)
_HOUR = timedelta(hours=1)
_DONE = frozenset({PartitionStatus.READY, PartitionStatus.STALE, PartitionStatus.SKIPPED})
_ENDED = _DONE | {PartitionStatus.FAILED, PartitionStatus.QUARANTINED}


def tend(
    database: Database,
    environment: str,
    now: datetime,
    redaction: Redaction = NOTHING,
    *,
    trusted: frozenset[str] = frozenset(),
) -> int:
    """Looks after every backfill of the environment that has not ended. Returns how many partitions it has moved on:
    none where there are none, or where somebody else looks after them."""
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        working = storage.at_work(connection, here.id)
        if not working or not storage.try_lock(connection, here.id):
            return 0
        moved = sum(follow(connection, here, each, now) for each in working)
        ready = [each for each in working if _has_next(connection, here, each, now)]  # else nobody waits for the lock
    for each in ready:
        moved += _released(database, environment, each.id, now, redaction, trusted)
    return moved


def _released(
    database: Database, environment: str, backfill: UUID, now: datetime, redaction: Redaction, trusted: frozenset[str]
) -> int:
    """One step of one backfill. One that the ledger refuses to take is paused, and says why: the others go on."""
    try:
        with database.transaction() as connection:
            here = environments.lock(connection, environment)
            known = storage.find(connection, here.id, backfill)
            if (
                known is None
                or not storage.try_lock(connection, here.id)
                or not _has_next(connection, here, known, now)
            ):
                return 0
            return _release(connection, here, known, now, redaction, trusted)
    except Unreachable:
        raise
    except DataForgeError as error:
        _log.warning("the backfill %s is paused: %s", backfill, error)
        with database.transaction() as connection:
            here = environments.find(connection, environment)
            storage.set_state(connection, here.id, backfill, "paused")
            storage.note(connection, here.id, backfill, "paused", now, "dataforge", str(error)[:2_000])
        return 0


def follow(connection: Connection, here: Environment, working: Working, now: datetime) -> int:
    """Writes down how what was released has ended, and whether the whole has; returns how much that is."""
    found = parts.under_way(connection, here.id, working.id)
    ended = _outcomes(connection, here, found, now)
    succeeded = [each.number for each in found if ended.get(each.number) == ""]
    failed = {each.number: why for each in found if not each.failed and (why := ended.get(each.number))}
    if succeeded:
        parts.succeed(connection, here.id, working.id, succeeded, now)
    if failed:
        parts.fail(connection, here.id, working.id, failed, now)
    if failed or any(each.failed and ended.get(each.number) == "" for each in found):
        parts.block(connection, here.id, working.id)
    if succeeded or failed:
        storage.recount(connection, here.id, working.id)
        settle(connection, here, working.id, working.state, now)
    return len(succeeded) + len(failed)


def settle(connection: Connection, here: Environment, backfill: UUID, state: Stage, now: datetime) -> None:
    """Says where the whole stands: over when nothing of it is still to come, and on its way when something is again."""
    to_come, failures = parts.left(connection, here.id, backfill)
    if to_come:
        stands: Stage = "running" if state == "failed" else state
    else:
        stands = "failed" if failures else "done"
    if stands != state:
        storage.set_state(connection, here.id, backfill, stands)
        if not to_come:
            said = "some of it has failed; retry it, or cancel the rest" if failures else "all of it was built"
            storage.note(connection, here.id, backfill, "ended", now, "dataforge", said)


def _outcomes(connection: Connection, here: Environment, found: Sequence[UnderWay], now: datetime) -> dict[int, str]:
    """By number how each of those that have ended did: '' of a success, else what is wrong."""
    places: dict[readiness.Place, UnderWay] = {("task", each.task_id, each.partition): each for each in found}
    statuses = basis.statuses(connection, here.id, places) if places else {}
    over = [each for place, each in places.items() if statuses.get(place) in _ENDED]
    asked = {Asked(each.task_id, each.partition): each.number for each in over}
    ended = ask(connection, here, asked, now, explain=False).questions() if asked else {}
    said = {each: _outcome(question) for each, question in ended.items()}
    failed = [(each.task_id, each.partition) for each, outcome in said.items() if outcome]
    errors = basis.errors(connection, here.id, failed) if failed else {}
    return {
        asked[each]: outcome and errors.get((each.task_id, each.partition), outcome)
        for each, outcome in said.items()
        if outcome is not None
    }


def _outcome(question: Question) -> str | None:
    """None where no run has begun since it was released: what stands of it is from before."""
    own = question.standing
    if own is None or own.status in (PartitionStatus.RUNNING, PartitionStatus.MISSING):
        return None
    if own.status in _DONE:
        return ""
    return f"it is {own.label}"


def _has_next(connection: Connection, here: Environment, working: Working, now: datetime) -> bool:
    """Whether anything may be released: it is time, there is something, and a cap on all leaves room."""
    said = said_of(working)
    if working.state != "running" or not is_open(said.hours, now):
        return False
    most = min((cap.at_once for cap in said.caps if cap.scope == "all"), default=AT_ONCE)
    going = sum(not each.failed for each in parts.under_way(connection, here.id, working.id))
    return going < most and bool(parts.due(connection, here.id, working.id, now, 1))


def _release(
    connection: Connection,
    here: Environment,
    working: Working,
    now: datetime,
    redaction: Redaction,
    trusted: frozenset[str],
) -> int:
    """Lets as much be claimed as the pace allows; returns how much that is, with what was built by others meanwhile."""
    said, following = said_of(working), parts.due(connection, here.id, working.id, now, _LOOKED_AT)
    built = _built_since(connection, here, working, following)
    wanting = [each for each in following if each.number not in built]
    chosen = _within_pace(connection, here, working, said, wanting, now)
    verdicts = _verdicts(connection, here, chosen, now)
    taken = [each for each in chosen if _fits(verdicts[each.number], trusted)]
    held = {each.number: _why(verdicts[each.number]) for each in chosen if each not in taken}
    again = [(each.task_id, each.partition) for each in taken if each.again]
    if again:
        why = Saying("rerun", said.by, f"backfill {working.id}: {said.reason}")
        order(connection, here, again, why, now, redaction)
    if held:
        parts.hold_back(connection, here.id, working.id, held, now)
    if built:
        parts.succeed(connection, here.id, working.id, sorted(built), now)
        settle(connection, here, working.id, working.state, now)
    if taken:
        parts.release(connection, here.id, working.id, [each.number for each in taken], now)
        wakeups.put(connection, here.id, [(each.task_id, each.partition) for each in taken], everything=False)
    if taken or built:
        storage.recount(connection, here.id, working.id)
    return len(taken) + len(built)


def _built_since(connection: Connection, here: Environment, working: Working, following: Sequence[Next]) -> set[int]:
    """Those that others have built since the backfill began, or that came with what runs them."""
    places: dict[readiness.Place, Next] = {("task", each.task_id, each.partition): each for each in following}
    statuses = basis.statuses(connection, here.id, places)
    good = [place for place, status in statuses.items() if status in _DONE]
    begun = readiness.begun(connection, here.id, good) if good else {}
    fresh = [place for place in good if not places[place].again or _is_since(begun.get(place), working.began_at)]
    return {places[place].number for place in fresh}


def _is_since(at: datetime | None, begin: datetime) -> bool:
    return at is not None and at >= begin


def _verdicts(
    connection: Connection, here: Environment, following: Iterable[Next], now: datetime
) -> dict[int, Verdict]:
    """By number whether each may run, were what there is of it not there."""
    asked = {Asked(each.task_id, each.partition): each for each in following}
    found = questions(connection, here, asked, now, explain=False, warn=False)
    return {
        asked[each].number: decide(replace(question, own=None) if _is_past(asked[each], question) else question)
        for each, question in found.items()
    }


def _is_past(item: Next, question: Question) -> bool:
    return item.again and question.own is not None and question.own.status is not PartitionStatus.RUNNING


def _fits(verdict: Verdict, trusted: frozenset[str]) -> bool:
    """Whether it can be claimed, or could but for the slots of a pool, which claims give out in their order."""
    return is_ground(verdict, trusted) and all(reason.code is Code.POOL_FULL for reason in verdict.reasons)


def _why(verdict: Verdict) -> str:
    if verdict.reasons:
        return verdict.reasons[0].message
    return "what it depends on was only observed, and nobody may claim on that: declare it, or trust its namespace"


def _within_pace(
    connection: Connection,
    here: Environment,
    working: Working,
    said: Backfilling,
    wanting: Sequence[Next],
    now: datetime,
) -> list[Next]:
    """As many of these, in their order, as caps and budget allow."""
    going = [each for each in parts.under_way(connection, here.id, working.id) if not each.failed]
    tasks = {each.task_id for each in going} | {each.task_id for each in wanting}
    counting = natures(connection, here.id, tasks)
    spent = parts.spent(connection, here.id, working.id, now - _HOUR) if said.budget is not None else 0.0
    room = Room(said.caps, [counting[each.task_id] for each in going], said.budget, spent)
    return [each for each in wanting if room.admits(counting[each.task_id])]
