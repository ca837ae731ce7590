"""Findings about runs: those that began before what they need was ready or while it was quarantined, or under which it
changed.

Guarantees that runs are looked at in the order of their start, the latest first, and that one page of them costs a
bounded number of queries, each of a bounded size.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from dataforge.ledger.completeness import whole_since
from dataforge.ledger.finding_quarantine import Began, held_then
from dataforge.ledger.need import ref
from dataforge.ledger.reading import Reading, Readings, readings
from dataforge.ledger.surroundings import Surroundings
from dataforge.model.finding import Finding
from dataforge.model.finding_rule import (
    CLOCKS_AGREE,
    Execution,
    Made,
    Needed,
    input_changed,
    started_on_quarantined,
    started_too_early,
)
from dataforge.model.freshness import RunKey
from dataforge.model.state import RunState
from dataforge.storage import finding as storage
from dataforge.storage import made as history
from dataforge.storage import readiness
from dataforge.storage.database import Connection
from dataforge.storage.finding import Ran, RunPlace
from dataforge.storage.made import MadeThen
from dataforge.storage.readiness import Node, NodeRow, Place

_DAY = timedelta(days=1)
_DIGIT = re.compile(r"\d")
MOST_RUNS = 500  # of one stretch
_BATCH = 100  # that are looked at together
_MOST_PLACES = 10_000  # partitions that the runs of a stretch need, before it ends; and that one query asks for
# What has built something, or is about to. A try that will be repeated has not; what was skipped never began.
_BUILDS = frozenset({RunState.RUNNING, RunState.UNKNOWN, RunState.SUCCEEDED, RunState.FAILED})


class FoundRun(msgspec.Struct, frozen=True):
    """A finding about a run."""

    run: Ran
    finding: Finding


class Stretch(msgspec.Struct, frozen=True):
    """The findings of some runs in their order, and the last run that was looked at; None when there are no more."""

    found: list[FoundRun]
    stopped_at: RunPlace | None


def of_runs(
    connection: Connection, environment: int, since: datetime, now: datetime, after: RunPlace, *, again: bool
) -> Stretch:
    """The findings of the next runs behind `after`, or with `again` from there on, that began at `since` or later: of
    `MOST_RUNS`, or of fewer where these need very many partitions."""
    given = storage.stretch_of(environment, since, after, MOST_RUNS, again=again)
    runs = storage.stretch(connection, given)
    found: list[FoundRun] = []
    looked_at = places = 0
    while looked_at < len(runs) and places < _MOST_PLACES:
        batch = runs[looked_at : looked_at + _BATCH]
        judged = [run for run in batch if run.state in _BUILDS and not _waits_itself(run)]
        read = readings(connection, environment, judged, now)
        needed = _needed(connection, environment, judged, read)
        found += [each for run in judged for each in _findings(run, needed[run.key])]
        looked_at += len(batch)
        places += sum(len(each) for each in read.of.values())
    end = looked_at == len(runs) < MOST_RUNS
    return Stretch(_once(found), None if end else runs[looked_at - 1].place)


def _waits_itself(run: Ran) -> bool:
    """Whether to begin before its input is there is what the task is for, as it is of Airflow's sensors."""
    return (run.operator or "").endswith("Sensor")


def _findings(run: Ran, needed: Sequence[Needed]) -> Iterator[FoundRun]:
    execution = Execution(
        task=run.task,
        run=run.run,
        partitions=run.partitions,
        owner=run.owner,
        declared=run.declared,
        state=run.state,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )
    for rule in (started_too_early, started_on_quarantined, input_changed):
        finding = rule(execution, needed)
        if finding is not None:
            yield FoundRun(run, finding)


def _once(found: Iterable[FoundRun]) -> list[FoundRun]:
    """The same said of all mapped instances of a task is said of the one that began first. The runs come with the
    latest start first."""
    kept: dict[tuple[object, ...], FoundRun] = {}
    for each in found:
        run, finding = each.run, each.finding
        where = [(given.node, given.partition) for given in finding.inputs] if run.mapped else run.run
        key = (finding.code, run.task_id, run.group_run, str(where))
        kept.pop(key, None)
        kept[key] = each
    return list(kept.values())


def _needed(
    connection: Connection, environment: int, runs: Sequence[Ran], read: Readings
) -> dict[RunKey, list[Needed]]:
    pairs = [(run, reading) for run in runs for reading in read.of[run.key]]
    stood = _made(connection, environment, pairs)
    then = [made for _, made in stood]
    others = [_others(run, made) for (run, _), made in zip(pairs, then, strict=True)]
    began = [
        Began(run.key, at, reading.read_from, made, apart)
        for (run, reading), (at, made), apart in zip(pairs, stood, others, strict=True)
    ]
    held = held_then(connection, environment, began)
    gaps = _gaps(connection, environment, pairs, then)
    seen_from = _seen_from(connection, environment, pairs, others)
    nodes = _nodes(connection, environment, read.known, {place[:2] for _, each in pairs for place in each.places})
    found: dict[RunKey, list[Needed]] = {run.key: [] for run in runs}
    for place, (run, reading) in enumerate(pairs):
        node = nodes.get(reading.places[0][:2])
        if node is not None:
            made = others[place]
            missing = place in gaps or (bool(made) and all(each.at is None for each in made))
            if missing or _known_from_the_first(reading, made, seen_from):
                one = _one(reading, node, read.known.owner(node), made, missing=missing)
                found[run.key].append(replace(one, held=held[place]))
    return found


