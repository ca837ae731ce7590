"""What has succeeded and is stale by now, directly or in turn: questions of readiness, aged by `ledger.staleness`.

Guarantees as many queries whatever is asked, and none where nothing of it was ever built. What decides (upstreams whose
edge blocks on staleness) is looked at as far up as an answer about freshness is; what only warns (the partition itself,
other upstreams) up to a bound, and further than its direct upstreams only where those are few.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec.structs import replace

from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked
from dataforge.ledger.question import ask
from dataforge.ledger.sight import Sight
from dataforge.ledger.staleness import FAR, MOST_TOLD, NEAR, Staleness, staleness
from dataforge.ledger.unchanged import compared, suspected
from dataforge.model.edge import Staleness as Meaning
from dataforge.model.freshness import way_up
from dataforge.model.readiness import Question
from dataforge.model.reference import node_id
from dataforge.model.state import PartitionStatus
from dataforge.model.upstream import State, Upstream, half_known
from dataforge.model.verdict import Code, Reason
from dataforge.storage.database import Connection
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import Place

MOST_WARNED = 1_000  # upstream partitions of one batch that are looked at for a warning alone; others get none


def questions(
    connection: Connection,
    here: Environment,
    asked: Iterable[Asked],
    now: datetime,
    *,
    explain: bool = True,
    warn: bool = True,
    nodes: Nodes | None = None,
) -> dict[Asked, Question]:
    """The questions on these partitions, with what is stale by now; what is remembered is asked for once for both."""
    nodes = nodes or Nodes(connection, here.id)
    asking = ask(connection, here, asked, now, explain=explain, nodes=nodes)
    found = asking.questions()
    told = _all_told(connection, here.id, asking.seen, found, now, warn=warn, nodes=nodes)
    if not told:
        return found
    found |= asking.showing(told.keys())
    return {asked: _age(asked, question, told) for asked, question in found.items()}


def _all_told(
    connection: Connection,
    environment: int,
    seen: Sight,
    questions: Mapping[Asked, Question],
    now: datetime,
    *,
    warn: bool,
    nodes: Nodes,
) -> dict[Place, _Told]:
    """What is said of partitions and their upstreams: that something newer is behind them. Without `warn` only what
    decides is looked at."""
    upstreams = [each for question in questions.values() for each in question.upstreams if _was_made(each.state)]
    deciding = _places(upstreams, "block") | seen.met_by("block")
    own = {_own(asked) for asked, question in questions.items() if _was_made(question.own)} if warn else set()
    near = set(sorted(_places(upstreams, "warn") | seen.met_by("warn"))[:MOST_WARNED]) if warn else set()
    suspicion = suspected(connection, environment, own | near, now, NEAR, nodes)
    found = compared(connection, environment, suspicion, own, now)
    told = _told(staleness(connection, environment, found.keys(), now, suspicion.bounds, found), own)
    if deciding:
        known = {place: each for place, each in found.items() if place in suspicion.whole}
        told |= _told(staleness(connection, environment, deciding, now, FAR, known), own, deciding=True)
    return told


class _Told(msgspec.Struct, frozen=True):
    """What is said of a partition that was made."""

    reasons: tuple[Reason, ...]  # why it is stale, of an upstream the first; none where it is not
    half_known: bool  # it decides, and was not looked at as far up as there is something


def _told(found: Staleness, own: Container[Place], *, deciding: bool = False) -> dict[Place, _Told]:
    told = {place: _Told(_reasons(found, place, own), deciding and found.truncated(place)) for place in found.compared}
    return {place: each for place, each in told.items() if each.reasons or each.half_known}


def _reasons(found: Staleness, place: Place, own: Container[Place]) -> tuple[Reason, ...]:
    """Of what was asked about the first reasons, and how many more there are; of an upstream the first alone."""
    if place not in own:
        return found.stale(place, 1)
    reasons, more = found.stale(place, MOST_TOLD), found.number(place) - MOST_TOLD
    if more <= 0:
        return reasons
    message = f"{more:,} more upstream partitions have changed since"
    return (*reasons, Reason(code=Code.UPSTREAM_STALE, message=message))


def _own(asked: Asked) -> Place:
    return ("task", asked.task_id, asked.partition)


def _place(upstream: Upstream) -> Place:
    return (upstream.node.kind, node_id(upstream.node.namespace, upstream.node.name), upstream.partition)


def _was_made(state: State | None) -> bool:
    return state is not None and state.status in (PartitionStatus.READY, PartitionStatus.STALE)


def _places(upstreams: Iterable[Upstream], staleness: Meaning) -> set[Place]:
    return {_place(each) for each in upstreams if each.staleness == staleness}


def _age(asked: Asked, question: Question, told: Mapping[Place, _Told]) -> Question:
    own, mine = question.own, told.get(_own(asked))
    if own is not None and _was_made(own) and mine is not None and mine.reasons:
        question = replace(question, own=_stale(own), changed=mine.reasons)
    doubts = tuple(
        half_known(each)
        for each in question.upstreams
        if each.staleness == "block"
        and _was_made(each.state)
        and (found := told.get(_place(each)))
        and found.half_known
        and not found.reasons
    )
    upstreams = tuple(_aged(each, told) for each in question.upstreams)
    return replace(question, upstreams=upstreams, changed=(*question.changed, *doubts))


def _aged(upstream: Upstream, told: Mapping[Place, _Told]) -> Upstream:
    found = told.get(_place(upstream))
    if upstream.state is None or not _was_made(upstream.state) or found is None or not found.reasons:
        return upstream
    return replace(upstream, state=_stale(upstream.state), because=way_up(found.reasons[0]))


def _stale(state: State) -> State:
    return replace(state, status=PartitionStatus.STALE)
