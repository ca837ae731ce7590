"""Leases: who may say how an attempt ends, until when, and what is written down of its begin and its end.

Guarantees that a worker whose lease has run out can record nothing more by it, and that the begin and the end of an
attempt are events like any other, so that what is derived never depends on leases.

Fencing protects the record, not the files: a worker that was presumed dead and writes on does so unseen. Let attempts
write to places of their own, or check with a heartbeat before what cannot be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from dataforge.ingest import native
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.memory import Nodes
from dataforge.ledger.record import record
from dataforge.model.claim import (
    LONGEST_LEASE,
    MOST_TOGETHER,
    AllEnded,
    Beaten,
    Ended,
    Ending,
    EndOf,
    Fenced,
    Granted,
    Lost,
    Outcome,
    Said,
)
from dataforge.model.decoding import is_uuid
from dataforge.model.errors import Conflict, FieldError, InvalidInput, NotFound
from dataforge.model.reference import TaskRef
from dataforge.storage import environment as environments
from dataforge.storage import lease as leases
from dataforge.storage import readiness as storage
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.lease import StoredLease

_MOST_ENDED = 1_000  # leases that ran out, written down in one transaction
_STATE: dict[Ending, str] = {
    "completed": "succeeded",
    "failed": "failed",
    "released": "failed",
    "skipped": "skipped",
    "canceled": "canceled",
    "upstream_failed": "upstream_failed",
    "expired": "failed",
}
_Ended = tuple[StoredLease, Ending, Outcome, datetime]


class Wanted(NamedTuple):
    """A partition of a task that is to be leased; without a claim, a run or an attempt those are drawn."""

    task: TaskRef
    partition: str
    claim: str | None = None
    run: str | None = None
    attempt: int | None = None


class Worker(NamedTuple):
    """Who takes leases, for how long, and what it says of itself."""

    name: str
    lease_seconds: int
    source: Mapping[str, str | int] = {}


def grant(
    connection: Connection,
    here: Environment,
    wanted: Sequence[Wanted],
    worker: Worker,
    now: datetime,
    redaction: Redaction = NOTHING,
    *,
    as_one: bool = True,
    nodes: Nodes | None = None,
) -> tuple[Granted, ...]:
    """Leases on the next attempts of these partitions' runs, whose begin is recorded. The caller has decided that they
    may run, and holds the environment's lock. What is run `as_one` takes slots as one; else each takes its own."""
    tasks = {each.task.id for each in wanted}
    subjects = nodes.subjects(tasks) if nodes is not None else storage.subjects(connection, here.id, tasks)
    triggered = {task_id for task_id, subject in subjects.items() if subject.trigger is not None}
    together = uuid4() if as_one and len(wanted) > 1 else None
    named = [(each, UUID(each.claim) if each.claim else uuid4()) for each in wanted]
    runs = [_run(each, claim, triggered=each.task.id in triggered) for each, claim in named]
    last = leases.last_attempts(
        connection, here.id, [(each.task.id, run) for each, run in zip(wanted, runs, strict=True)]
    )
    granted = [
        StoredLease(
            claim=claim,
            task_id=each.task.id,
            partition=each.partition,
            run=run,
            attempt=_attempt(each, run, last[each.task.id, run]),
            worker=worker.name,
            claimed_at=now,
            expires_at=now + timedelta(seconds=worker.lease_seconds),
            ended_at=None,
            ending=None,
            together=together,
            source=worker.source,
        )
        for (each, claim), run in zip(named, runs, strict=True)
    ]
    if as_one:
        slots = _slots(subject.pools for subject in subjects.values())
        taken = [(granted[0].claim, *each) for each in slots.items()]
    else:
        taken = [(lease.claim, *each) for lease in granted for each in subjects[lease.task_id].pools.items()]
    leases.grant(connection, here.id, granted, taken)
    wakeups.drop(connection, here.id, [(each.task.id, each.partition) for each in wanted])
    begun = zip(wanted, granted, strict=True)
    _write(connection, here, [_document(each.task, lease, "running", {}, now) for each, lease in begun], redaction)
    return tuple(_granted(lease) for lease in granted)


