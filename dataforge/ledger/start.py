"""Where rebuilding starts: at the beginning, or at the last checkpoint that is good and belongs to this database.

Guarantees that what is rebuilt from a checkpoint rests on its facts alone: all that follows from them is settled anew,
by the rules of today and the definitions that stand now.
"""

from __future__ import annotations

import msgspec

from dataforge.ledger.checkpoint import Checkpoint, Refused, Shelf
from dataforge.ledger.declare import restore_history
from dataforge.ledger.settle import settle
from dataforge.model.errors import Conflict
from dataforge.model.reference import NodeKind
from dataforge.storage import control as controls
from dataforge.storage import event as event_log
from dataforge.storage import quarantine_order as quarantine_orders
from dataforge.storage import rebuilt as rebuilds
from dataforge.storage import run_part
from dataforge.storage import version as versions
from dataforge.storage.attempt import RunKey
from dataforge.storage.database import Connection, Database
from dataforge.storage.fact_file import FACTS, Keep, load

_PAGE = 1_000
_FIRST = -(2**63)
_GRAPH = frozenset(
    (
        *("manifest", "declaration", "task", "dataset", "alias", "edge", "upstream_list", "column_list"),
        *("control", "quarantine_order"),
        *("watermark", "late", "stream"),
    )
)


class Start(msgspec.Struct, frozen=True):
    """Where to begin; `checkpoint` is None at the very beginning."""

    checkpoint: Checkpoint | None
    refused: tuple[Refused, ...]

    @property
    def number(self) -> int:
        """The last event that need not be read."""
        return self.checkpoint.manifest.last.number if self.checkpoint else 0


def choose(connection: Connection, environment: int, shelf: Shelf | None, rules: str, *, oldest: bool = False) -> Start:
    """The newest good checkpoint whose facts were read by these rules. One of other rules is taken only where bodies
    that it covers are gone. Without a shelf it is the beginning. With `oldest`, as few events as can be are left out.

    Raises Conflict where bodies are gone and no good checkpoint covers them.
    """
    dropped = event_log.last_dropped(connection, environment)
    refused: list[Refused] = []
    usable: list[Checkpoint] = []
    for found in shelf.all() if shelf is not None else ():
        if isinstance(found, Refused):
            refused.append(found)
        elif reason := _stranger(connection, environment, found):
            refused.append(Refused(found.folder.name, reason))
        elif found.manifest.last.number >= dropped:
            usable.append(found)
            if found.manifest.rules == rules and not oldest:
                return Start(found, tuple(refused))
    if dropped == 0:
        return Start(None, tuple(refused))
    if not usable:
        raise Conflict(_gone(dropped, refused))
    return Start(usable[-1 if oldest else 0], tuple(refused))


def newest(connection: Connection, environment: int, shelf: Shelf) -> Checkpoint | None:
    """The newest good checkpoint of this database; None where there is none."""
    for found in shelf.all():
        if isinstance(found, Checkpoint) and _stranger(connection, environment, found) is None:
            return found
    return None


def covered(connection: Connection, environment: int, shelf: Shelf) -> int:
    """The number of the last event that a good checkpoint of this database covers; 0 where there is none."""
    found = newest(connection, environment, shelf)
    return found.manifest.last.number if found is not None else 0


def _stranger(connection: Connection, environment: int, found: Checkpoint) -> str | None:
    """Why a checkpoint is none of this database: of another one, or of a time that a restored backup has undone."""
    last = found.manifest.last
    number = event_log.number_of(connection, environment, last.occurred_at, bytes.fromhex(last.id))
    return None if number == last.number else "its last event is not in this database under its number"


def _gone(dropped: int, refused: list[Refused]) -> str:
    why = "; ".join(f"{each.name}: {each.reason}" for each in refused)
    return (
        f"the bodies of events up to number {dropped:,} were dropped, so what they said can only be read from a"
        f" checkpoint that covers them, and there is none" + (f" ({why})" if why else "")
    )


def check_bodies(connection: Connection, environment: int, start: Start) -> None:
    """Raises Conflict where bodies behind the start are gone: they were dropped while events were read."""
    if event_log.last_dropped(connection, environment) > start.number:
        raise Conflict("bodies were dropped while events were read: run it again")


def load_graph(database: Database, environment: int, start: Start, keep: Keep | None = None) -> None:
    """Loads what the start's facts say of tasks, datasets, edges, declarations and orders. The definitions that stand
    are restored after that."""
    _load(database, environment, start, keep, graph=True)
    with database.transaction() as connection:
        restore_history(connection, environment, environment, versions.sources(connection, environment))


def load_runs(database: Database, environment: int, start: Start, keep: Keep | None = None) -> None:
    """Settles tasks and datasets, loads what the start's facts say of runs, and settles those, a page a transaction;
    then what is quarantined."""
    if start.checkpoint is None:
        return
    for kind in ("task", "dataset"):
        _settle_nodes(database, environment, kind)
    _load(database, environment, start, keep, graph=False)
    _settle_runs(database, environment)
    if any(part.file == "write.zst" and part.rows for part in start.checkpoint.manifest.parts):
        _settle_claims(database, environment)
    with database.transaction() as connection:
        settle(connection, environment, places=controls.quarantines(connection, environment))


def _load(database: Database, environment: int, start: Start, keep: Keep | None, *, graph: bool) -> None:
    """Loads the facts; of a table that is younger than the checkpoint, what the migration that brought it gave it."""
    if start.checkpoint is None:
        return
    parts = {part.file: part for part in start.checkpoint.manifest.parts}
    for table in FACTS:
        if (table.name in _GRAPH) == graph:
            part = parts.get(f"{table.name}.zst")
            with database.transaction() as connection:
                if part is not None:
                    load(connection, environment, table, part, start.checkpoint.folder, None if graph else keep)
                elif table.name == "quarantine_order":
                    quarantine_orders.add_standing(connection, environment)


def _settle_runs(database: Database, environment: int) -> None:
    after: RunKey = (_FIRST, "")
    while after is not None:
        with database.transaction() as connection:
            page = rebuilds.runs_behind(connection, environment, after, _PAGE)
            settle(connection, environment, runs=dict.fromkeys(page))
        if len(page) < _PAGE:
            return
        after = page[-1]


def _settle_claims(database: Database, environment: int) -> None:
    """Settles the partitions on which there are claims of runs that have ended."""
    after, page = run_part.FIRST, [run_part.FIRST]
    while page:
        with database.transaction() as connection:
            page = run_part.claimed_behind(connection, environment, after, _PAGE)
            settle(connection, environment, places=set(page))
        after = page[-1] if page else after


def _settle_nodes(database: Database, environment: int, kind: NodeKind) -> None:
    after = _FIRST
    page = [after]
    while page:
        with database.transaction() as connection:
            page = rebuilds.nodes_behind(connection, environment, kind, after, _PAGE)
            if kind == "task":
                settle(connection, environment, tasks=set(page))
            else:
                settle(connection, environment, datasets=set(page))
        after = page[-1] if page else after
