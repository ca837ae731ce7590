"""From what the ledger knows to the questions that `model.readiness` decides.

Guarantees a number of queries that does not grow with the number of questions, and a bound on how far it looks
ahead to tell what will come by itself from what will not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from itertools import zip_longest
from typing import NamedTuple

from msgspec.structs import replace

from dataforge.ledger.admission import admission
from dataforge.ledger.completeness import Lack
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked, Need, Sketch, chosen, cut_of, ref, spelled, window
from dataforge.ledger.sight import Sight, see
from dataforge.ledger.standing import basis_of, going_on, never_cut
from dataforge.ledger.turn import turns
from dataforge.model import expression
from dataforge.model.completeness import Claimed, Standing
from dataforge.model.partition import Partitioning
from dataforge.model.readiness import Question, obstacle
from dataforge.model.report import UNSEEN
from dataforge.model.state import PartitionStatus, RunState
from dataforge.model.upstream import CONDITIONS, History, State, Upstream
from dataforge.model.verdict import NodeRef
from dataforge.storage import readiness as storage
from dataforge.storage.database import Connection
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import Node, Place, Success

LEVELS_AHEAD = 2  # from a missing upstream to what that is itself missing
MOST_AHEAD = 1_000  # partitions looked at on one level; what lies beyond counts as able to come
AHEAD_OF_EACH = 25  # likewise, for each question: of a verdict that waits for thousands not all are told of
EXPECTED_OF_EACH = 500  # pending partitions of each question of which it is told when they should come
_STRICTNESS = {"ignore": 0, "warn": 1, "block": 2}


class _Facts(NamedTuple):
    """What an answer tells beyond yes and no; on the way ahead nothing of it is read but obstacles."""

    histories: Mapping[Place, list[Success]]
    obstacles: Mapping[Place, str]
    progress: Mapping[str, datetime]
    told: dict[tuple[object, ...], Upstream]  # by what it is told of: many tasks wait for the same in the same way


class Asking(NamedTuple):
    """Questions about to be put: what was seen, and what is told beyond yes and no."""

    seen: Sight
    facts: _Facts
    graph_version: int
    now: datetime

    def questions(self) -> dict[Asked, Question]:
        """All of them."""
        return self._put(self.seen.sketches)

    def showing(self, shown: Set[Place]) -> dict[Asked, Question]:
        """Those that need one of these places, of which something is to be said though it is met."""
        return self._put(self.seen.showing(shown))

    def _put(self, sketches: Iterable[Sketch]) -> dict[Asked, Question]:
        return {each.asked: _question(self.seen, each, self.facts, self.graph_version, self.now) for each in sketches}


def ask(
    connection: Connection,
    here: Environment,
    asked: Iterable[Asked],
    now: datetime,
    *,
    explain: bool = True,
    nodes: Nodes | None = None,
) -> Asking:
    """The questions of the asked partitions, with all that their answers depend on. Without `explain` what only tells
    more of a refusal is left out: when something will come, and whether it will at all."""
    nodes = nodes or Nodes(connection, here.id)
    seen = see(connection, here.id, nodes, asked, now, explain=explain)
    seen = replace(seen, turns=turns(connection, here.id, seen.known, seen.sketches, seen.states, now))
    if not explain:
        return Asking(seen, _Facts({}, {}, {}, {}), here.graph_version, now)
    pending = _in_rounds(sorted(seen.pending))[: EXPECTED_OF_EACH * len(seen.sketches)]
    facts = _Facts(
        histories=storage.history(connection, here.id, pending),
        obstacles=_obstacles(connection, here, nodes, seen, now, min(MOST_AHEAD, AHEAD_OF_EACH * len(seen.sketches))),
        progress=storage.observed_through(connection, here.id, seen.known.namespaces),
        told={},
    )
    return Asking(seen, facts, here.graph_version, now)


def _obstacles(
    connection: Connection,
    here: Environment,
    nodes: Nodes,
    seen: Sight,
    now: datetime,
    most: int,
    ahead: int = LEVELS_AHEAD,
) -> dict[Place, str]:
    """Why missing upstreams will not come by themselves, of those for which that can be told: a task that itself
    waits for something that failed, and a dataset whose producer did not or cannot run. At most so many are looked at
    on each of the levels ahead."""
    places = _in_rounds(seen.missing)[:most] if ahead else []
    behind = {place: seen.known.makers(place, now) for place in places}
    wanted = sorted({maker for found in behind.values() for maker in found})[:most]
    if not wanted:
        return {}
    next_ = see(connection, here.id, nodes, wanted, now)
    facts = _Facts({}, _obstacles(connection, here, nodes, next_, now, most, ahead - 1), {}, {})
    questions = ((each.asked, _question(next_, each, facts, here.graph_version, now)) for each in next_.sketches)
    why = {maker: text for maker, question in questions if (text := obstacle(question)) is not None}
    return {place: why[maker] for place, found in behind.items() for maker in found if maker in why}


def _in_rounds(places: Iterable[Place]) -> list[Place]:
    """One of each node, then a second one of each, and so on."""
    of_nodes: dict[Node, list[Place]] = {}
    for place in places:
        of_nodes.setdefault(place[:2], []).append(place)
    return [each for round_ in zip_longest(*of_nodes.values()) for each in round_ if each is not None]


def _question(seen: Sight, sketch: Sketch, facts: _Facts, graph_version: int, now: datetime) -> Question:
    known, states, asked = seen.known, seen.states, sketch.asked
    subject, outline = known.subjects[asked.task_id], known.outlines[asked.task_id]
    own, queue = states.get(("task", *asked)), seen.queues.get(asked.task_id)
    progress = facts.progress
    return Question(
        task=subject.ref,
        partition=asked.partition,
        now=now,
        graph_version=graph_version,
        platform=subject.platform,
        basis=basis_of(subject, asked.partition, observed=outline.observed),
        misfit=sketch.misfit or never_cut(subject, sketch, states),
        own=own if queue is None else going_on(own, queue),
        queue=queue,
        window=sketch.window,
        run_after=outline.run_after,
        dependencies_known=subject.declared or subject.lists_upstreams or bool(outline.used),
        rule=outline.rule,
        instances=subject.instances,
        upstreams=_upstreams(seen, sketch, facts) if sketch.needs or sketch.updates else (),
        problems=sketch.problems,
        admission=admission(seen.orders, subject, asked),
        observed_through={name: progress[name] for name in sorted(outline.namespaces) if name in progress},
    )


def _upstreams(seen: Sight, sketch: Sketch, facts: _Facts) -> tuple[Upstream, ...]:
    """One for each place, condition and expression; where several edges ask for the same, the strictest counts."""
    found: dict[tuple[Place, str, str | None], Upstream] = {}
    needs = chosen(sketch.needs, lambda need: _upstream(seen, need, facts).serves(CONDITIONS[need.edge.condition]))
    for need in sorted(needs, key=lambda need: (need.edge.required, _STRICTNESS[need.edge.staleness])):
        upstream = _in_turn(_upstream(seen, need, facts), seen.turns.get((sketch.asked, need.stands(seen.states)), ()))
        place: Place = (need.node.kind, need.node.id, upstream.partition)
        found[place, upstream.condition, need.edge.where] = upstream
    return (*found.values(), *_updated(seen, sketch, facts))


def _in_turn(upstream: Upstream, way: tuple[str, ...]) -> Upstream:
    return replace(upstream, required=False, turn=way) if way else upstream


def _updated(seen: Sight, sketch: Sketch, facts: _Facts) -> Iterator[Upstream]:
    """What the task updates in place and finds not yet written, or not as it asks for it."""
    for need in sketch.updates:
        lacks = seen.lacking.get((need.node.id, need.key, True), ())
        ended = {_ENDED[each.standing.status] for each in lacks if each.standing.status in _ENDED}
        if lacks and CONDITIONS[need.edge.condition].isdisjoint(ended):
            lacking = tuple(_producer(seen, need, each, facts) for each in lacks)
            # Its state, and orders about it, are of what it is after the updates.
            found = _upstream(seen, need, facts)
            yield replace(found, partition=need.key, state=None, rerun=None, lacks=lacking)


_ENDED = {PartitionStatus.FAILED: RunState.FAILED, PartitionStatus.SKIPPED: RunState.SKIPPED}


def _upstream(seen: Sight, need: Need, facts: _Facts) -> Upstream:
    edge, place = need.edge, need.stands(seen.states)
    how = (edge.mapping, edge.condition, edge.where, edge.required, edge.staleness, edge.role)
    asked = (place, need.key, need.among, id(need.window_cut), *how)  # which lives as long as the need
    if asked not in facts.told:
        facts.told[asked] = _told_of(seen, need, place, facts)
    return facts.told[asked]


def _told_of(seen: Sight, need: Need, place: Place, facts: _Facts) -> Upstream:
    node = need.node
    state = seen.states.get(place)
    return Upstream(
        node=ref(node),
        partition=place[2],
        among=need.among,
        state=state,
        owner=seen.known.owner(node),
        window=window(need.window_cut, place[2]),
        mapping=spelled(need.edge.mapping),
        condition=need.edge.condition,
        where=expression.stored(need.edge.where) if need.edge.where is not None else None,
        reported=seen.reported.get(place, UNSEEN),
        required=need.edge.required,
        staleness=need.edge.staleness,
        known=node.known or bool(seen.known.writers(node)) or state is not None,
        role=need.edge.role,
        branching=node.branching,
        setup=node.setup,
        mapped=node.mapped,
        total=node.instances,
        history=_history(need.window_cut, facts.histories.get(place, [])),
        obstacle=facts.obstacles.get(place),
        late=seen.late.get(place),
        # What was never made is missing, and not stale; an order about it is read only where it is asked for as well.
        rerun=seen.orders.rerun(place) if state is not None else None,
        lacks=tuple(
            _producer(seen, need, each, facts)
            for each in seen.lacking.get((place[1], place[2], False), ())
            if node.kind == "dataset"
        ),
    )


def _producer(seen: Sight, need: Need, lack: Lack, facts: _Facts) -> Upstream:
    """Who is to bring a share, as it stands: by its claim on the partition, else by its own partition's state."""
    product, standing = lack.product, lack.standing
    key, own = standing.due.share.key, standing.due.share.partition
    if product is None:
        return _listed(seen, need, standing)
    # Of a share that several partitions of the task may bring, none of them tells anything.
    place: Place | None = ("task", product.task_id, own) if own is not None else None
    state = _claimed(standing.latest) if standing.latest is not None else place and seen.states.get(place)
    instead = None
    if standing.older_than is not None:
        instead = "has updated it before it was written again; run it again"
    elif standing.latest is None and state is not None and state.outcome is RunState.SUCCEEDED:
        instead = "has succeeded, and nothing shows that it wrote it"
    cut = cut_of(product.task_cut, declared=product.task_cut_declared)
    return Upstream(
        node=NodeRef("task", product.namespace, product.name),
        partition=key or "",
        state=state,
        owner=product.owner,
        window=window(cut, key or ""),
        history=_history(cut, facts.histories.get(place, []) if place else []),
        obstacle=facts.obstacles.get(place) if place else None,
        instead=instead,
    )


