"""Settling runs: from attempts and outcomes to runs and their claims on partitions, parents before children.

A Spark application's outcome and a missing data interval come from the run above; so whenever an attempt stands
elsewhere than before, the runs below it are settled again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

import msgspec
from msgspec.structs import replace

from dataforge.ledger.completeness import products_of, written_keys
from dataforge.ledger.failing import failing
from dataforge.ledger.kept import kept
from dataforge.model import partition
from dataforge.model.attempt import EARLIEST, Attempt, AttemptKey, Touch
from dataforge.model.event import Mark, Outcome
from dataforge.model.mark import CLEARED, latest, marked, stands
from dataforge.model.partition import Partitioning
from dataforge.model.report import NOTHING, merged
from dataforge.model.run import (
    UNTRUSTED,
    Ancestor,
    Belief,
    PartitionFrom,
    Run,
    Standing,
    counted,
    ended_at,
    fallen,
    output_belief,
    settle,
    stand,
    status_of,
    wrote_nothing,
)
from dataforge.model.shard import Tally, shortfall, tolerated
from dataforge.model.state import Evidence, RunKind, RunState
from dataforge.storage import attempt as attempts
from dataforge.storage import mark as marks
from dataforge.storage import outcome as outcomes
from dataforge.storage import quality
from dataforge.storage import run as runs
from dataforge.storage import shard as shards
from dataforge.storage import task as tasks
from dataforge.storage import write as writes
from dataforge.storage.attempt import Attempts, RunKey, StoredAttempt
from dataforge.storage.completeness import Product
from dataforge.storage.database import Connection
from dataforge.storage.partition import Place
from dataforge.storage.quality import Checked, FailedCheck
from dataforge.storage.run import Beside
from dataforge.storage.withdrawal import withdraw
from dataforge.storage.write import Claim

_NO_WRITE = frozenset({"DROP", "TRUNCATE", "ALTER"})  # what changes a table without putting data into it
MOST_RUNS = 2_000  # whose attempts are in memory at a time
DEEPEST = 64  # levels below a run; DAGs that trigger DAGs are long chains. More would be a loop of parents


class _Level(msgspec.Struct):
    """All that settling one set of runs needs, loaded at once."""

    attempts: Mapping[RunKey, Attempts]
    beside: Beside
    outcomes: dict[RunKey, Outcome]
    marks: dict[RunKey, Mark]
    above: dict[tuple[int, str], StoredAttempt]  # by task id and external run
    cuts: dict[int, tuple[Partitioning, bool]]  # by task id: the partitioning, and whether it was declared
    tallies: dict[RunKey, Tally]
    allowed: dict[int, int]  # by task id: how many shards may have failed or be missing
    products: dict[tuple[int, int], Product]  # by task and name of the dataset: what is declared to be produced


def settle_runs(connection: Connection, environment: int, keys: Mapping[RunKey, Attempts | None]) -> set[Place]:
    """Makes these runs anew, and those below that take something from them; returns the places of all claims
    that came or went, datasets under the names they were written by. Runs come with all their attempts, or None."""
    places: set[Place] = set()
    for _ in range(DEEPEST):
        if not keys:
            break
        ordered, below = sorted(keys), set[RunKey]()
        for first in range(0, len(ordered), MOST_RUNS):
            some = {key: keys[key] for key in ordered[first : first + MOST_RUNS]}
            touched, moved = _settle_level(connection, environment, some)
            places |= touched
            below |= attempts.children(connection, environment, moved) if moved else set()
        keys = dict.fromkeys(below)
    return places


def _settle_level(
    connection: Connection, environment: int, said: Mapping[RunKey, Attempts | None]
) -> tuple[set[Place], set[str]]:
    keys = sorted(said)
    unread = [key for key in keys if said[key] is None]
    read = attempts.by_run(attempts.of_runs(connection, environment, unread)) if unread else {}
    level = _load(connection, environment, keys, read | {key: of_run for key, of_run in said.items() if of_run})
    settled: dict[RunKey, Run] = {}
    standings: list[tuple[Standing, Ancestor]] = []
    claims: list[Claim] = []
    checked: list[Checked] = []
    failed: list[FailedCheck] = []
    for key in sorted(level.attempts.keys() | level.outcomes.keys() | level.marks.keys()):
        run, stood = _settle_run(level, key)
        settled[key] = run
        standings += stood
        claims += _claims(level, key, run, stood)
        checked += _checked(level, key, stood)
        failed += failing(key, stood, partial(_touched, level))
    runs.delete(connection, environment, [key for key in keys if key not in settled])
    new = runs.save(connection, environment, settled, _first_told(level), _parts(level))
    before = {each.attempt.key: each for group in level.attempts.values() for each in group}
    restanding = ((*each, before[each[0].attempt.key].part) for each in standings if _restands(before, each))
    attempts.set_standing(connection, environment, restanding)
    # A run that is new has said nothing yet, but for one that has ended and begins anew.
    known = [key for key in keys if key not in new or level.beside.ended]
    places = withdraw(connection, environment, known) if known else set()
    quality.report(connection, environment, checked)
    places |= writes.claim(connection, environment, claims)
    places |= quality.fail(connection, environment, failed)
    return places, _moved(before, standings)


def _first_told(level: _Level) -> set[RunKey]:
    """The runs that nobody had told of before: neither they themselves nor a platform or a person."""
    if level.beside.outcomes or level.beside.marks:
        return set()
    return {key for key, of_run in level.attempts.items() if all(each.new for each in of_run)}


def _parts(level: _Level) -> dict[RunKey, int]:
    """Where the runs of attempts lie: where the first of these does."""
    return {key: min(each.part for each in of_run) for key, of_run in level.attempts.items()}


def _restands(before: Mapping[AttemptKey, StoredAttempt], stood: tuple[Standing, Ancestor]) -> bool:
    """Whether an attempt stands elsewhere than is stored."""
    standing, taken = stood
    return before[standing.attempt.key].stored != (standing.ordinal, taken)


def _load(
    connection: Connection, environment: int, keys: Sequence[RunKey], by_run: Mapping[RunKey, Attempts]
) -> _Level:
    stored = [each for of_run in by_run.values() for each in of_run]
    attempted = [each.attempt for each in stored]
    groups = {(a.key.task.id, a.key.run): (a.key.task.id, a.group_run) for a in attempted if a.map_index >= 0}
    named = sorted({*keys, *groups.values()})
    beside = runs.beside(connection, environment, named)
    pointers = {p.external_run for each in stored for p in (each.attempt.parent, each.attempt.root) if p is not None}
    above = attempts.of_external_runs(connection, environment, pointers) if pointers else []
    # Of attempts with one external id (a DAG run deleted and created anew, an application some of whose events name no
    # parent) the last in order is meant: an order of facts alone, or it would matter who was settled first.
    above.sort(key=lambda each: _meant(each.attempt))
    basis = tasks.basis(connection, environment, {task_id for task_id, _ in keys})
    return _Level(
        attempts=by_run,
        beside=beside,
        outcomes=_outcomes(connection, environment, keys, groups) if beside.outcomes else {},
        marks=_marks(connection, environment, keys, groups) if beside.marks else {},
        above={(each.attempt.key.task.id, each.attempt.external_run): each for each in above},
        cuts={row.id: (partition.from_json(row.partitioning), row.partitioning_origin == "declared") for row in basis},
        tallies=shards.tallies(connection, environment, keys) if beside.shards else {},
        allowed={row.id: tolerated(row.definition) for row in basis},
        products=products_of(connection, environment, _unplaced(stored)),
    )


def _unplaced(stored: Iterable[StoredAttempt]) -> set[int]:
    """The datasets that were written, nobody said in which partition."""
    touches = (touch for each in stored for touch in each.attempt.touches)
    return {touch.dataset.id for touch in touches if touch.direction == "output" and not touch.partition}


def _meant(attempt: Attempt) -> tuple[datetime, int, bool, AttemptKey]:
    return (attempt.incarnation or EARLIEST, attempt.number or 0, attempt.parent is not None, attempt.key)


def _outcomes(
    connection: Connection, environment: int, keys: Sequence[RunKey], groups: Mapping[RunKey, RunKey]
) -> dict[RunKey, Outcome]:
    """What was said of each run; of a mapped instance what was said of its task (`groups`), whose own run it
    replaces."""
    said = outcomes.of_runs(connection, environment, sorted({*keys, *groups.values()}))
    if not said:
        return {}
    mapped = attempts.mapped(connection, environment, [key for key in keys if key in said])
    own = {key: said[key] for key in keys if key in said and key not in mapped}
    return own | {key: said[group] for key, group in groups.items() if group in said}


def _marks(
    connection: Connection, environment: int, keys: Sequence[RunKey], groups: Mapping[RunKey, RunKey]
) -> dict[RunKey, Mark]:
    """What a person said of each run; of a mapped instance the later of what was said of it and of its task."""
    said = marks.of_runs(connection, environment, sorted({*keys, *groups.values()}))
    if not said:
        return {}
    mapped = attempts.mapped(connection, environment, [key for key in keys if key in said])
    of_each = {key: latest(said[one] for one in {key, groups.get(key, key)} if one in said) for key in keys}
    return {key: mark for key, mark in of_each.items() if mark is not None and key not in mapped}


def _settle_run(level: _Level, key: RunKey) -> tuple[Run, list[tuple[Standing, Ancestor]]]:
    own = [each.attempt for each in level.attempts.get(key, ())]
    parents = {a.key.attempt_id: parent.ancestor for a in own if (parent := _parent(level, a)) is not None}
    stood = stand(own, parents)
    outcome, mark = level.outcomes.get(key), level.marks.get(key)
    run = _by_platform(level, key, stood) if stood or outcome else None
    if run is not None and (tally := level.tallies.get(key)) is not None:
        short = shortfall(tally, level.allowed[key[0]])
        run, stood = counted(run, tally.counts, short), [fallen(each, short) for each in stood]
    if mark is not None and stands(mark, stood, outcome):
        run = marked(run, mark)
    assert run is not None, "somebody has told of the run: its platform, or a person whose mark stands then"
    return run, [(each, _taken(level, key, run, each, last=each is stood[-1])) for each in stood]


def _by_platform(level: _Level, key: RunKey, stood: list[Standing]) -> Run:
    cut, declared = level.cuts[key[0]]
    return settle(stood, level.outcomes.get(key), cut, declared, _above(level, stood[-1].attempt) if stood else [])


def _parent(level: _Level, attempt: Attempt) -> StoredAttempt | None:
    pointer = attempt.parent
    return level.above.get((pointer.task.id, pointer.external_run)) if pointer else None


def _above(level: _Level, attempt: Attempt) -> list[tuple[PartitionFrom, Ancestor]]:
    found: list[tuple[PartitionFrom, Ancestor]] = []
    if (parent := _parent(level, attempt)) is not None:
        found.append(("parent", parent.ancestor))
    pointer = attempt.root
    root = level.above.get((pointer.task.id, pointer.external_run)) if pointer else None
    if root is not None:
        found.append(("root", root.ancestor))
    return found


def _taken(level: _Level, key: RunKey, run: Run, standing: Standing, *, last: bool) -> Ancestor:
    """What children take from an attempt: of the last one what is believed of the run as a whole."""
    if last:
        return Ancestor(run.belief, run.interval, run.partitions)
    cut, declared = level.cuts[key[0]]
    alone = settle([standing], None, cut, declared, _above(level, standing.attempt))
    return Ancestor(standing.belief, alone.interval, alone.partitions)


def _moved(before: Mapping[AttemptKey, StoredAttempt], standings: list[tuple[Standing, Ancestor]]) -> set[str]:
    """The external ids of the attempts that stand elsewhere than they did, or never stood: what a Spark job writes
    is its application's, even of one that says no more of itself than is assumed of any. And elsewhere than they were
    saved: from that their children were settled, if they are of the same batch."""
    return {
        standing.attempt.external_run
        for standing, taken in standings
        if (known := before[standing.attempt.key]).ordinal == attempts.NEVER
        or known.ancestor != taken
        or known.stored[1] != taken
    }


def _claims(level: _Level, key: RunKey, run: Run, stood: list[tuple[Standing, Ancestor]]) -> list[Claim]:
    """A task's claim on its own partitions, and a run's claims on what it wrote."""
    if run.kind is RunKind.DAG:
        return []
    if run.kind is RunKind.STEP:
        return [
            claim
            for each in stood
            for claim in _with_maker(level, run, each[0], _output_claims(level, key, run, *each))
        ]
    found = [_own_claim(level, key, run, place) for place in run.partitions or ("",)]
    for each in stood[-1:]:
        found += _output_claims(level, key, run, *each)
    if run.belief.evidence is Evidence.OPERATOR:
        found = [_as_marked(claim, run, level.marks[key]) for claim in found]
    found += kept(found, run.belief, _before(level, key, run, stood))
    return list(_with_maker(level, run, stood[-1][0], found)) if stood else found


def _with_maker(level: _Level, run: Run, standing: Standing, claims: Iterable[Claim]) -> Iterator[Claim]:
    """Claims with what is asked of the run that answers for them: of a step the one that it is part of."""
    above = _parent(level, standing.attempt) if run.kind is RunKind.STEP else None
    began = above.attempt.started_at if above else run.started_at
    own = (above.ancestor.partitions if above else run.partitions) or ("",)
    parent = (above.attempt if above else standing.attempt).parent
    for claim in claims:
        earlier = began is not None and (claim.started_at is None or began < claim.started_at)
        elsewhere = claim.node_kind == "dataset" and own != (claim.partition,)
        yield replace(
            claim,
            began=began if earlier else None,
            parent=parent.task.id if parent else None,
            made_for=own if elsewhere else (),
        )


def _before(level: _Level, key: RunKey, run: Run, stood: list[tuple[Standing, Ancestor]]) -> list[Claim]:
    """The claims of the last success among the attempts before the last one, and with that where it was cleared."""
    for standing, taken in reversed(stood if _cleared(run) else stood[:-1]):
        if standing.belief.state is RunState.SUCCEEDED:
            then = replace(
                run,
                belief=standing.belief,
                attempt_id=standing.attempt.key.attempt_id,
                started_at=standing.attempt.started_at,
                ended_at=ended_at(standing.attempt),
            )
            own = [_own_claim(level, key, then, place) for place in taken.partitions or ("",)]
            return own + _output_claims(level, key, then, standing, taken)
    return []


def _cleared(run: Run) -> bool:
    return run.belief == Belief(CLEARED, Evidence.OPERATOR)


def _as_marked(claim: Claim, run: Run, mark: Mark) -> Claim:
    """A claim of a run that a person marked: no earlier than the mark where that made it so, and no attempt's where it
    is to be run again."""
    if _cleared(run):
        return replace(claim, since=mark.at, attempt_id="")
    return replace(claim, since=max((each for each in (claim.since, run.ended_at) if each is not None), default=None))


def _own_claim(level: _Level, key: RunKey, run: Run, place: str) -> Claim:
    outcome = level.outcomes.get(key)
    return Claim(
        node_kind="task",
        node_id=key[0],
        partition=place,
        run=key,
        attempt_id=run.attempt_id or "",
        group_run=run.group_run,
        producer=key,
        status=status_of(run.belief),
        belief=run.belief,
        # A task that sent nothing began, as far as anybody knows, with its DAG run.
        started_at=run.started_at or (outcome.incarnation if outcome else run.ended_at),
        since=run.ended_at or run.started_at or (outcome.incarnation if outcome else None),
    )


def _output_claims(level: _Level, key: RunKey, run: Run, standing: Standing, taken: Ancestor) -> list[Claim]:
    attempt, parent = standing.attempt, _parent(level, standing.attempt)
    producer = (parent.attempt.key.task.id, parent.attempt.key.run) if parent and run.kind is RunKind.STEP else key
    found: dict[tuple[int, str], Claim] = {}
    for touch in attempt.touches:
        if touch.direction == "input" or touch.change in _NO_WRITE or wrote_nothing(attempt, touch):
            continue
        belief = _output_belief(run, standing, touch, parent)
        for place in _touched(level, standing, touch, taken):
            found[touch.dataset.id, place] = Claim(
                node_kind="dataset",
                node_id=touch.dataset.id,
                partition=place,
                run=key,
                attempt_id=attempt.key.attempt_id,
                group_run=run.group_run,
                producer=producer,
                status=status_of(belief),
                belief=belief,
                started_at=attempt.started_at or ended_at(attempt),
                since=ended_at(attempt) or attempt.started_at,
                version=touch.version,
                rows=touch.rows,
            )
    return [found[place] for place in sorted(found)]


def _touched(level: _Level, standing: Standing, touch: Touch, taken: Ancestor) -> tuple[str, ...]:
    """The partitions that were read or written: those that the event names, else of an output those to which the
    declared mapping leads, of the run's task or of one that ran it; else the run's own."""
    if touch.partition:
        return (touch.partition,)
    own = taken.partitions or ("",)
    if touch.direction == "input":
        return own
    attempt, parent = standing.attempt, _parent(level, standing.attempt)
    pointers = (attempt.parent, parent.attempt.parent if parent else None)
    tasks = (attempt.key.task.id, *(pointer.task.id for pointer in pointers if pointer is not None))
    for task in tasks:
        if (product := level.products.get((task, touch.dataset.id))) is not None:
            return written_keys(product, own, ended_at(attempt) or attempt.started_at) or own
    return own


def _checked(level: _Level, key: RunKey, stood: list[tuple[Standing, Ancestor]]) -> list[Checked]:
    """What a run reports of the partitions that it read."""
    found: dict[tuple[int, str], Checked] = {}
    for standing, taken in stood[-1:]:
        for touch in standing.attempt.touches:
            if touch.direction == "output" or touch.report == NOTHING:
                continue
            for place in _touched(level, standing, touch, taken):
                attempt_id, node = standing.attempt.key.attempt_id, touch.dataset.id
                known = found.get((node, place))
                said = merged(known.report, touch.report) if known else touch.report
                found[node, place] = Checked(node, place, *key, attempt_id, touch.last_at, said)
    return [found[place] for place in sorted(found)]


def _output_belief(run: Run, standing: Standing, touch: Touch, parent: StoredAttempt | None) -> Belief:
    if standing.attempt.platform not in UNTRUSTED:
        return run.belief
    application = parent.ancestor.belief if parent else None
    return output_belief(standing, touch, application, _parented(standing.attempt, parent))


def _parented(step: Attempt, application: StoredAttempt | None) -> bool:
    """Whether somebody stands above the job's application, whose own events may be late or lost: the root of an
    application without a parent is the application itself."""
    above = application is not None and application.attempt.parent is not None
    return above or (step.root is not None and step.root != step.parent)
