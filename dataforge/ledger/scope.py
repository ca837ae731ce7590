"""A part of the state: one domain, the runs that started in some days, or both.

Guarantees that what a part is rebuilt from is all that it follows from: the runs above, those that claim the same
partitions, and mapped instances of one run. What that is, is read from the live state. A run that it has lost is of no
part by that, so what events say of unknown runs is always taken in; what a checkpoint keeps of them is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from dataforge.model.errors import Conflict, FieldError, InvalidInput
from dataforge.model.event import Event
from dataforge.storage import scope as storage
from dataforge.storage.attempt import RunKey
from dataforge.storage.database import Connection
from dataforge.storage.difference import Scope

_ALL_TIME = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
MOST_RUNS = 1_000_000  # of a range: their names are held in memory, some hundred bytes each


class Part(msgspec.Struct, frozen=True):
    """What somebody asks for. A range is [since, until); without one it is all time."""

    domain: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def whole(self) -> bool:
        """Whether it is no part, but all of the state."""
        return self.domain is None and self.since is None and self.until is None


EVERYTHING = Part()


class Compared(msgspec.Struct, frozen=True):
    """What of a part was compared."""

    tasks: int | None  # with their edges; None where only runs and partitions were
    runs: int
    partitions: int


class Concern(msgspec.Struct, frozen=True):
    """What a part consists of, and what it follows from."""

    part: Part
    tasks: frozenset[int] | None  # of its domain
    runs: frozenset[RunKey] | None  # of its range; None where it has none
    needed_tasks: frozenset[int] = frozenset()
    needed_runs: frozenset[RunKey] = frozenset()

    def narrow(self, connection: Connection, live: int, events: Sequence[Event]) -> list[Event]:
        """The events with only those attempts and outcomes that the part follows from, or that the live state lacks."""
        attempts = {(a.key.task.id, a.key.run): (a.key.task.id, a.group_run) for e in events for a in e.facts.attempts}
        outcomes = {(o.task.id, o.group_run) for e in events for o in e.facts.outcomes}
        wanted = {run for run, group in attempts.items() if self._needs(run) or self._needs(group)}
        wanted |= self._lost(connection, live, "attempt", attempts.keys() - wanted)
        said = {run for run in outcomes if self._needs(run)}
        said |= self._lost(connection, live, "outcome", outcomes - said)
        return [
            replace(
                event,
                facts=replace(
                    event.facts,
                    attempts=tuple(a for a in event.facts.attempts if (a.key.task.id, a.key.run) in wanted),
                    outcomes=tuple(o for o in event.facts.outcomes if (o.task.id, o.group_run) in said),
                    marks=tuple(m for m in event.facts.marks if self._needs((m.task.id, m.run))),
                ),
            )
            for event in events
        ]

    def keeps(self, row: dict[str, bytes]) -> bool:
        """Whether the part follows from a row of a checkpoint."""
        task = int(row["task_id"]) if "task_id" in row else None
        if task is None:
            return True  # how far sources have been seen
        names = [_text(row[column]) for column in ("run", "group_run") if column in row]
        return any(self._needs((task, name)) for name in names)

    def _needs(self, run: RunKey) -> bool:
        return run[0] in self.needed_tasks if self.runs is None else run in self.needed_runs

    def _lost(
        self, connection: Connection, live: int, table: Literal["attempt", "outcome"], runs: set[RunKey]
    ) -> set[RunKey]:
        if self.runs is None:
            return set()  # all runs of its tasks are taken in anyway
        asked = sorted(run for run in runs if self.tasks is None or run[0] in self.tasks)
        return storage.unknown(connection, live, table, asked)

    def mark(self, connection: Connection, live: int, rebuilt: int) -> tuple[dict[str, Scope], Compared]:
        """Marks what is compared, and says what that is. Raises Conflict where the part has come to follow from more
        than was read."""
        now = find(connection, live, self.part)
        if not now.needed_tasks <= self.needed_tasks or not now.needed_runs <= self.needed_runs:
            raise Conflict(
                "what the part follows from grew while it was read: run it again, or choose days that are over"
            )
        tasks = self.tasks or frozenset()
        if self.runs is None or now.runs is None:
            runs, partitions = storage.mark(connection, live, rebuilt, tasks, [])
            return storage.marked(tasks), Compared(len(tasks), runs, partitions)
        seen = _started(connection, rebuilt, self.part, self.tasks)
        runs, partitions = storage.mark(connection, live, rebuilt, [], sorted(now.runs | seen))
        return storage.marked([]), Compared(None, runs, partitions)


def find(connection: Connection, environment: int, part: Part) -> Concern:
    """What a part consists of and follows from, as the live state has it. Raises InvalidInput where nobody has that
    domain, and where more runs started than can be looked at."""
    tasks = None
    if part.domain is not None:
        tasks = frozenset(storage.tasks_of_domain(connection, environment, part.domain))
        if not tasks:
            problem = FieldError("domain", part.domain, "the domain of a task, as `dataforge tasks` shows it")
            raise InvalidInput(f"no task is of the domain {part.domain!r}", [problem])
    if part.since is None and part.until is None:
        return Concern(part, tasks, None, needed_tasks=_needed_tasks(connection, environment, tasks or frozenset()))
    runs = _started(connection, environment, part, tasks)
    if len(runs) > MOST_RUNS:
        problem = FieldError("--from", str(part.since), f"a range in which at most {MOST_RUNS:,} runs started")
        raise InvalidInput("the range is too wide", [problem])
    return Concern(part, tasks, runs, needed_runs=_needed_runs(connection, environment, runs))


def _started(connection: Connection, environment: int, part: Part, tasks: frozenset[int] | None) -> frozenset[RunKey]:
    since, until = part.since or _ALL_TIME[0], part.until or _ALL_TIME[1]
    return frozenset(storage.runs_started(connection, environment, since, until, tasks, MOST_RUNS + 1))


def _needed_tasks(connection: Connection, environment: int, tasks: frozenset[int]) -> frozenset[int]:
    needed = set(tasks) | storage.co_writers(connection, environment, tasks)
    new = needed
    while new:
        new = storage.tasks_above(connection, environment, new) - needed
        needed |= new
    return frozenset(needed)


def _needed_runs(connection: Connection, environment: int, runs: frozenset[RunKey]) -> frozenset[RunKey]:
    needed = set(runs) | storage.co_claims(connection, environment, sorted(runs))
    new = needed
    while new:
        new = storage.needed_for(connection, environment, sorted(new)) - needed
        needed |= new
    return frozenset(needed)


_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _text(field: bytes) -> str:
    """A value as COPY writes it, read back."""
    if b"\\" not in field:
        return field.decode()
    letters = iter(field.decode())
    return "".join(_unescaped(next(letters)) if letter == "\\" else letter for letter in letters)


def _unescaped(letter: str) -> str:
    return _ESCAPES.get(letter, letter)