def _listed(seen: Sight, need: Need, standing: Standing) -> Upstream:
    """A key of a manifest, by the run for it, whichever task that is of."""
    state = _claimed(standing.latest) if standing.latest is not None else None
    said = f"lacks {standing.due.share.key}, which its manifest lists"
    told = f"{said}: the run for it {_SAID[state.status]}" if state is not None else said
    return Upstream(
        node=ref(need.node), partition=need.key, state=state, owner=seen.known.owner(need.node), instead=told
    )


_SAID = {
    PartitionStatus.FAILED: "failed",
    PartitionStatus.RUNNING: "is running",
    PartitionStatus.SKIPPED: "was skipped",
}


def _claimed(latest: Claimed) -> State:
    return State(
        status=latest.status,
        run_state=latest.run_state,
        evidence=latest.evidence,
        since=latest.since,
        started_at=latest.started_at,
    )


_NO_HISTORY = History()


def _history(cut: Partitioning | None, successes: Sequence[Success]) -> History:
    if not successes:
        return _NO_HISTORY
    windows = [(window(cut, each.partition), each.ready_since) for each in successes]
    return History(
        durations=tuple(each.took for each in successes if each.took is not None),
        lags=tuple(ready - window.end for window, ready in windows if window is not None and ready is not None),
    )
