"""How long it is known which events were recorded: until all of a month is older than the setting says.

Guarantees that nothing that is dropped comes in as news: what occurred before is refused from the same commit on. And
that no checkpoint that would be started from is taken for a stranger's: the event that it ends with stays known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from dataforge.ledger.bodies import Fate, Shelves
from dataforge.ledger.start import newest
from dataforge.storage import environment as environments
from dataforge.storage import event as event_log
from dataforge.storage import event_part
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.event_part import Content, Identity
from dataforge.storage.part import Part


def fates(database: Database, shelves: Shelves, days: int, now: datetime) -> list[Fate]:
    """Every month that has begun, and whether it may go."""
    with database.transaction() as connection:
        return [fate for fate, _ in _judged(connection, _spared(connection, shelves), days, now)]


def end_old(database: Database, shelves: Shelves, days: int, now: datetime) -> list[Fate]:
    """Drops the months that may go, all in one transaction, makes those of the coming year, and returns what became of
    each. `now` is the present time; what occurred or was recorded less than `days` before it stays.

    Months are read through before anybody has to wait; while nobody records, only what came meanwhile is looked at.
    """
    with database.transaction() as connection:
        last = {each.id: event_log.last_number(connection, each.id) for each in _environments(connection)}
        spared = _spared(connection, shelves)
        judged = _judged(connection, spared, days, now)
    with database.transaction() as connection:
        environments.lock_all(connection)  # who records has read from when on events are known
        there = {part.name for part in event_part.parts(connection)}  # another may have been quicker
        found = [_end(connection, fate, held, spared, last) for fate, held in judged if fate.part.name in there]
        event_part.premake(connection)
    return found


def _end(
    connection: Connection, fate: Fate, held: list[Content], spared: Sequence[Identity], last: Mapping[int, int]
) -> Fate:
    if fate.stays is not None:
        return fate
    if event_part.recorded_since(connection, fate.part, last):
        return Fate(fate.part, fate.events, "something was recorded in it just now: try again")
    event_part.drop(connection, fate.part, held, spared)
    return fate


def _environments(connection: Connection) -> list[Environment]:
    return [environments.find(connection, name) for name in environments.names(connection)]


def _spared(connection: Connection, shelves: Shelves) -> list[Identity]:
    """The events that the newest good checkpoints end with, by which they are known to be of this database."""
    found = []
    for here in _environments(connection):
        if (checkpoint := newest(connection, here.id, shelves(here.name))) is not None:
            last = checkpoint.manifest.last
            found.append(Identity(here.id, last.occurred_at, bytes.fromhex(last.id)))
    return found


def _judged(
    connection: Connection, spared: Sequence[Identity], days: int, now: datetime
) -> list[tuple[Fate, list[Content]]]:
    begun = [part for part in event_part.parts(connection) if part.begins is None or part.begins <= now]
    found: list[tuple[Fate, list[Content]]] = []
    stayed: Part | None = None
    for part in begun:
        fate, held = _judge(connection, part, spared, (days, now - timedelta(days=days)))
        if fate.stays is None and stayed is not None and part.begins is not None:
            fate = Fate(part, fate.events, f"{stayed.name}, which is older, stays")
        if fate.stays is not None and stayed is None:
            stayed = part
        found.append((fate, held))
    return found


def _judge(
    connection: Connection, part: Part, spared: Sequence[Identity], age: tuple[int, datetime]
) -> tuple[Fate, list[Content]]:
    days, before = age
    young = f"younger than {days} days"
    if part.ends is not None and part.ends > before:
        return Fate(part, None, young), []
    held = event_part.content(connection, part, spared)
    events = sum(each.events for each in held)
    if part.ends is None and not held:
        return Fate(part, 0, "empty, for what no month is made for"), held
    if any(each.occurred_until > before for each in held):
        return Fate(part, events, young), held
    if any(each.recorded_until > before for each in held):
        return Fate(part, events, f"recorded within {days} days"), held
    return Fate(part, events, None), held
