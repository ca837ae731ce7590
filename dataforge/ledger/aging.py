"""What has succeeded and is stale by now: questions of readiness, with what `ledger.freshness` knows of them.

Guarantees that only the partitions asked for themselves are looked at, and their direct upstreams: as many queries
whatever is asked, and none where nothing of it was ever built. What decides (the partition itself, and upstreams
whose edge blocks on staleness) is always looked at; what only warns, up to a bound.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace

from dataforge.ledger.freshness import Compared, examine
from dataforge.ledger.need import Asked
from dataforge.model.edge import Staleness
from dataforge.model.readiness import Question
from dataforge.model.reference import node_id
from dataforge.model.state import PartitionStatus
from dataforge.model.upstream import State, Upstream
from dataforge.model.verdict import Code, Reason
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place

MOST_WARNED = 1_000  # upstream partitions of one batch that are looked at for a warning alone; others get none


def aged(
    connection: Connection,
    environment: int,
    questions: Mapping[Asked, Question],
    now: datetime,
    *,
    warn: bool = True,
) -> dict[Asked, Question]:
    """The same questions, their partitions and upstreams stale where something newer is behind them. Without `warn`
    only what decides is looked at."""
    places = {_own(asked) for asked, question in questions.items() if warn and _is_ready(question.own)}
    upstreams = [each for question in questions.values() for each in question.upstreams if _is_ready(each.state)]
    places |= _places(upstreams, "block")
    if warn:
        places |= set(sorted(_places(upstreams, "warn"))[:MOST_WARNED])
    compared = examine(connection, environment, places, now)
    newer = {place: found for place, each in compared.items() if (found := _newer(each))}
    return {asked: _age(asked, question, newer) for asked, question in questions.items()}


def _own(asked: Asked) -> Place:
    return ("task", asked.task_id, asked.partition)


def _place(upstream: Upstream) -> Place:
    return (upstream.node.kind, node_id(upstream.node.namespace, upstream.node.name), upstream.partition)


def _is_ready(state: State | None) -> bool:
    return state is not None and state.status is PartitionStatus.READY


def _places(upstreams: Iterable[Upstream], staleness: Staleness) -> set[Place]:
    return {_place(each) for each in upstreams if each.staleness == staleness}


def _newer(compared: Compared) -> tuple[Reason, ...]:
    return tuple(reason for reason in compared.reasons if reason.code is Code.UPSTREAM_STALE)


def _age(asked: Asked, question: Question, newer: Mapping[Place, tuple[Reason, ...]]) -> Question:
    own = question.own
    if own is not None and _own(asked) in newer:
        question = replace(question, own=_stale(own), changed=newer[_own(asked)])
    upstreams = tuple(
        replace(each, state=_stale(each.state)) if each.state and _place(each) in newer else each
        for each in question.upstreams
    )
    return replace(question, upstreams=upstreams)


def _stale(state: State) -> State:
    return replace(state, status=PartitionStatus.STALE)
