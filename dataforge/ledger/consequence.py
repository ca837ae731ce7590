"""What was built from what some runs made, and still stands on it.

A run is built from another when it succeeded, began after the other had ended and before somebody else made that
partition anew, and needed that partition (`ledger.reading`). What a run made counts as long as no later success has
replaced it.

Guarantees a bounded search: so many levels, and so many runs looked at on each; an answer that ended before it had seen
all says so.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from dataforge.ledger.reading import readings
from dataforge.model.freshness import RunKey
from dataforge.model.state import RunState
from dataforge.storage import consequence as storage
from dataforge.storage import finding, made
from dataforge.storage.consequence import Output
from dataforge.storage.database import Connection
from dataforge.storage.finding import Ran
from dataforge.storage.readiness import Place

MOST_LEVELS = 12
MOST_READERS = 2_000  # runs of one level that may have read what was made
_MOST_OF_TASK = 100  # of one task that may have read one partition
_BATCH = 200  # pairs of a partition and a task that are looked up at once


class _Spell(NamedTuple):
    """A partition as one run left it, for as long as it stayed so."""

    by: RunKey
    place: Place
    begun: datetime
    ended: datetime


class Built(msgspec.Struct):
    """What some runs made, and which runs were built from which."""

    outputs: dict[RunKey, list[Output]]
    readers: dict[RunKey, set[RunKey]]
    cut: set[RunKey]  # of which not every reader was looked at

    def wrote(self, run: RunKey) -> list[Place]:
        """The datasets' partitions that a run wrote."""
        return sorted({each.place for each in self.outputs.get(run, ()) if each.place[0] == "dataset"})

    def below(self, run: RunKey) -> tuple[list[Place], bool]:
        """What was built from what the run made and still stands on it, and whether that is all. Of a run that wrote no
        data its own partition counts."""
        found: dict[Place, None] = {}
        seen, level, complete = {run}, [run], run not in self.cut
        while level:
            level = sorted({reader for each in level for reader in self.readers.get(each, ())} - seen)
            seen |= set(level)
            complete = complete and not self.cut & set(level)
            for reader in level:
                standing = sorted({each.place for each in self.outputs.get(reader, ()) if each.standing})
                data = [place for place in standing if place[0] == "dataset"]
                found.update(dict.fromkeys(data or standing))
        own = {each.place for each in self.outputs.get(run, ())}
        return [place for place in found if place not in own], complete


def built_from(connection: Connection, environment: int, runs: Iterable[RunKey], now: datetime) -> Built:
    """What was built from what these runs made, level by level."""
    known = Built({}, {}, set())
    level = storage.outputs(connection, environment, runs)
    for _ in range(MOST_LEVELS):
        known.outputs.update(level)
        if not level:
            return known
        candidates = _candidates(connection, environment, known, level, now)
        below = _readers(connection, environment, known, candidates, now)
        level = storage.outputs(connection, environment, below - known.outputs.keys())
    known.cut.update(level)
    return known


def _candidates(
    connection: Connection, environment: int, known: Built, level: Mapping[RunKey, list[Output]], now: datetime
) -> list[tuple[_Spell, Ran]]:
    """The runs of the tasks that consume what was made, which began while it was there."""
    spells = _spells(connection, environment, level, now)
    consumers = storage.consumers(connection, environment, {spell.place[:2] for spell in spells})
    asked = [(spell, task_id) for spell in spells for task_id in sorted(consumers.get(spell.place[:2], ()))]
    found: list[tuple[_Spell, Ran]] = []
    for first in range(0, len(asked), _BATCH):
        batch = asked[first : first + _BATCH]
        if len(found) >= MOST_READERS:
            known.cut.update(spell.by for spell, _ in batch)
            continue
        times = [(task_id, spell.begun, spell.ended) for spell, task_id in batch]
        started = finding.started(connection, environment, times, _MOST_OF_TASK)
        for (spell, _), runs in zip(batch, started, strict=True):
            found += [(spell, run) for run in runs if run.state is RunState.SUCCEEDED and run.key != spell.by]
            if len(runs) == _MOST_OF_TASK:
                known.cut.add(spell.by)
    return found


def _spells(
    connection: Connection, environment: int, level: Mapping[RunKey, list[Output]], now: datetime
) -> list[_Spell]:
    """How long what these runs made stayed as it was: until the next success of another run."""
    outputs = [(by, each) for by in sorted(level) for each in sorted(level[by], key=lambda output: output.place)]
    then = made.made(connection, environment, [(output.place, output.at) for _, output in outputs])
    spells = []
    for (by, output), around in zip(outputs, then, strict=True):
        later = (each.at for each in around if each.at and each.at > output.at and by not in (each.by, each.producer))
        spells.append(_Spell(by, output.place, output.at, min(later, default=now)))
    return spells


def _readers(
    connection: Connection, environment: int, known: Built, candidates: list[tuple[_Spell, Ran]], now: datetime
) -> set[RunKey]:
    """Those of the candidates that needed what was there, noted as readers of it."""
    runs = list({run.key: run for _, run in candidates}.values())
    needed = readings(connection, environment, runs, now).of
    places = {key: {place for reading in found for place in reading.places} for key, found in needed.items()}
    readers: set[RunKey] = set()
    for spell, run in candidates:
        if spell.place in places[run.key]:
            known.readers.setdefault(spell.by, set()).add(run.key)
            readers.add(run.key)
    return readers
