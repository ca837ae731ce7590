"""Following the ledger: what has changed since a reader last asked, and the latest states to begin with.

Guarantees that a reader who goes on from each page's position ends with the present state of every partition,
whatever the size of the pages, whatever is recorded meanwhile and however late it commits. A partition that changed
several times is shown once, as it is now; one that changes while pages are read may be shown again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dataforge.model.change import MOST_CHANGES, MOST_DATASETS, MOST_EACH, MOST_LATEST, Change, Changes
from dataforge.model.decoding import shorten
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.listing import MOST_EXAMINED, read_cursor, write_cursor
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.model.state import PartitionStatus
from dataforge.storage import change as storage
from dataforge.storage import environment as environments
from dataforge.storage.change import ChangePlace, Horizon, Stretch
from dataforge.storage.database import Database
from dataforge.storage.readiness import begin_snapshot

NOW = "now"  # in the place of a position: nothing of what was, only what comes
_OTHERWISE = {"after": ", `now`, or none for the beginning", "before": ", or none for the present"}


def changes(
    database: Database,
    environment: str,
    after: str | None = None,
    limit: int = 100,
    kind: NodeKind | None = None,
) -> Changes:
    """What has changed behind the position `after`: None is the beginning, `now` the present moment.

    A position of another database or environment, or of a history that a restored backup has undone, begins anew:
    `mirror_id` tells the reader what is known already. What was cleared is shown as missing. A page with fewer items
    than `limit`, even none, may have more behind it. Raises InvalidInput for a position that no page has given out.
    """
    check("limit", limit, MOST_CHANGES)
    given = None if after is None or after == NOW else read_position("after", after)
    with database.transaction() as connection:
        begin_snapshot(connection)
        within = environments.find(connection, environment).id
        horizon = storage.horizon(connection, within)
        if after == NOW:
            present = storage.last(connection, within, horizon.history)
            return Changes(items=(), position=written(present), more=False)
        most = limit + 1 if kind is None else MOST_EXAMINED
        found = storage.find(connection, within, begin(given, horizon), limit, kind, most)
        shown, behind, more = _cut(found, limit)
        items = storage.load(connection, within, [(each.kind, each.node_id, each.partition) for each in shown])
    return Changes(items=tuple(items), position=written(behind), more=more)


def begin(given: ChangePlace | None, horizon: Horizon) -> ChangePlace:
    """Where to go on; the beginning where the position means nothing here."""
    if given is None or given.history != horizon.history or given.transaction >= horizon.transaction:
        return ChangePlace(horizon.history, 0)
    return given


def _cut(found: Stretch, limit: int) -> tuple[list[ChangePlace], ChangePlace, bool]:
    """The changes of one page, the place behind it, and whether more is known to be there."""
    if len(found.matching) > limit:
        return found.matching[:limit], found.matching[limit - 1], True
    return found.matching, found.read_to, found.full


def written(place: ChangePlace) -> str:
    """A place as the position that readers are given."""
    position = write_cursor(place)
    assert position is not None, "a place is always written"
    return position


def read_position(field: str, given: str) -> ChangePlace | None:
    """The place of a position. Raises InvalidInput for what no answer has given out."""
    try:
        return read_cursor(given, ChangePlace)
    except InvalidInput:
        expected = "the position of an answer before" + _OTHERWISE.get(field, "")
        raise refused(field, shorten(given), expected) from None


def latest(
    database: Database,
    environment: str,
    datasets: Sequence[tuple[str, str]],
    each: int = 30,
    statuses: Collection[PartitionStatus] = (),
) -> tuple[Change, ...]:
    """The present states of the last `each` partitions of these datasets (namespace and name, or an alias's), by
    canonical name and then the newest key first; only those in one of these `statuses`, where there are any. What
    nobody knows, or no run has written, has none.

    Who goes on with `changes` asks for the position `now` before this, and so misses nothing in between.
    """
    check("each", each, MOST_EACH)
    if len(datasets) > MOST_DATASETS:
        raise refused("datasets", f"{len(datasets):,} datasets", f"at most {MOST_DATASETS:,} datasets")
    if len(datasets) * each > MOST_LATEST:
        expected = f"at most {MOST_LATEST // len(datasets):,}: {MOST_LATEST:,} partitions are answered at once"
        raise refused("each", each, expected)
    refs = [DatasetRef(*dataset) for dataset in datasets]
    with database.transaction() as connection:
        begin_snapshot(connection)
        within = environments.find(connection, environment).id
        return tuple(storage.load(connection, within, storage.latest(connection, within, refs, each, statuses)))


def check(field: str, value: int, most: int) -> None:
    """Raises InvalidInput for a number that is none from 1 on, or too large."""
    if not 1 <= value <= most:
        raise refused(field, value, f"a number from 1 to {most:,}")


def refused(field: str, value: object, expected: str) -> InvalidInput:
    """The refusal of one field."""
    return InvalidInput(f"{field} is {value!r}: expected {expected}", [FieldError(field, value, expected)])