def _was_there(reading: Reading, made: Iterable[MadeThen]) -> bool:
    return any(each.at is not None and each.at <= reading.read_from + CLOCKS_AGREE for each in made)


def _seen_from(
    connection: Connection,
    environment: int,
    pairs: Sequence[tuple[Ran, Reading]],
    others: Sequence[Sequence[MadeThen]],
) -> dict[int, datetime]:
    """When the tasks were first seen that made something which was not there in time."""
    late = [made for (_, each), made in zip(pairs, others, strict=True) if each.window and not _was_there(each, made)]
    return history.first_starts(connection, environment, {each.by[0] for made in late for each in made})


def _known_from_the_first(reading: Reading, made: Sequence[MadeThen], seen_from: Mapping[int, datetime]) -> bool:
    """Whether its first success can be told from one that nobody saw. A partition whose time was over, by its own
    length or a day, when its makers were first seen to run may have been made before. So may what has no partitions,
    unless the first that is known to have made it was under way just then."""
    if _was_there(reading, made):
        return True
    if not reading.places[0][2]:
        return any(each.at and each.begun and each.begun <= reading.read_from for each in made if each.certain)
    begun = [seen_from[each.by[0]] for each in made if each.by[0] in seen_from]
    window = reading.window
    return window is None or not begun or window.end + max(window.end - window.start, _DAY) >= min(begun)


def _one(reading: Reading, node: NodeRow, owner: str | None, made: Sequence[MadeThen], *, missing: bool) -> Needed:
    return Needed(
        node=ref(node),
        partition=reading.places[0][2],
        owner=owner,
        read_from=reading.read_from,
        read_until=reading.read_until,
        made=tuple(
            Made(at=each.at, run=each.by[1], version=each.version, certain=each.certain)
            for each in made
            if each.at is not None
        ),
        missing=missing,
        version=reading.version,
    )


def _made(
    connection: Connection, environment: int, pairs: Sequence[tuple[Ran, Reading]]
) -> list[tuple[Place, list[MadeThen]]]:
    """What was made of each partition, or of the whole that stands for it where nothing was."""
    asked = [(place, each.read_until) for _, each in pairs for place in each.places]
    rows: list[list[MadeThen]] = []
    for first in range(0, len(asked), _MOST_PLACES):
        batch = asked[first : first + _MOST_PLACES]
        whole = whole_since(connection, environment, {place[1:] for place, _ in batch if place[0] == "dataset"})
        then = history.made(connection, environment, batch)
        rows += [_once_whole(place, made, whole) for (place, _), made in zip(batch, then, strict=True)]
    each_row = iter(rows)
    found = []
    for _, reading in pairs:
        of_places = [(place, next(each_row)) for place in reading.places]
        found.append(next((each for each in of_places if each[1]), of_places[0]))
    return found


def _once_whole(place: Place, made: list[MadeThen], whole: Mapping[tuple[int, str], datetime | None]) -> list[MadeThen]:
    """Of a partition that several runs make none had made it before all were there."""
    if place[0] != "dataset" or place[1:] not in whole:
        return made
    since = whole[place[1:]]
    return [
        each if each.at is None or (since is not None and each.at >= since) else replace(each, at=None) for each in made
    ]


def _others(run: Ran, made: Iterable[MadeThen]) -> list[MadeThen]:
    """What other runs made: what a run reads of its own it has not to wait for. Nor has it for what was made in the
    same execution of its platform, which orders its parts and is told to have begun as a whole (dbt's models in one
    step of Dagster). An instance of a mapped task may follow one of another, which nobody can tell from the rest."""
    return [
        each
        for each in made
        if run.key not in (each.by, each.producer)
        and (run.task_id, run.group_run) != (each.by[0], each.group_run)
        and not (run.mapped and each.mapped)
        and not (run.source and run.source == each.source)
    ]


def _gaps(
    connection: Connection,
    environment: int,
    pairs: Sequence[tuple[Ran, Reading]],
    then: Sequence[Sequence[MadeThen]],
) -> set[int]:
    """The declared needs of which nobody has ever made anything, though earlier keys of the same form had been made
    when the run began."""
    places = [place for place, (_, each) in enumerate(pairs) if each.declared and each.places[0][2] and not then[place]]
    asked = [(pairs[place][1].places[0], pairs[place][0].started_at) for place in places]
    earlier = history.earlier_keys(connection, environment, asked)
    return {
        place for place, (at, _), keys in zip(places, asked, earlier, strict=True) if _form(at[2]) in map(_form, keys)
    }


def _form(key: str) -> str:
    return _DIGIT.sub("0", key)


def _nodes(
    connection: Connection, environment: int, known: Surroundings, wanted: Iterable[Node]
) -> Mapping[Node, NodeRow]:
    """The nodes by their ids; those that no edge leads to are read."""
    unknown = set(wanted) - known.nodes.keys()
    return {**known.nodes, **readiness.nodes(connection, environment, unknown)} if unknown else known.nodes
