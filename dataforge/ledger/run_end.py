"""How long runs are kept: until all of a half-year is older than every environment says.

Guarantees that a run has ended by what was told of it alone: by its last word, and by who still takes something from it
(migration 0058). `run_end` says after which event, so who reads the events again ends the same runs at the same point.
And that nothing is dropped which no file holds, where there is an archive.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from operator import itemgetter

from dataforge.ledger.bodies import Ended, Fate
from dataforge.ledger.export import Held, Share, end, on_the_way
from dataforge.storage import environment as environments
from dataforge.storage import run_file, run_month, run_part
from dataforge.storage.archive import Archive
from dataforge.storage.database import Connection, Database
from dataforge.storage.ending import Ending, alone
from dataforge.storage.part import Part
from dataforge.storage.run_month import Content


def fates(database: Database, now: datetime) -> list[Fate]:
    """Every part, and whether it may go; of those that may the number of runs, those that stay among them."""
    away = [Fate(each.part, each.events, None) for each in on_the_way(database, RUNS)]
    with database.transaction() as connection:
        return away + _judged(connection, now)


def end_old(database: Database, now: datetime, archive: Archive | None) -> Ended:
    """Ends the parts that may go, makes the next one, and tells what became of each. Without an archive nothing is
    exported. A part is detached with all that lies beside its runs; from then on it is exported, read back and dropped,
    and a call that comes after one that was killed goes on with what that had detached."""
    with alone(database):
        with database.transaction() as connection:
            environments.lock_all(connection)  # who records has read which parts there are
            judged = _judged(connection, now)
            _detach(connection, judged)
            run_part.premake(connection)
        found = end(database, archive, RUNS)
        as_it_was = {fate.part.name: fate.part for fate in judged}
        gone = [Fate(as_it_was.get(each.part.name, each.part), each.events, None) for each in found.parts]
        return Ended(gone + [fate for fate in judged if fate.stays is not None], found.files)


def set_days(database: Database, environment: str, days: int) -> None:
    """Sets for how many days after the last word of it an environment keeps a run."""
    with database.transaction() as connection:
        run_part.set_days(connection, environment, days)


def _detach(connection: Connection, judged: list[Fate]) -> None:
    for fate, following in pairwise(judged):
        if fate.stays is None:
            run_part.detach(connection, fate.part, following.part)


def _judged(connection: Connection, now: datetime) -> list[Fate]:
    name, _, days = max(run_part.days(connection), key=itemgetter(2))
    before = now - timedelta(days=days)
    young = f"younger than {days} days, which {name} keeps"
    *others, last = run_part.parts(connection)
    why = young if _ends(last) > before else "the last one there is"
    return [*(_judge(connection, part, before, young) for part in others), Fate(last, None, why)]


def _judge(connection: Connection, part: Part, before: datetime, young: str) -> Fate:
    return Fate(part, None, young) if _ends(part) > before else Fate(part, run_part.count(connection, part), None)


def _ends(part: Part) -> datetime:
    assert part.ends is not None, "no part of runs is open: the last one takes what is younger"
    return part.ends


def _share(database: Database, each: Ending, of: Content) -> Share:
    """A month may lie in several parts, and in those of other databases, so the name has both: a part has a name of its
    own since it was detached."""
    which = blake2b(each.part.encode(), digest_size=8).hexdigest()
    file = f"{of.name}/runs/{of.begins:%Y-%m}-{which}.parquet"
    pages = partial(run_month.pages, database, each, of)
    return Share(of.environment, file, of.runs, run_file.FORM, pages, listed=True)


RUNS = Held(run_part.TABLE, run_month.content, _share)
