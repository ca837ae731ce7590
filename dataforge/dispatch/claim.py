"""Claims: a worker takes one attempt of one partition for a time, and says how it ended.

Guarantees that of all who claim a partition at once one is granted it, decided on the state that it finds in the very
transaction that grants it; that a worker whose lease has run out can record nothing more by it; and that the attempt's
begin and end are events like any other, so that what is derived never depends on leases.

Fencing protects the record, not the files: a worker that was presumed dead and writes on does so unseen. Let attempts
write to places of their own, or check with a heartbeat before what cannot be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from dataforge.ingest import native
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.aging import aged
from dataforge.ledger.need import Asked
from dataforge.ledger.question import ask
from dataforge.ledger.record import record
from dataforge.model.claim import LONGEST_LEASE, Claiming, ClaimRefused, Ended, Fenced, Granted, Outcome
from dataforge.model.decoding import is_uuid
from dataforge.model.errors import Conflict, FieldError, InvalidInput, NotFound
from dataforge.model.readiness import decide
from dataforge.model.reference import TaskRef
from dataforge.model.verdict import Verdict
from dataforge.storage import environment as environments
from dataforge.storage import lease as leases
from dataforge.storage import readiness as storage
from dataforge.storage import reference
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.lease import Ending, StoredLease

_MOST_ENDED = 1_000  # leases that ran out, written down in one transaction
_STATE: dict[Ending, str] = {"completed": "succeeded", "failed": "failed", "released": "failed", "expired": "failed"}
EVERYWHERE = "*"  # among the trusted namespaces: all of them


def claim(
    database: Database,
    environment: str,
    wanted: Claiming,
    now: datetime,
    *,
    trusted: frozenset[str] = frozenset(),
    redaction: Redaction = NOTHING,
) -> Granted:
    """The right to run a partition, for `lease_seconds`. A verdict that rests on what was only observed is no ground
    for it, unless the task's namespace is `trusted`.

    Raises ClaimRefused with the verdict, NotFound for a task nobody knows, InvalidInput for a lease out of bounds.
    """
    _check(wanted)
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        task = reference.resolve_task(connection, here.id, wanted.namespace, wanted.name)
        if (granted := _granted_before(connection, here, task, wanted)) is not None:
            return granted
        if (locked := environments.try_lock(connection, environment)) is not None:
            may_run = partial(_may_run, connection, locked, task, wanted.partition, now, trusted)
            if may_run() and (not expire(connection, locked, now, redaction) or may_run()):
                return _grant(connection, locked, task, wanted, now, redaction)
    with database.transaction() as connection:  # most of those who come too late are told here, and lock nothing
        storage.begin_snapshot(connection)
        verdict = _verdict(connection, here, task, wanted.partition, now, whole=True)
        if not _claimable(verdict, trusted):
            raise _refusal(verdict)
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        if (granted := _granted_before(connection, here, task, wanted)) is not None:
            return granted
        expire(connection, here, now, redaction)
        if not _may_run(connection, here, task, wanted.partition, now, trusted):
            raise _refusal(_verdict(connection, here, task, wanted.partition, now, whole=True))
        return _grant(connection, here, task, wanted, now, redaction)


def _grant(
    connection: Connection, locked: Environment, task: TaskRef, wanted: Claiming, now: datetime, redaction: Redaction
) -> Granted:
    lease = _lease(connection, locked, task, wanted, now)
    wakeups.drop(connection, locked.id, [(task.id, wanted.partition)])
    _write(connection, locked, [_document(task, lease, "running", {}, now)], redaction)
    return Granted(str(lease.claim), lease.attempt, lease.expires_at)


def heartbeat(database: Database, environment: str, claim: UUID, lease_seconds: int, now: datetime) -> Granted:
    """Extends the lease to `lease_seconds` from now on. Raises Fenced where it is no longer the worker's."""
    _check_seconds(lease_seconds)
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        held = _held(connection, here, claim, now)
        expires_at = now + timedelta(seconds=lease_seconds)
        leases.extend(connection, here.id, claim, expires_at)
        return Granted(str(claim), held.attempt, expires_at)