def _run(wanted: Wanted, claim: UUID, *, triggered: bool) -> str:
    """The run that an attempt is of. A task that updates trigger has a new one each time, of the claim's own name."""
    return wanted.run or (str(claim) if triggered else wanted.partition or native.WHOLE)


def _attempt(wanted: Wanted, run: str, last: int) -> int:
    if wanted.attempt is None:
        return last + 1
    if wanted.attempt <= last:
        raise Conflict(
            f"attempt {wanted.attempt} of the run {run} of {wanted.task.name} is known already, as is {last}:"
            " claim for the next one"
        )
    return wanted.attempt


def _slots(pools: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """What is run as one takes of each pool what the largest of it takes."""
    found: dict[str, int] = {}
    for taken in pools:
        for name, slots in taken.items():
            found[name] = max(slots, found.get(name, 0))
    return found


def granted_before(
    connection: Connection, here: Environment, wanted: Sequence[Wanted], worker: str
) -> tuple[Granted, ...] | None:
    """What was granted to the same worker under the same ids, all of them, whose answer was lost."""
    known = granted_each(connection, here, wanted, worker)
    if not known:
        return None
    if len(known) < len(wanted):
        raise _taken(next(iter(known.values())).claim)
    return tuple(known[each] for each in wanted)


def granted_each(
    connection: Connection, here: Environment, wanted: Sequence[Wanted], worker: str
) -> dict[Wanted, Granted]:
    """Those of these that were granted to the same worker under the same ids. Raises Conflict for an id under which
    something else was."""
    named = {UUID(each.claim): each for each in wanted if each.claim}
    known = leases.find(connection, here.id, named) if named else {}
    for claim, lease in known.items():
        each = named[claim]
        if (lease.task_id, lease.partition, lease.worker) != (each.task.id, each.partition, worker):
            raise _taken(claim)
    return {each: _granted(known[claim]) for claim, each in named.items() if claim in known}


def _taken(claim: object) -> Conflict:
    return Conflict(f"the claim {claim} is another worker's or for something else: claim under another id")


def follow(
    connection: Connection, here: Environment, wanted: Iterable[Wanted], now: datetime, redaction: Redaction
) -> None:
    """Ends what is still held on earlier attempts of the same runs: their platform begins another, so they are over."""
    numbered = [(each.task.id, each.partition, each.run, each.attempt) for each in wanted if each.run and each.attempt]
    before = leases.followed(connection, here.id, numbered) if numbered else []
    if before:
        over = Outcome(error="its worker said nothing of its end, and the next attempt of the run has begun")
        _end(connection, here, [(lease, "released", over, now) for lease in before], redaction)


def beat(database: Database, environment: str, claim: UUID, lease_seconds: int, now: datetime) -> Granted:
    """Extends a lease to `lease_seconds` from now on. Raises Fenced where it is no longer the worker's."""
    (found,) = _beaten(database, environment, [claim], lease_seconds, now)
    if isinstance(found, Granted):
        return found
    raise found


def beat_all(database: Database, environment: str, claims: Sequence[str], lease_seconds: int, now: datetime) -> Beaten:
    """Extends all that are still their worker's, and tells which are not."""
    check_many("claims", claims)
    wanted = [_id(f"claims[{place}]", claim) for place, claim in enumerate(claims)]
    found = _beaten(database, environment, wanted, lease_seconds, now)
    return Beaten(tuple(each for each in found if isinstance(each, Granted)), _lost(wanted, found))


def _beaten(
    database: Database, environment: str, claims: Sequence[UUID], lease_seconds: int, now: datetime
) -> list[Granted | NotFound | Fenced]:
    check_seconds(lease_seconds)
    expires_at = now + timedelta(seconds=lease_seconds)
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        known = leases.find(connection, here.id, claims)
        found = [_held(here, claim, known.get(claim), now) for claim in claims]
        held = [each for each in found if isinstance(each, StoredLease)]
        leases.extend(connection, here.id, [each.claim for each in held], expires_at)
    return [
        Granted(str(each.claim), each.attempt, expires_at) if isinstance(each, StoredLease) else each for each in found
    ]


def end(
    database: Database,
    environment: str,
    claim: UUID,
    ending: Said,
    outcome: Outcome,
    now: datetime,
    *,
    redaction: Redaction = NOTHING,
) -> Ended:
    """Ends the attempt as its worker says, and gives its slots back; said again, it changes nothing.

    Raises Fenced where the claim is no longer the worker's, and InvalidInput for datasets that no event may have.
    """
    (found,) = _ended(database, environment, {claim: (ending, outcome)}, now, redaction)
    if isinstance(found, Ended):
        return found
    raise found


def end_all(
    database: Database, environment: str, ends: Sequence[EndOf], now: datetime, *, redaction: Redaction = NOTHING
) -> AllEnded:
    """Ends all that are still their worker's, and tells which are not. Raises InvalidInput for datasets that no event
    may have, and for a claim that is named twice: then none has ended."""
    check_many("ends", ends)
    said = {_id(f"ends[{place}].claim", each.claim): each for place, each in enumerate(ends)}
    if len(said) < len(ends):
        raise InvalidInput("ends: expected each claim once", [FieldError("ends", len(ends), "each claim once")])
    wanted = {claim: (each.ending, each.outcome) for claim, each in said.items()}
    found = _ended(database, environment, wanted, now, redaction)
    return AllEnded(tuple(each for each in found if isinstance(each, Ended)), _lost(said, found))


def _lost(claims: Iterable[UUID], found: Iterable[Granted | Ended | NotFound | Fenced]) -> tuple[Lost, ...]:
    """Those of these claims that are no longer their worker's, each with why."""
    told = zip(claims, found, strict=True)
    return tuple(Lost(str(claim), str(each)) for claim, each in told if isinstance(each, NotFound | Fenced))


def _ended(
    database: Database,
    environment: str,
    said: Mapping[UUID, tuple[Said, Outcome]],
    now: datetime,
    redaction: Redaction,
) -> list[Ended | NotFound | Fenced]:
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        known = leases.find(connection, here.id, said)
        found = [_ending(here, claim, known.get(claim), ending, now) for claim, (ending, _) in said.items()]
        held = [each for each in found if isinstance(each, StoredLease)]
        _end(connection, here, [(each, *said[each.claim], now) for each in held], redaction)
    return [Ended(str(each.claim), each.attempt, now) if isinstance(each, StoredLease) else each for each in found]


def end_what_ran_out(database: Database, environment: str, now: datetime, redaction: Redaction = NOTHING) -> int:
    """Writes down the end of leases that ran out; returns how many there were."""
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        if not leases.any_ran_out(connection, here.id, now):  # else nobody has to wait for the lock
            return 0
        return expire(connection, environments.lock(connection, environment), now, redaction)


def expire(connection: Connection, here: Environment, now: datetime, redaction: Redaction = NOTHING) -> int:
    """Writes down the end of leases that ran out: their attempts failed then, unless their platform has said otherwise.
    Returns how many; the caller holds the environment's lock, and comes again while there are as many as one
    transaction takes."""
    found = leases.run_out(connection, here.id, now, _MOST_ENDED)
    if found:
        _end(connection, here, [(each, "expired", _of_expired(each), each.expires_at) for each in found], redaction)
    return len(found)


def _of_expired(lease: StoredLease) -> Outcome:
    return Outcome(error=f"the lease of {lease.worker} ran out at {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC")


def check_worker(name: str) -> None:
    """Raises InvalidInput for a worker that has no name that can be shown."""
    if not name or "\0" in name or len(name) > 512:
        expected = "who claims: 1 to 512 characters, none of them NUL"
        raise InvalidInput(f"worker: expected {expected}", [FieldError("worker", name[:120], expected)])


def check_seconds(seconds: int) -> None:
    """Raises InvalidInput for a lease out of bounds."""
    if not 1 <= seconds <= LONGEST_LEASE:
        expected = f"a number of seconds from 1 to {LONGEST_LEASE:,}; heartbeats extend it"
        error = FieldError("lease_seconds", seconds, expected)
        raise InvalidInput(f"lease_seconds is {seconds}: expected {expected}", [error])


def check_claim(field: str, claim: str | None) -> None:
    """Raises InvalidInput for an id that is none."""
    if claim is not None and not is_uuid(claim):
        raise InvalidInput(f"{field}: expected a UUID, or none", [FieldError(field, claim[:120], "a UUID, or none")])


def _id(field: str, claim: str) -> UUID:
    if not is_uuid(claim):
        expected = "the UUID that a claim was granted under"
        raise InvalidInput(f"{field}: expected {expected}", [FieldError(field, claim[:120], expected)])
    return UUID(claim)


def check_many(field: str, given: Sequence[object], most: int = MOST_TOGETHER) -> None:
    """Raises InvalidInput for none, and for more than are taken at once."""
    if not 1 <= len(given) <= most:
        error = FieldError(field, len(given), f"1 to {most:,} of them")
        raise InvalidInput(f"{field} has {len(given):,}: expected {error.expected}", [error])


def _granted(lease: StoredLease) -> Granted:
    return Granted(str(lease.claim), lease.attempt, lease.expires_at)


def _held(here: Environment, claim: UUID, lease: StoredLease | None, now: datetime) -> StoredLease | NotFound | Fenced:
    """The lease, where it is still its worker's; else why not."""
    if lease is None:
        return NotFound(f"there is no claim {claim} in {here.name}")
    if lease.ended_at is not None:
        return Fenced(
            f"the claim {claim} has {lease.ending} at {lease.ended_at:%Y-%m-%d %H:%M:%S} UTC: it records nothing"
        )
    if lease.expires_at <= now:
        return Fenced(
            f"the claim {claim} ran out at {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC, and another attempt may run now:"
            " nothing is recorded; claim anew"
        )
    return lease


def _ending(
    here: Environment, claim: UUID, lease: StoredLease | None, ending: Ending, now: datetime
) -> StoredLease | Ended | NotFound | Fenced:
    """The lease that is to end; its end where it has ended so before, or why it cannot."""
    if lease is not None and lease.ending == ending and lease.ended_at is not None:
        return Ended(str(claim), lease.attempt, lease.ended_at)
    return _held(here, claim, lease, now)


def _end(connection: Connection, here: Environment, ended: Sequence[_Ended], redaction: Redaction) -> None:
    """Ends leases, and records how their attempts ended; of those that run out only where nobody has said it."""
    if not ended:
        return
    subjects = storage.subjects(connection, here.id, {lease.task_id for lease, *_ in ended})
    expired = [lease for lease, ending, *_ in ended if ending == "expired"]
    reported = leases.reported(connection, here.id, expired) if expired else set()
    documents = []
    for lease, ending, outcome, at in ended:
        if lease.claim not in reported:
            said = {"inputs": outcome.inputs, "outputs": outcome.outputs, "error": _error(ending, lease, outcome)}
            documents.append(_document(subjects[lease.task_id].ref, lease, _STATE[ending], said, at))
    _write(connection, here, documents, redaction)
    leases.end(connection, here.id, [(lease, ending, at) for lease, ending, _, at in ended])


def _error(ending: Ending, lease: StoredLease, outcome: Outcome) -> str | None:
    if ending == "released":
        return outcome.error or f"{lease.worker} gave it back unfinished"
    return outcome.error


def _document(task: TaskRef, lease: StoredLease, state: str, more: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The native event that says so. Its id is the claim's, so that it is recorded once."""
    found: dict[str, Any] = {
        "time": at.isoformat(),
        "id": f"{lease.claim}/{state}",
        "task": {"namespace": task.namespace, "name": task.name},
        "run": lease.run,
        "attempt": lease.attempt,
        "state": state,
        "source": {**lease.source, "claim": str(lease.claim), "worker": lease.worker},
        **{name: value for name, value in more.items() if value},
    }
    return found | ({"partition": lease.partition} if lease.partition else {})


def _write(
    connection: Connection, here: Environment, documents: Iterable[dict[str, Any]], redaction: Redaction
) -> None:
    record(connection, here, [native.parse(document, redaction) for document in documents])
