"""Claims: a worker takes one attempt of one partition for a time, or of several that it runs as one.

Guarantees that of all who claim a partition at once one is granted it, decided on the state that it finds in the very
transaction that grants it. How leases go on and end is `dispatch.lease`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from dataforge.dispatch import lease
from dataforge.dispatch.lease import Wanted, Worker
from dataforge.dispatch.rerun import Saying, order
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.aging import questions
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked
from dataforge.ledger.reach import made_by
from dataforge.ledger.readiness import task_of
from dataforge.model.claim import (
    MOST_REFUSED,
    MOST_TOGETHER,
    Claiming,
    ClaimingEach,
    ClaimingTogether,
    ClaimRefused,
    Granted,
    Member,
    Together,
)
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.promise import promised
from dataforge.model.question import Named
from dataforge.model.readiness import decide
from dataforge.model.reference import TaskRef
from dataforge.model.verdict import Code, NodeRef, Verdict
from dataforge.storage import environment as environments
from dataforge.storage import reference
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment

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
    worker = Worker(wanted.worker, wanted.lease_seconds)
    with database.transaction() as connection:
        locked = environments.try_lock(connection, environment)
        here = locked or environments.find(connection, environment)
        nodes = Nodes(connection, here.id, locked) if locked else None  # nobody but who holds the lock changes any
        task = _task(connection, here, nodes, wanted)
        member = Wanted(task, wanted.partition, wanted.claim)
        if (granted := lease.granted_before(connection, here, [member], wanted.worker)) is not None:
            return granted[0]
        if nodes and _may_run(connection, here, task, wanted.partition, now, trusted, nodes):
            if not lease.expire(connection, here, now, redaction):
                return lease.grant(connection, here, [member], worker, now, redaction, nodes=nodes)[0]
            if _may_run(connection, here, task, wanted.partition, now, trusted):
                return lease.grant(connection, here, [member], worker, now, redaction)[0]
    with database.snapshot() as connection:  # most of those who come too late are told here, and lock nothing
        verdict = _verdict(connection, here, task, wanted.partition, now, whole=True)
        if not is_claimable(verdict, trusted):
            raise refusal(verdict)
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        if (granted := lease.granted_before(connection, here, [member], wanted.worker)) is not None:
            return granted[0]
        lease.expire(connection, here, now, redaction)
        if not _may_run(connection, here, task, wanted.partition, now, trusted):
            raise refusal(_verdict(connection, here, task, wanted.partition, now, whole=True))
        return lease.grant(connection, here, [member], worker, now, redaction)[0]


def _task(connection: Connection, here: Environment, nodes: Nodes | None, wanted: Claiming) -> TaskRef:
    """The task that is to be claimed, out of what is remembered if that is known to hold."""
    if nodes is None:
        return reference.resolve_task(connection, here.id, wanted.namespace, wanted.name)
    return task_of(connection, here, nodes, Named(wanted.name, wanted.namespace, wanted.partition))


def claim_together(
    database: Database,
    environment: str,
    wanted: ClaimingTogether,
    now: datetime,
    *,
    trusted: frozenset[str] = frozenset(),
    redaction: Redaction = NOTHING,
) -> Together:
    """The right to run all of these partitions, which one worker runs as one: what one of them makes, another may wait
    for, and of each pool they take what the largest of them takes. With `again` those that are done are ordered to be
    run again, in the same transaction.

    Raises ClaimRefused with the verdicts on those that may not run, and then nothing is granted and nothing ordered;
    NotFound for a task nobody knows; Conflict for an attempt that is known; InvalidInput for what is out of bounds.
    """
    check_group(wanted, MOST_TOGETHER)
    worker = Worker(wanted.worker, wanted.lease_seconds, wanted.source)
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        members = members_of(connection, here, wanted.partitions)
        if (granted := lease.granted_before(connection, here, members, wanted.worker)) is not None:
            return Together(granted)
        lease.expire(connection, here, now, redaction)
        lease.follow(connection, here, members, now, redaction)
        verdicts = _together(connection, here, members, now, whole=False)
        if wanted.again is not None and (done := [place for place, each in verdicts.items() if _is_over(each)]):
            saying = Saying("rerun", wanted.again.by, wanted.again.reason)
            order(connection, here, done, saying, now, redaction)
            verdicts = _together(connection, here, members, now, whole=False)
        if not all(is_claimable(each, trusted) for each in verdicts.values()):
            verdicts = _together(connection, here, members, now, whole=True)
            refused = [each for each in verdicts.values() if not is_claimable(each, trusted)]
            raise refusal(refused[0], len(verdicts), refused[1:])
        return Together(lease.grant(connection, here, members, worker, now, redaction))


def members_of(connection: Connection, here: Environment, partitions: Sequence[Member]) -> list[Wanted]:
    """The partitions with the tasks that their names stand for, each once."""
    named = {(each.namespace, each.name) for each in partitions}
    tasks = {name: reference.resolve_task(connection, here.id, *name) for name in sorted(named, key=str)}
    found = [
        Wanted(tasks[each.namespace, each.name], each.partition, each.claim, each.run, each.attempt)
        for each in partitions
    ]
    if len({(each.task.id, each.partition) for each in found}) < len(found):
        error = FieldError("partitions", len(found), "each partition of a task once")
        raise InvalidInput("partitions: expected each partition of a task once", [error])
    return found


def _together(
    connection: Connection, here: Environment, members: Iterable[Wanted], now: datetime, *, whole: bool
) -> dict[Asked, Verdict]:
    """Whether each may run once those before it in the group have; only the `whole` says of what to be warned. What a
    dataset lacks is told of an explained question alone, and is a part of what is promised."""
    asked = [Asked(each.task.id, each.partition) for each in members]
    question = questions(connection, here, asked, now, warn=whole)
    made = {(NodeRef("task", each.task.namespace, each.task.name), each.partition) for each in members}
    places = made_by(connection, here.id, asked, now)
    names = reference.names(connection, here.id, "dataset", {node for _, node, _ in places})
    made |= {(NodeRef("dataset", *names[node]), key) for _, node, key in places}
    return {each: decide(promised(question[each], made)) for each in asked}


def _is_over(verdict: Verdict) -> bool:
    """Whether it has run, so that an order to run it again is what it lacks."""
    return not _OVER.isdisjoint(reason.code for reason in verdict.reasons)


_OVER = frozenset({Code.ALREADY_DONE, Code.CANCELED})


def _check(wanted: Claiming) -> None:
    lease.check_seconds(wanted.lease_seconds)
    lease.check_claim("claim", wanted.claim)
    lease.check_worker(wanted.worker)


def check_group(wanted: ClaimingTogether | ClaimingEach, most: int) -> None:
    """Raises InvalidInput for bounds that are not kept, and for ids that are none or the same."""
    lease.check_seconds(wanted.lease_seconds)
    lease.check_worker(wanted.worker)
    lease.check_many("partitions", wanted.partitions, most)
    for place, each in enumerate(wanted.partitions):
        lease.check_claim(f"partitions[{place}].claim", each.claim)
    claims = [each.claim for each in wanted.partitions if each.claim is not None]
    if claims and len(set(claims)) < len(wanted.partitions):
        error = FieldError("partitions", len(set(claims)), "a claim of its own for each, or for none")
        raise InvalidInput(f"partitions: expected {error.expected}", [error])


def _verdict(
    connection: Connection,
    here: Environment,
    task: TaskRef,
    partition: str,
    now: datetime,
    nodes: Nodes | None = None,
    *,
    whole: bool,
) -> Verdict:
    """Whether it may run; only the `whole` says by what it was kept waiting, and of what to be warned."""
    asked = Asked(task.id, partition)
    return decide(questions(connection, here, [asked], now, explain=whole, warn=whole, nodes=nodes)[asked])


def _may_run(
    connection: Connection,
    here: Environment,
    task: TaskRef,
    partition: str,
    now: datetime,
    trusted: frozenset[str],
    nodes: Nodes | None = None,
) -> bool:
    return is_claimable(_verdict(connection, here, task, partition, now, nodes, whole=False), trusted)


def is_claimable(verdict: Verdict, trusted: frozenset[str]) -> bool:
    return verdict.runnable and is_ground(verdict, trusted)


def is_ground(verdict: Verdict, trusted: frozenset[str]) -> bool:
    """Whether a claim may rest on the verdict: on what was only observed it may where that namespace is `trusted`."""
    return verdict.basis == "declared" or not trusted.isdisjoint((verdict.task.namespace, EVERYWHERE))


def refusal(verdict: Verdict, together: int = 1, others: Sequence[Verdict] = ()) -> ClaimRefused:
    subject = f"{verdict.task.name} for {verdict.partition}" if verdict.partition else verdict.task.name
    more = f"; with it {len(others):,} more of the {together:,} that were claimed together" if others else ""
    if not verdict.runnable:
        message = f"{subject} may not run now: {verdict.reasons[0].message}{more}"
    else:
        message = (
            f"{subject} could run, as far as was observed, and nobody may claim on that: declare what it depends on, or"
            f" name {verdict.task.namespace} in DATAFORGE_TRUSTED{more}"
        )
    return ClaimRefused(message, verdict, others[: MOST_REFUSED - 1])
