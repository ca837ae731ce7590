"""How long bodies live: until they are older than the setting says and a good checkpoint covers them.

Guarantees that no body ends which anything could still have to be read from: every environment's share of a part is
covered, by a checkpoint whose signature and files were checked just now. And that none is dropped before it was read
back, the same, from the archive, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.export import Exported, Held, Share, end, on_the_way
from dataforge.ledger.start import covered
from dataforge.storage import body_file, body_part, ending
from dataforge.storage.archive import Archive
from dataforge.storage.body_part import Content
from dataforge.storage.database import Connection, Database
from dataforge.storage.ending import Ending, alone
from dataforge.storage.part import Part

Shelves = Callable[[str], Shelf]  # by an environment's name


class Fate(msgspec.Struct, frozen=True):
    """What becomes of a part."""

    part: Part
    events: int | None  # None where it was not counted, since it is too young
    stays: str | None  # why; None where it may go


def fates(database: Database, shelves: Shelves, days: int, now: datetime) -> list[Fate]:
    """Every part that has begun, and whether it may go."""
    away = [Fate(each.part, each.events, None) for each in on_the_way(database, BODIES)]
    with database.transaction() as connection:
        return away + [fate for fate, _ in _judged(connection, shelves, days, now)]


class Ended(msgspec.Struct, frozen=True):
    """What became of all parts, and the files that hold what has gone."""

    fates: list[Fate]
    files: list[Exported]


def end_old(database: Database, shelves: Shelves, days: int, now: datetime, archive: Archive | None) -> Ended:
    """Ends the parts that may go, makes those of the coming weeks, and tells what became of each. `now` is the present
    time; bodies recorded less than `days` before it stay. Without an archive nothing is exported.

    They are detached in one transaction; from then on each is exported, read back and dropped, and a call that comes
    after one that was killed goes on with what that had detached.
    """
    with alone(database):
        with database.transaction() as connection:
            judged = _judged(connection, shelves, days, now)
            now_away = {body_part.detach(connection, fate.part, held) for fate, held in judged if fate.stays is None}
            body_part.premake(connection)
        found = end(database, archive, BODIES)
        before = [Fate(each.part, each.events, None) for each in found.parts if each.name not in now_away]
        return Ended(before + [fate for fate, _ in judged], found.files)


def _judged(connection: Connection, shelves: Shelves, days: int, now: datetime) -> list[tuple[Fate, list[Content]]]:
    until: dict[str, int] = {}  # how far each environment is covered, looked up once
    begun = [part for part in body_part.parts(connection) if part.begins is None or part.begins <= now]
    return [_judge(connection, shelves, part, (days, now - timedelta(days=days)), until) for part in begun]


def _judge(
    connection: Connection, shelves: Shelves, part: Part, age: tuple[int, datetime], until: dict[str, int]
) -> tuple[Fate, list[Content]]:
    days, before = age
    young = f"younger than {days} days"
    if part.ends is not None and part.ends > before:
        return Fate(part, None, young), []
    held = body_part.content(connection, part.name)
    events = sum(each.events for each in held)
    if part.ends is None and not held:
        return Fate(part, 0, "empty, for what no week is made for"), held
    if any(each.recorded_until > before for each in held):
        return Fate(part, events, young), held
    for each in held:
        if each.name not in until:
            until[each.name] = covered(connection, each.environment, shelves(each.name))
        if until[each.name] < each.last:
            return Fate(part, events, f"no checkpoint of {each.name} covers event number {each.last:,}"), held
    return Fate(part, events, None), held


def _share(database: Database, each: Ending, of: Content) -> Share:
    file = f"{of.name}/bodies/{each.was}-{of.first}-{of.last}.parquet"
    return Share(of.environment, file, of.events, body_file.FORM, partial(ending.pages, database, each, of))


BODIES = Held(body_part.TABLE, body_part.content, _share)
