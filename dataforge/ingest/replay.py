"""Verifying, replaying, and making a checkpoint: what is done with a state that was rebuilt beside the live one.

Guarantees that of the three only a replay changes the live state, and that a checkpoint is only ever made of a state
which is what its events and definitions give.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from dataforge.ingest.rebuild import Move, Verification, rebuilt
from dataforge.ledger import checkpoint as checkpoints
from dataforge.ledger.checkpoint import Checkpoint, Shelf
from dataforge.ledger.rule_change import Kind, RuleChange
from dataforge.ledger.rules import rules_version
from dataforge.ledger.scope import EVERYTHING, Part
from dataforge.model.errors import Conflict
from dataforge.storage import environment as environments
from dataforge.storage import rebuilt as rebuilds
from dataforge.storage.database import Database
from dataforge.storage.signing_key import SigningKey


def _still(_done: int, _total: int) -> None:
    """Nobody watches."""


def verify(
    database: Database, environment: str, move: Move = _still, *, shelf: Shelf | None = None, part: Part = EVERYTHING
) -> Verification:
    """Rebuilds an environment's state beside the live one and compares the two. Nothing is changed, and nobody has to
    wait: both are looked at as they were at one moment. Without a shelf of checkpoints every event is read."""
    with rebuilt(database, environment, shelf, move, part) as rebuild, database.transaction() as connection:
        rebuilds.begin_snapshot(connection)
        return rebuild.finish(connection)


def replay(
    database: Database, environment: str, move: Move = _still, *, shelf: Shelf | None = None, part: Part = EVERYTHING
) -> Verification:
    """Rebuilds an environment's state and makes it the live one; returns what differed before. A second time changes
    nothing.

    Until the rebuilt state has caught up, nobody waits. Then writers wait for the swap, as long as a statement may
    take; readers see the state before it or after it. Killed at any point, nothing has changed, or everything.
    """
    with rebuilt(database, environment, shelf, move, part) as rebuild, database.transaction() as connection:
        environments.lock(connection, environment)
        done = rebuild.finish(connection)
        if not done.found.agrees:
            rebuild.swap_in(connection, done.found)
        return done


class Tried(msgspec.Struct, frozen=True):
    """What the rules of this version would change."""

    rules: str
    verified: Verification
    kinds: tuple[Kind, ...]
    changes: tuple[RuleChange, ...]


def try_rules(
    database: Database, environment: str, move: Move = _still, *, shelf: Shelf | None = None, part: Part = EVERYTHING
) -> Tried:
    """Rebuilds the state by the rules of this version, from the first event whose body is left, and says what they
    would make otherwise than the live state has it. Nothing is changed."""
    with (
        rebuilt(database, environment, shelf, move, part, oldest=True) as rebuild,
        database.transaction() as connection,
    ):
        rebuilds.begin_snapshot(connection)
        verified = rebuild.finish(connection)
        kinds, changes = rebuild.rule_changes(connection, verified.found)
        return Tried(rules_version(), verified, kinds, changes)


class Made(msgspec.Struct, frozen=True):
    """A checkpoint, and how it came about; none where the live state is not what its events give."""

    checkpoint: Checkpoint | None
    verified: Verification


def checkpoint(
    database: Database, environment: str, shelf: Shelf, key: SigningKey, now: datetime, move: Move = _still
) -> Made:
    """Verifies the live state, and keeps what it was rebuilt to as a signed checkpoint.

    Its cut is the last event that the transaction which compares sees: exact, since within an environment numbers
    commit in their order. Raises Conflict where nothing was ever recorded.
    """
    with rebuilt(database, environment, shelf, move) as rebuild, database.transaction() as connection:
        rebuilds.begin_snapshot(connection)
        verified = rebuild.finish(connection)
        cut = rebuild.cut()
        if cut is None:
            raise Conflict(f"nothing was recorded in {environment} yet, so there is nothing to keep")
        if not verified.found.agrees:
            return Made(None, verified)
        return Made(checkpoints.make(connection, shelf, key, cut, now), verified)