def end(
    database: Database,
    environment: str,
    claim: UUID,
    ending: Ending,
    outcome: Outcome,
    now: datetime,
    *,
    redaction: Redaction = NOTHING,
) -> Ended:
    """Ends the attempt as its worker says, and gives its slots back; said again, it changes nothing.

    Raises Fenced where the claim is no longer the worker's, and InvalidInput for datasets that no event may have.
    """
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        known = leases.find(connection, here.id, claim)
        if known is not None and known.ending == ending and known.ended_at is not None:
            return Ended(str(claim), known.attempt, known.ended_at)
        held = _held(connection, here, claim, now)
        _record(connection, here, [(held, ending, outcome, now)], redaction)
        leases.end(connection, here.id, [claim], ending, now)
        return Ended(str(claim), held.attempt, now)


def end_what_ran_out(database: Database, environment: str, now: datetime, redaction: Redaction = NOTHING) -> int:
    """Writes down the end of leases that ran out; returns how many there were."""
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        if not leases.any_ran_out(connection, here.id, now):  # else nobody has to wait for the lock
            return 0
        return expire(connection, environments.lock(connection, environment), now, redaction)


def expire(connection: Connection, here: Environment, now: datetime, redaction: Redaction = NOTHING) -> int:
    """Writes down the end of leases that ran out: their attempts failed then. Returns how many; the caller holds the
    environment's lock, and comes again while there are as many as one transaction takes."""
    found = leases.run_out(connection, here.id, now, _MOST_ENDED)
    if found:
        _record(connection, here, [(each, "expired", _of_expired(each), each.expires_at) for each in found], redaction)
        leases.end(connection, here.id, [each.claim for each in found], "expired", now)
    return len(found)


def _of_expired(lease: StoredLease) -> Outcome:
    return Outcome(error=f"the lease of {lease.worker} ran out at {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC")


def _check(wanted: Claiming) -> None:
    _check_seconds(wanted.lease_seconds)
    if wanted.claim is not None and not is_uuid(wanted.claim):
        error = FieldError("claim", wanted.claim[:120], "a UUID, or none")
        raise InvalidInput("claim: expected a UUID, or none", [error])
    if not wanted.worker or "\0" in wanted.worker or len(wanted.worker) > 512:
        expected = "who claims: 1 to 512 characters, none of them NUL"
        raise InvalidInput(f"worker: expected {expected}", [FieldError("worker", wanted.worker[:120], expected)])


def _check_seconds(seconds: int) -> None:
    if not 1 <= seconds <= LONGEST_LEASE:
        expected = f"a number of seconds from 1 to {LONGEST_LEASE:,}; heartbeats extend it"
        error = FieldError("lease_seconds", seconds, expected)
        raise InvalidInput(f"lease_seconds is {seconds}: expected {expected}", [error])


def _verdict(
    connection: Connection, here: Environment, task: TaskRef, partition: str, now: datetime, *, whole: bool
) -> Verdict:
    """Whether it may run; only the `whole` says by what it was kept waiting, and of what to be warned."""
    asked = Asked(task.id, partition)
    question = ask(connection, here, [asked], now, explain=whole)
    return decide(aged(connection, here.id, question, now, warn=whole)[asked])


def _may_run(
    connection: Connection, here: Environment, task: TaskRef, partition: str, now: datetime, trusted: frozenset[str]
) -> bool:
    return _claimable(_verdict(connection, here, task, partition, now, whole=False), trusted)


def _claimable(verdict: Verdict, trusted: frozenset[str]) -> bool:
    return verdict.runnable and is_ground(verdict, trusted)


