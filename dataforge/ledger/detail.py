"""How long partitions keep their states: until all windows of a month ended longer ago than every environment says.

Guarantees that a window without a state says so from the same commit on: `states_known_from` moves on in the
transaction in which its part leaves the table. And that nothing leaves it which somebody still works on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from dataforge.ledger.bodies import Ended, Fate
from dataforge.ledger.export import Held, Share, end, on_the_way
from dataforge.ledger.need import cut_of
from dataforge.model.attempt import Interval
from dataforge.model.partition import bounds_of, endless, keys_of
from dataforge.storage import environment as environments
from dataforge.storage import partition_file, partition_part
from dataforge.storage import wakeup as wakeups
from dataforge.storage.archive import Archive
from dataforge.storage.database import Connection, Database
from dataforge.storage.ending import Ending, alone
from dataforge.storage.part import Part
from dataforge.storage.partition_part import Content


class _First(NamedTuple):
    """The first window that an environment still keeps, by its key, and why."""

    key: str
    because: str


def fates(database: Database, now: datetime) -> list[Fate]:
    """Every part, and whether it may go; of those that may the number of windows."""
    away = [Fate(each.part, each.events, None) for each in on_the_way(database, STATES)]
    with database.transaction() as connection:
        return away + _judged(connection, now)


def end_old(database: Database, now: datetime, archive: Archive | None) -> Ended:
    """Ends the parts that may go, makes those of the coming months, and tells what became of each. Without an archive
    nothing is exported. They are detached in one transaction; from then on each is exported, read back and dropped, and
    a call that comes after one that was killed goes on with what that had detached."""
    with alone(database):
        with database.transaction() as connection:
            environments.lock_all(connection)  # who records has read from when on windows have states
            judged = _judged(connection, now)
            now_away = _detach(connection, [fate.part for fate in judged if fate.stays is None])
            partition_part.premake(connection)
        found = end(database, archive, STATES)
        before = [Fate(each.part, each.events, None) for each in found.parts if each.name not in now_away]
        return Ended(before + judged, found.files)


def set_days(database: Database, environment: str, days: int) -> None:
    """Sets for how many days after its end an environment keeps a window's state."""
    with database.transaction() as connection:
        partition_part.set_days(connection, environment, days)


def _detach(connection: Connection, going: list[Part]) -> set[str]:
    if not going:
        return set()
    until = max((_key(part.ends) for part in going if part.ends is not None), default=_known_from(connection))
    partition_part.move_on(connection, until)
    for _, each, _ in partition_part.days(connection):  # what may run by what was known of it
        wakeups.put(connection, each, [], everything=True)
    return {partition_part.detach(connection, part, until) for part in going}


def _key(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _known_from(connection: Connection) -> str:
    """The day from which on windows have states in every environment that has seen any end."""
    return max(environments.states_known_from(connection, each) for _, each, _ in partition_part.days(connection))


def _judged(connection: Connection, now: datetime) -> list[Fate]:
    firsts = [_first(connection, each, now) for each in partition_part.days(connection)]
    found: list[Fate] = []
    known_from, stayed = _known_from(connection), None
    for part in partition_part.parts(connection):
        if part.ends is None:
            held = sum(each.partitions for each in partition_part.content(connection, part.name, known_from))
            found.append(Fate(part, held, None if held else "no window in it has ended"))
            continue
        why = f"{stayed}, which is older, stays" if stayed else _stays(connection, _key(part.ends), firsts)
        if why is not None:
            stayed = stayed or part.name
            found.append(Fate(part, None, why))
            continue
        known_from = max(known_from, _key(part.ends))
        found.append(Fate(part, sum(each.partitions for each in partition_part.content(connection, part.name)), None))
    return found


def _stays(connection: Connection, ends: str, firsts: list[_First]) -> str | None:
    """Why a part up to this day stays; None where it may go."""
    first = min(firsts, key=_by_key)
    return first.because if first.key < ends else partition_part.busy(connection, ends)


def _first(connection: Connection, environment: tuple[str, int, int], now: datetime) -> _First:
    """A window stays until it has been over for the environment's days: of each partitioning the one that holds the
    moment so many days ago, with all that come after it."""
    name, environment_id, days = environment
    before = now - timedelta(days=days)
    found = [_First(_key(before), f"younger than {days} days, which {name} keeps")]
    for shape, of in partition_part.shapes(connection, environment_id):
        because = f"a window of {of} in {name} begins in it that was not over {days} days ago"
        found += [_First(key, because) for key in _holding(shape, before)]
    return min(found, key=_by_key)


def _by_key(first: _First) -> str:
    return first.key


def _holding(shape: str, moment: datetime) -> Iterator[str]:
    """The key of the window that holds a moment, of a partitioning whose keys begin with their window."""
    cut = cut_of(shape, declared=True)
    if cut is not None and cut.dimensions:
        cut = cut.dimensions[min(cut.dimensions)]
    if cut is None or not cut.windowed:
        return
    ends = bounds_of(cut)[1]
    if ends is None or ends > moment:
        yield from keys_of(endless(cut), Interval(moment, moment + timedelta(microseconds=1)))


def _share(database: Database, each: Ending, of: Content) -> Share:
    """A file is named by the part, which has its name since it was detached: so no other ever has the same."""
    file = f"{of.name}/partitions/{each.part.removeprefix(f'ending_{partition_part.TABLE}_')}.parquet"
    pages = partial(partition_part.pages, database, each, of.environment)
    return Share(of.environment, file, of.partitions, partition_file.FORM, pages)


STATES = Held(partition_part.TABLE, partition_part.content, _share)
