"""Rebuilding: the recorded events and the standing definitions are read again into a hidden environment.

Guarantees that reading again keeps nobody waiting: what is read is committed page by page beside the live state, and
only what is left at the end is read in the transaction of the caller, who compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from dataforge.ingest import native, openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import start as starts
from dataforge.ledger.checkpoint import Cut, LastEvent, Refused, Shelf
from dataforge.ledger.declare import restore, restore_history
from dataforge.ledger.record import apply
from dataforge.ledger.rule_change import Kind, RuleChange, changes_of, kinds_of
from dataforge.ledger.rules import rules_version
from dataforge.ledger.scope import EVERYTHING, Compared, Concern, Part, find
from dataforge.ledger.settle import settle
from dataforge.ledger.start import Start
from dataforge.ledger.swap import swap
from dataforge.ledger.verify import Comparison, Difference, compare
from dataforge.model.errors import Conflict
from dataforge.model.event import Event
from dataforge.storage import definition as definitions
from dataforge.storage import environment as environments
from dataforge.storage import event as event_log
from dataforge.storage import rebuilt as rebuilds
from dataforge.storage import run_part
from dataforge.storage import version as versions
from dataforge.storage.database import Connection, Database
from dataforge.storage.difference import Scope
from dataforge.storage.environment import Environment
from dataforge.storage.event import Recorded
from dataforge.storage.run_part import End

PAGE = 1_000
Move = Callable[[int, int], None]  # the number of the event that was read last, and about how far numbers go


class Verification(msgspec.Struct, frozen=True):
    """How much was read again, from where on, and where the live state parts from what it gives."""

    events: int  # read again
    definitions: int
    found: Comparison
    checkpoint: str | None = None  # the one that reading started from
    covered: int = 0  # events that it stands for
    other_rules: bool = False  # whether it keeps facts that other rules than today's read from those
    refused: tuple[Refused, ...] = ()
    compared: Compared | None = None  # of a part; None where it was all of the state

    @property
    def difference(self) -> Difference | None:
        """The first; None where the states agree."""
        return self.found.first[0] if self.found.first else None


class Rebuild:
    """A state that is being rebuilt, and how far."""

    def __init__(self, live: Environment, beside: int, start: Start, concern: Concern | None) -> None:
        self.live, self.beside, self._last_part = live.id, beside, live.last_part
        self._start, self._concern = start, concern
        self._scope: dict[str, Scope] | None = None
        self._events = 0
        self._ends: list[End] = []  # that are to come, and of how many it was asked
        self._ended = 0
        self._last = start.checkpoint.manifest.last if start.checkpoint else None

    def catch_up(self, database: Database, move: Move) -> None:
        """Reads the start, definitions and events, a transaction a page, until less than a page is left."""
        keep = self._concern.keeps if self._concern else None
        starts.load_graph(database, self.beside, self._start)
        with database.transaction() as connection:
            self._define(connection)
            last = event_log.last_number(connection, self.live)
            ends = run_part.ends(connection, self.live)
        self._ends, self._ended = [each for each in ends if each.number >= self._number], len(ends)
        if self._ends and self._concern is not None:
            raise Conflict("runs have ended since the last checkpoint: make one, or do it for the whole environment")
        move(self._number, max(last, self._number))
        starts.load_runs(database, self.beside, self._start, keep)
        read = PAGE
        while read == PAGE:
            with database.transaction() as connection:
                read = self._page(connection)
            move(self._number, max(last, self._number))

    def finish(self, connection: Connection) -> Verification:
        """Reads what is left, as the transaction sees it, and compares. Raises Conflict where somebody took the rebuilt
        state for left behind, because our connection was lost."""
        if not rebuilds.still_stands(connection, self.beside):
            raise Conflict("the rebuilt state was removed while events were read: run it again")
        while self._page(connection):
            pass
        starts.check_bodies(connection, self.live, self._start)
        if len(run_part.ends(connection, self.live)) != self._ended:
            raise Conflict("runs ended while events were read: run it again")
        count = self._define(connection)
        rebuilds.copy_names(connection, self.live, self.beside)
        compared = None
        if self._concern is not None:
            self._scope, compared = self._concern.mark(connection, self.live, self.beside)
        begun = self._start.checkpoint
        return Verification(
            events=self._events,
            definitions=count,
            found=compare(connection, self.live, self.beside, self._scope),
            checkpoint=begun.folder.name if begun else None,
            covered=begun.manifest.events if begun else 0,
            other_rules=begun is not None and begun.manifest.rules != rules_version(),
            refused=self._start.refused,
            compared=compared,
        )

    def rule_changes(
        self, connection: Connection, found: Comparison
    ) -> tuple[tuple[Kind, ...], tuple[RuleChange, ...]]:
        """What was found to differ, by kind, and the first of it."""
        return (
            kinds_of(connection, self.live, self.beside, found, self._scope),
            changes_of(connection, self.live, self.beside, self._scope),
        )

    def swap_in(self, connection: Connection, found: Comparison) -> None:
        """Makes what was compared the live state's; the caller holds the environment's lock."""
        swap(connection, self.live, self.beside, found, self._scope)

    def cut(self) -> Cut | None:
        """What has been read, as a checkpoint names it; None where nothing was ever recorded."""
        if self._last is None:
            return None
        begun = self._start.checkpoint
        events = self._events + (begun.manifest.events if begun else 0)
        return Cut(self.beside, self._last, events, rules_version())

    @property
    def _number(self) -> int:
        return self._last.number if self._last else 0

    def _page(self, connection: Connection) -> int:
        found = event_log.read(connection, self.live, self._number, PAGE)
        while self._ends and (not found or found[0].number > self._ends[0].number):
            known_from = self._ends.pop(0).known_from
            settle(connection, self.beside, places=run_part.repeat(connection, self.beside, self.live, known_from))
        page = [event for event in found if not self._ends or event.number <= self._ends[0].number]
        if page:
            events = [_parse(event) for event in page]
            if self._concern is not None:
                events = self._concern.narrow(connection, self.live, events)
            apply(connection, self.beside, events, self._last_part)
            self._last = LastEvent(page[-1].number, page[-1].occurred_at, page[-1].id.hex())
            self._events += len(page)
        return len(found)

    def _define(self, connection: Connection) -> int:
        ahead = versions.sources_ahead(connection, self.live, self.beside)
        restore_history(connection, self.live, self.beside, ahead)
        manifests = definitions.manifests(connection, self.live)
        for manifest in manifests:
            restore(connection, self.beside, manifest)
        return len(manifests)


@contextmanager
def rebuilt(
    database: Database,
    environment: str,
    shelf: Shelf | None,
    move: Move,
    part: Part = EVERYTHING,
    *,
    oldest: bool = False,
) -> Iterator[Rebuild]:
    """A rebuild that has caught up, for as long as the block; it starts from the shelf's last good checkpoint, or from
    as early as bodies are left."""
    with database.transaction() as connection:
        live = environments.find(connection, environment)
        start = starts.choose(connection, live.id, shelf, rules_version(), oldest=oldest)
        concern = None if part.whole else find(connection, live.id, part)
    with rebuilds.hidden(database, live.id) as beside:
        rebuild = Rebuild(live, beside, start, concern)
        rebuild.catch_up(database, move)
        yield rebuild


def _parse(event: Recorded) -> Event:
    """The event as it is read by the rules of today; its body is recorded already, and is let go."""
    read = native.parse if event.kind in ("native", "control") else openlineage.parse
    return replace(read(event.body, NOTHING, event.id), body=b"")
