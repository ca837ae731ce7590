"""Verifying and replaying: the recorded events and the standing definitions are read again into a hidden environment,
and the state they give is compared with the live one, or swapped in.

Guarantees that reading again keeps nobody waiting: what is read is committed page by page beside the live state. Only
the last step of a replay, comparing and writing what differs, holds the environment's lock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from dataforge.ingest import native, openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import restore
from dataforge.ledger.record import apply
from dataforge.ledger.swap import swap
from dataforge.ledger.verify import Comparison, Difference, compare
from dataforge.model.event import Event
from dataforge.storage import definition as definitions
from dataforge.storage import environment as environments
from dataforge.storage import event as event_log
from dataforge.storage import rebuilt as rebuilds
from dataforge.storage.database import Connection, Database
from dataforge.storage.event import Recorded

_PAGE = 1_000
Move = Callable[[int, int], None]  # events read so far, and about how many there are


class Verification(msgspec.Struct, frozen=True):
    """How much was read again, and where the live state parts from what it gives."""

    events: int
    definitions: int
    found: Comparison

    @property
    def difference(self) -> Difference | None:
        """The first; None where the states agree."""
        return self.found.first[0] if self.found.first else None


def _still(_done: int, _total: int) -> None:
    """Nobody watches."""


def verify(database: Database, environment: str, move: Move = _still) -> Verification:
    """Rebuilds an environment's state beside the live one and compares the two. Nothing is changed, and nobody has to
    wait: both are looked at as they were at one moment."""
    with _rebuilt(database, environment, move) as rebuild, database.transaction() as connection:
        rebuilds.begin_snapshot(connection)
        return rebuild.finish(connection)


def replay(database: Database, environment: str, move: Move = _still) -> Verification:
    """Rebuilds an environment's state and makes it the live one; returns what differed before. A second time changes
    nothing.

    Until the rebuilt state has caught up, nobody waits. Then writers wait for the swap, as long as a statement may
    take; readers see the state before it or after it. Killed at any point, nothing has changed, or everything.
    """
    with _rebuilt(database, environment, move) as rebuild, database.transaction() as connection:
        environments.lock(connection, environment)
        done = rebuild.finish(connection)
        if not done.found.agrees:
            swap(connection, rebuild.live, rebuild.beside, done.found)
        return done


class _Rebuild:
    """A state that is being rebuilt, and how far."""

    def __init__(self, live: int, beside: int) -> None:
        self.live, self.beside = live, beside
        self.events = 0
        self._after = 0

    def catch_up(self, database: Database, move: Move) -> None:
        """Reads definitions and events, a transaction a page, until less than a page is left."""
        with database.transaction() as connection:
            self._define(connection)
            last = event_log.last_number(connection, self.live)
        read = _PAGE
        while read == _PAGE:
            with database.transaction() as connection:
                read = self._page(connection)
            move(self._after, max(last, self._after))

    def finish(self, connection: Connection) -> Verification:
        """Reads what is left, as the transaction sees it, and compares."""
        while self._page(connection):
            pass
        count = self._define(connection)
        rebuilds.copy_names(connection, self.live, self.beside)
        return Verification(self.events, count, compare(connection, self.live, self.beside))

    def _page(self, connection: Connection) -> int:
        page = event_log.read(connection, self.live, self._after, _PAGE)
        if page:
            apply(connection, self.beside, [_parse(event) for event in page])
            self._after = page[-1].number
            self.events += len(page)
        return len(page)

    def _define(self, connection: Connection) -> int:
        manifests = definitions.manifests(connection, self.live)
        for manifest in manifests:
            restore(connection, self.beside, manifest)
        return len(manifests)


@contextmanager
def _rebuilt(database: Database, environment: str, move: Move) -> Iterator[_Rebuild]:
    with database.transaction() as connection:
        live = environments.find(connection, environment).id
    with rebuilds.hidden(database) as beside:
        rebuild = _Rebuild(live, beside)
        rebuild.catch_up(database, move)
        yield rebuild


def _parse(event: Recorded) -> Event:
    """The event as it is read by the rules of today; its body is recorded already, and is let go."""
    read = native.parse if event.kind == "native" else openlineage.parse
    return replace(read(event.body, NOTHING, event.id), body=b"")