def is_ground(verdict: Verdict, trusted: frozenset[str]) -> bool:
    """Whether a claim may rest on the verdict: on what was only observed it may where that namespace is `trusted`."""
    return verdict.basis == "declared" or not trusted.isdisjoint((verdict.task.namespace, EVERYWHERE))


def _refusal(verdict: Verdict) -> ClaimRefused:
    subject = f"{verdict.task.name} for {verdict.partition}" if verdict.partition else verdict.task.name
    if not verdict.runnable:
        return ClaimRefused(f"{subject} may not run now: {verdict.reasons[0].message}", verdict)
    return ClaimRefused(
        f"{subject} could run, as far as was observed, and nobody may claim on that: declare what it depends on, or"
        f" name {verdict.task.namespace} in DATAFORGE_TRUSTED",
        verdict,
    )


def _granted_before(connection: Connection, here: Environment, task: TaskRef, wanted: Claiming) -> Granted | None:
    """What was granted to the same worker under the same id, whose answer was lost."""
    known = leases.find(connection, here.id, UUID(wanted.claim)) if wanted.claim else None
    if known is None:
        return None
    if (known.task_id, known.partition, known.worker) != (task.id, wanted.partition, wanted.worker):
        raise Conflict(f"the claim {wanted.claim} is another worker's or for something else: claim under another id")
    return Granted(str(known.claim), known.attempt, known.expires_at)


def _lease(connection: Connection, here: Environment, task: TaskRef, wanted: Claiming, now: datetime) -> StoredLease:
    """A lease on the next attempt of the partition's run. A task that updates trigger has a new run each time, of the
    claim's own name."""
    subject = storage.subjects(connection, here.id, [task.id])[task.id]
    claim = UUID(wanted.claim) if wanted.claim else uuid4()
    run = str(claim) if subject.trigger is not None else wanted.partition or native.WHOLE
    lease = StoredLease(
        claim=claim,
        task_id=task.id,
        partition=wanted.partition,
        run=run,
        attempt=leases.last_attempt(connection, here.id, task.id, run) + 1,
        worker=wanted.worker,
        claimed_at=now,
        expires_at=now + timedelta(seconds=wanted.lease_seconds),
        ended_at=None,
        ending=None,
    )
    leases.grant(connection, here.id, lease, subject.pools)
    return lease


def _held(connection: Connection, here: Environment, claim: UUID, now: datetime) -> StoredLease:
    lease = leases.find(connection, here.id, claim)
    if lease is None:
        raise NotFound(f"there is no claim {claim} in {here.name}")
    if lease.ended_at is not None:
        raise Fenced(
            f"the claim {claim} has {lease.ending} at {lease.ended_at:%Y-%m-%d %H:%M:%S} UTC: it records nothing"
        )
    if lease.expires_at <= now:
        raise Fenced(
            f"the claim {claim} ran out at {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC, and another attempt may run now:"
            " nothing is recorded; claim anew"
        )
    return lease


def _record(
    connection: Connection,
    here: Environment,
    ended: Iterable[tuple[StoredLease, Ending, Outcome, datetime]],
    redaction: Redaction,
) -> None:
    listed = list(ended)
    subjects = storage.subjects(connection, here.id, {lease.task_id for lease, *_ in listed})
    documents = []
    for lease, ending, outcome, at in listed:
        said = {"inputs": outcome.inputs, "outputs": outcome.outputs, "error": _error(ending, lease, outcome)}
        documents.append(_document(subjects[lease.task_id].ref, lease, _STATE[ending], said, at))
    _write(connection, here, documents, redaction)


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
        "source": {"claim": str(lease.claim), "worker": lease.worker},
        **{name: value for name, value in more.items() if value},
    }
    return found | ({"partition": lease.partition} if lease.partition else {})


def _write(
    connection: Connection, here: Environment, documents: Iterable[dict[str, Any]], redaction: Redaction
) -> None:
    record(connection, here, [native.parse(document, redaction) for document in documents])
