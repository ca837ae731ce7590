"""Claims of many partitions in one transaction, each for itself: what a worker runs side by side.

Guarantees that it grants exactly what claims one after another would, in the order asked, by a number of queries that
does not grow with theirs: what may not run is refused with its verdict, and hinders no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from dataforge.dispatch import lease
from dataforge.dispatch.claim import check_group, is_claimable, members_of, refusal
from dataforge.dispatch.lease import Wanted, Worker
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.aging import questions
from dataforge.ledger.need import Asked
from dataforge.model.claim import MOST_EACH, ClaimedEach, ClaimingEach, Refused
from dataforge.model.readiness import Question, decide
from dataforge.model.verdict import Verdict
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
    check_group(wanted, MOST_EACH)
    worker = Worker(wanted.worker, wanted.lease_seconds, wanted.source)
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        members = members_of(connection, here, wanted.partitions)
        found = lease.granted_each(connection, here, members, wanted.worker)
        lease.expire(connection, here, now, redaction)
        rest = [each for each in members if each not in found]
        lease.follow(connection, here, rest, now, redaction)
        asked = {each: Asked(each.task.id, each.partition) for each in rest}
        question = questions(connection, here, asked.values(), now, warn=False)
        refused = _refused({each: question[asked[each]] for each in rest}, trusted)
        if chosen := [each for each in rest if each not in refused]:
            granted = lease.grant(connection, here, chosen, worker, now, redaction, as_one=False)
            found |= dict(zip(chosen, granted, strict=True))
        told = ((place, refused[each]) for place, each in enumerate(members) if each in refused)
        said = tuple(Refused(place, str(refusal(verdict)), verdict) for place, verdict in told)
        return ClaimedEach(tuple(map(found.get, members)), said)


def _refused(asked: Mapping[Wanted, Question], trusted: frozenset[str]) -> dict[Wanted, Verdict]:
    """The verdicts on those that may not run, once those before them have taken their slots."""
    found, taken = dict[Wanted, Verdict](), Counter[str]()
    for each, question in asked.items():
        verdict = decide(_beside(question, taken))
        if is_claimable(verdict, trusted):
            taken.update({pool.name: pool.wanted for pool in question.admission.pools})
        else:
            found[each] = verdict
    return found


def _beside(question: Question, taken: Counter[str]) -> Question:
    """The same question once these slots are taken."""
    pools = tuple(replace(pool, taken=pool.taken + taken[pool.name]) for pool in question.admission.pools)
    return replace(question, admission=replace(question.admission, pools=pools))
