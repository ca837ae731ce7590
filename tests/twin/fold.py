"""The twin of the fold: what is believed of partitions, by what runs say of them.

Plain and slow: everything is made anew from all events each time, by way of runs (`run`) and claims (`claim`). Between
runs of one partition the later started wins (docs/decisions/0001). What failed checks and orders hold back is in
`quarantine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from dataforge.model.reference import node_id
from tests.twin.claim import Claim, Place, order
from tests.twin.quarantine import Refusal, held_since
from tests.twin.run import EVIDENCE, RANKS

if TYPE_CHECKING:
    from tests.twin.completeness import Whole

MADE = ("ready", "stale")  # a success, of a stream also one that data came late for


class State(NamedTuple):
    """What is believed of a partition."""

    status: str
    state: str
    since: datetime | None
    task: str
    run: str
    begun: datetime | None
    made: Claim | None  # the last success
    claims: tuple[Claim, ...]  # of the run that decides
    successes: tuple[Claim, ...]  # all that there ever were, the one that takes precedence last
    evidence: str = "reported"

    @property
    def settled(self) -> bool:
        """Whether the outcome rests on more than inference."""
        return self.evidence != "inferred"


Judge = Callable[[Place, Sequence[Claim]], "Whole | None"]


def states_of(
    claims: dict[Place, list[Claim]],
    before: dict[Place, list[Claim]] | None = None,
    quarantines: dict[Place, list[tuple[datetime, bool]]] | None = None,
    refused: dict[Place, list[Refusal]] | None = None,
    judged: Judge = lambda _place, _claims: None,
) -> dict[Place, State]:
    """What is believed of each partition, by the claims on it and the successes `before` those. `quarantines` are the
    orders about a place, each with whether it holds back or lets go; `refused` is what checks found; `judged` says what
    the claims on a partition come to that several runs make."""
    before, quarantines, refused = before or {}, quarantines or {}, refused or {}
    found = {
        place: _state(here, quarantines.get(place, ()), refused.get(place, ()), judged(place, here))
        for place, here in claims.items()
        if any(not claim.past for claim in here)
    }
    return {
        place: state._replace(successes=_successes(claims[place], before.get(place, ())))
        for place, state in found.items()
        if state is not None
    }


def _state(
    claims: Sequence[Claim], orders: Iterable[tuple[datetime, bool]], refusals: Iterable[Refusal], whole: Whole | None
) -> State | None:
    """The state of a place; nothing where of several that make it none has begun."""
    latest = max((claim for claim in claims if not claim.past), key=order)
    groups = {(latest.task, latest.group)} if whole is None else whole.groups
    group = [c for c in claims if not c.past and (c.task, c.group) in groups]
    if not group:
        return None
    status, state = _together(group)
    if whole is not None and whole.status != "ready":  # which what came late for a stream may make stale
        status = whole.status
    since = max((claim.since for claim in group if claim.since), default=None)
    begun = min((claim.began for claim in group if claim.began), default=None)
    held = held_since([((c.task, c.run, c.number), c.version) for c in group], begun, orders, refusals)
    if status in MADE and held is not None:
        status, since = "quarantined", max(each for each in (since, held) if each)
    successes = (claim for claim in claims if _made(claim, claims) and (whole is None or whole.made))
    made = max(successes, key=order, default=None)
    task = min((claim.of_task for claim in group), key=lambda name: node_id("ns", name))
    run = min(claim.of_run for claim in group if claim.of_task == task)
    evidence = min((claim.evidence for claim in group), key=EVIDENCE.index)
    return State(status, state, since, task, run, begun, made, tuple(group), (), evidence)


def _successes(claims: Sequence[Claim], before: Sequence[Claim]) -> tuple[Claim, ...]:
    """Every success, each attempt's as it is said now. The instances of a mapped task are one."""
    ready = [claim for claim in claims if claim.status in MADE]
    known = {(claim.task, claim.run, claim.number, claim.place) for claim in ready}
    ready += [c for c in before if (c.task, c.run, c.number, c.place) not in known]
    alone = [claim for claim in ready if claim.run == claim.group]
    groups: dict[tuple[str, str], set[str]] = {}
    for claim in claims:
        if claim.run != claim.group:
            groups.setdefault((claim.task, claim.group), set()).add(claim.run)
    for (task, group), instances in groups.items():
        alone += _wholes([c for c in ready if (c.task, c.group) == (task, group) and c.run in instances], instances)
    return tuple(sorted(alone, key=order))


def _wholes(successes: Sequence[Claim], instances: set[str]) -> list[Claim]:
    """What all instances had made, at the end of each success: of those that had ended by then the one that takes
    precedence of each instance, once there is one of every."""
    found: list[Claim] = []
    for moment in sorted({claim.since for claim in successes if claim.since is not None}):
        there = {
            claim.run: claim
            for claim in sorted(successes, key=order)
            if claim.since is not None and claim.since <= moment
        }
        if there.keys() == instances:
            found.append(_whole(list(there.values())))
    return found


def _whole(group: Sequence[Claim]) -> Claim:
    """The success of a mapped task, whose version is all of theirs."""
    words = {claim.version for claim in group if claim.version is not None}
    told = all(claim.version is not None for claim in group)
    return group[0]._replace(
        run=group[0].group,
        number=0,
        began=max((claim.began for claim in group if claim.began), default=None),
        since=max((claim.since for claim in group if claim.since), default=None),
        version=" ".join(sorted(words)) if told else None,
    )


def _together(group: Sequence[Claim]) -> tuple[str, str]:
    """The instances of a mapped task are one run: as bad as the worst of them, and over when all of them are."""
    statuses = [claim.status for claim in group]
    if "failed" in statuses:
        return "failed", max((claim.state for claim in group), key=RANKS.index)
    if "running" in statuses:
        return "running", min((claim.state for claim in group), key=RANKS.index)
    if set(statuses) == {"skipped"}:
        return "skipped", "skipped"
    return "stale" if "stale" in statuses else "ready", "succeeded"


def _made(claim: Claim, claims: Sequence[Claim]) -> bool:
    """Whether the claim is a success that stood: of a mapped task when each instance has succeeded or been skipped, now
    or by an attempt before."""
    if claim.status not in MADE:
        return False
    if claim.run == claim.group:
        return True
    others = [c for c in claims if (c.task, c.group, c.place) == (claim.task, claim.group, claim.place)]
    undone = {c.run for c in others if c.status in ("failed", "running")}
    return undone <= {c.run for c in others if c.past}
