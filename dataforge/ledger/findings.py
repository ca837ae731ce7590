"""What history alone shows to be wrong: runs that began too early or whose inputs changed, edges, silent sources.

Runs are looked at first, the latest start first, then the edges of declared tasks, loops of edges, and sources; a page
goes on where the one before ended, and within a page the worst comes first. Nothing is stored: a finding is a function
of what is recorded, so it is the same whatever the order in which that came, and goes when what it rests on is mended.

Guarantees a bounded cost of a page: it ends when it is full, or when enough has been looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec.structs import replace

from dataforge.ledger.consequence import built_from
from dataforge.ledger.finding_edge import of_edges
from dataforge.ledger.finding_run import of_runs
from dataforge.ledger.need import ref
from dataforge.model.filter import FindingFilter
from dataforge.model.finding import MOST_SHOWN, BuiltFromIt, Finding, FindingCode, FoundPartition
from dataforge.model.finding_rule import silent_from, source_silent, usual_gap
from dataforge.model.freshness import RunKey
from dataforge.model.listing import Page, read_cursor, write_cursor
from dataforge.storage import environment as environments
from dataforge.storage import finding_source as sources
from dataforge.storage import readiness
from dataforge.storage.database import Connection, Database
from dataforge.storage.finding import RunPlace
from dataforge.storage.readiness import Node, NodeRow, Place

LOOK_BACK = timedelta(days=7)  # where nobody says since when
_MOST_STRETCHES = 4  # of one page
_MOST_SOURCES = 20  # that are looked at together
_LEAST = 1 - 2**63  # no task has a lesser id
_Part = Literal["runs", "edges", "cycles", "sources"]
_PARTS: dict[_Part, frozenset[FindingCode]] = {
    "runs": frozenset({FindingCode.STARTED_TOO_EARLY, FindingCode.STARTED_ON_QUARANTINED, FindingCode.INPUT_CHANGED}),
    "edges": frozenset({FindingCode.EDGE_NEVER_DECLARED, FindingCode.EDGE_NEVER_OBSERVED}),
    "cycles": frozenset({FindingCode.OBSERVED_CYCLE}),
    "sources": frozenset({FindingCode.SOURCE_SILENT}),
}


class FindingPlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="findings"):
    """Where a walk goes on: behind which run, from which task or source on. It keeps the beginning that it had, though
    time goes on."""

    part: _Part
    since: datetime
    run: RunPlace
    task: int = _LEAST
    source: str = ""
    shown: int = 0  # findings of that very run or task which the page before has shown


class _Found(msgspec.Struct, frozen=True):
    """A finding, the run that it is about, if it is, and the place at which the walk meets it."""

    finding: Finding
    run: RunKey | None
    place: FindingPlace


class _Stretch(msgspec.Struct, frozen=True):
    """Findings in the order of the walk, and where the next ones begin."""

    found: list[_Found]
    then: FindingPlace | None


def findings(database: Database, name: str, wanted: FindingFilter, now: datetime) -> Page[Finding]:
    """One page of what is wrong in the environment `name` at this time. Raises NotFound for one that is unknown."""
    with database.transaction() as connection:
        readiness.begin_snapshot(connection)
        here = environments.find(connection, name).id
        begin = FindingPlace(part="runs", since=wanted.since or now - LOOK_BACK, run=RunPlace(now))
        place: FindingPlace | None = read_cursor(wanted.cursor, FindingPlace) or begin
        kept: list[_Found] = []
        for _ in range(_MOST_STRETCHES):
            if place is None or len(kept) == wanted.limit:
                break
            shown, place = _take(_stretch(connection, here, place, wanted, now), place, wanted.limit - len(kept))
            kept += shown
        items = _with_consequences(connection, here, kept, now)
    return Page(sorted(items, key=lambda item: item.order), write_cursor(place))


def _take(stretch: _Stretch, place: FindingPlace, room: int) -> tuple[list[_Found], FindingPlace | None]:
    """As many findings of a stretch as there is room for, behind those shown already, and where to go on."""
    shown = stretch.found[place.shown : place.shown + room]
    if place.shown + len(shown) == len(stretch.found):
        return shown, stretch.then
    last = shown[-1].place
    same = [each for each in stretch.found[: place.shown + len(shown)] if each.place == last]
    return shown, replace(last, shown=len(same))


def _after(place: FindingPlace) -> FindingPlace | None:
    """The beginning of the next part; None behind the last."""
    parts = list(_PARTS)
    following = parts[parts.index(place.part) + 1 :]
    return replace(place, part=following[0], task=_LEAST, shown=0) if following else None


def _stretch(
    connection: Connection, environment: int, place: FindingPlace, wanted: FindingFilter, now: datetime
) -> _Stretch:
    """What is found from this place on, and is wanted."""
    if wanted.code is not None and wanted.code not in _PARTS[place.part]:
        return _Stretch([], _after(replace(place, shown=0)))
    whole = _LOOKS[place.part](connection, environment, place, now)
    found = [each for each in whole.found if _wanted(each.finding, wanted)]
    return _Stretch(found, whole.then or _after(place))


def _runs(connection: Connection, environment: int, place: FindingPlace, now: datetime) -> _Stretch:
    looked_at = of_runs(connection, environment, place.since, now, place.run, again=place.shown > 0)
    found = [
        _Found(each.finding, each.run.key, replace(place, run=each.run.place, shown=0)) for each in looked_at.found
    ]
    end = looked_at.stopped_at
    return _Stretch(found, replace(place, run=end, shown=0) if end is not None else None)


def _edges(connection: Connection, environment: int, place: FindingPlace, _: datetime) -> _Stretch:
    looked_at = of_edges(connection, environment, place.since, place.task)
    found = [_Found(finding, None, replace(place, task=task, shown=0)) for task, finding in looked_at.found]
    return _Stretch(found, replace(place, task=looked_at.then, shown=0) if looked_at.then is not None else None)


def _cycles(connection: Connection, environment: int, place: FindingPlace, _: datetime) -> _Stretch:
    from dataforge.ledger.finding_cycle import of_cycles  # it brings scipy, half a second

    looked_at = of_cycles(connection, environment, place.since, place.task)
    found = [_Found(finding, None, replace(place, task=task, shown=0)) for task, finding in looked_at.found]
    return _Stretch(found, replace(place, task=looked_at.then, shown=0) if looked_at.then is not None else None)


def _sources(connection: Connection, environment: int, place: FindingPlace, now: datetime) -> _Stretch:
    page = sources.sources(connection, environment, place.source, _MOST_SOURCES + 1)
    following = page.pop() if len(page) > _MOST_SOURCES else None
    silent = _silent(connection, environment, page, place.since, now)
    found = [_Found(finding, None, replace(place, source=finding.source or "", shown=0)) for finding in silent]
    return _Stretch(found, replace(place, source=following.name, shown=0) if following is not None else None)


_LOOKS = {"runs": _runs, "edges": _edges, "cycles": _cycles, "sources": _sources}


def _wanted(finding: Finding, wanted: FindingFilter) -> bool:
    return wanted.code in (None, finding.code) and wanted.owner in (None, finding.owner or "")


def _silent(
    connection: Connection, environment: int, page: Sequence[sources.Source], since: datetime, now: datetime
) -> Iterator[Finding]:
    """The sources that became silent at `since` or later."""
    paces = sources.paces(connection, environment, page)
    for source in page:
        times = [each for each in paces.get(source.name, ()) if each <= source.last_at]
        gap = usual_gap([*times, source.last_at])
        if gap is not None and silent_from(source.last_at, gap) >= since:
            finding = source_silent(source.name, times, source.last_at, now)
            if finding is not None:
                yield finding


def _with_consequences(
    connection: Connection, environment: int, found: Sequence[_Found], now: datetime
) -> list[Finding]:
    """The findings, those about a run with what it made and what was built from that."""
    runs = {each.run for each in found if each.run is not None}
    if not runs:
        return [each.finding for each in found]
    built = built_from(connection, environment, runs, now)
    below = {run: built.below(run) for run in runs}
    made = {run: built.wrote(run) for run in runs}
    shown = {place for run in runs for place in (*made[run], *below[run][0])}
    nodes = readiness.nodes(connection, environment, {place[:2] for place in shown})
    return [
        each.finding if each.run is None else _consequent(each.finding, made[each.run], below[each.run], nodes)
        for each in found
    ]


def _consequent(
    finding: Finding, made: Iterable[Place], below: tuple[list[Place], bool], nodes: dict[Node, NodeRow]
) -> Finding:
    places, complete = below
    built = BuiltFromIt(
        items=tuple(_partition(nodes, place) for place in places[:MOST_SHOWN]), count=len(places), complete=complete
    )
    return replace(finding, made=tuple(_partition(nodes, place) for place in made), built_from_it=built)


def _partition(nodes: dict[Node, NodeRow], place: Place) -> FoundPartition:
    node = ref(nodes[place[:2]])
    return FoundPartition(node.kind, node.namespace, node.name, place[2] or None)
