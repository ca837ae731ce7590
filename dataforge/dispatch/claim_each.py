"""Claims of many partitions in one transaction, each for itself: what a worker runs side by side.

Guarantees that it grants exactly what claims one after another would, in the order asked, by a number of queries that
does not grow with theirs: what may not run is refused with its verdict, and hinders no other.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from msgspec.structs import replace

from dataforge.dispatch import lease
from dataforge.dispatch.claim import check_group, is_claimable, members_of, refusal
from dataforge.dispatch.lease import Worker
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.aging import aged
from dataforge.ledger.need import Asked
from dataforge.ledger.question import ask
from dataforge.model.claim import MOST_EACH, ClaimedEach, ClaimingEach, Refused
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.readiness import Question, decide
from dataforge.storage import environment as environments
from dataforge.storage.database import Database


def claim_each(
    database: Database,
    environment: str,
    wanted: ClaimingEach,
    now: datetime,
    *,
    trusted: frozenset[str] = frozenset(),
    redaction: Redaction = NOTHING,
) -> ClaimedEach:
    """The right to run those of these partitions that may run now, each with slots of its own. What was granted under
    the same id before is granted as it was.

    Raises NotFound for a task nobody knows, Conflict for an attempt that is known, InvalidInput for what is out of
    bounds; then nothing is granted.
    """
    check_group(wanted)
    if len(wanted.partitions) > MOST_EACH:
        error = FieldError("partitions", len(wanted.partitions), f"1 to {MOST_EACH:,} of them")
        raise InvalidInput(f"partitions has {len(wanted.partitions):,}: expected {error.expected}", [error])
    worker = Worker(wanted.worker, wanted.lease_seconds, wanted.source)
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        members = members_of(connection, here, wanted.partitions)
        found = lease.granted_each(connection, here, members, wanted.worker)
        lease.expire(connection, here, now, redaction)
        rest = [each for each in members if each not in found]
        lease.follow(connection, here, rest, now, redaction)
        asked = {each: Asked(each.task.id, each.partition) for each in rest}
        question = aged(connection, here.id, ask(connection, here, asked.values(), now), now, warn=False)
        taken, chosen, refused = Counter[str](), [], []
        for each in rest:
            beside = _beside(question[asked[each]], taken)
            verdict = decide(beside)
            if is_claimable(verdict, trusted):
                chosen.append(each)
                taken.update({pool.name: pool.wanted for pool in beside.admission.pools})
            else:
                refused.append(Refused(members.index(each), str(refusal(verdict)), verdict))
        if chosen:
            granted = lease.grant(connection, here, chosen, worker, now, redaction, as_one=False)
            found |= dict(zip(chosen, granted, strict=True))
        return ClaimedEach(tuple(map(found.get, members)), tuple(refused))


def _beside(question: Question, taken: Counter[str]) -> Question:
    """The same question once these slots are taken."""
    pools = tuple(replace(pool, taken=pool.taken + taken[pool.name]) for pool in question.admission.pools)
    return replace(question, admission=replace(question.admission, pools=pools))
