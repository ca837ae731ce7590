"""What changed of some datasets since a reader last looked, the newest first: for who cannot keep up with all of it.

Guarantees that a reader who goes on with each answer's `rest`, now or later, has been shown the present state of every
partition of these datasets that changed in between, whatever is recorded meanwhile; a state that another has replaced
by then is never shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataforge.ledger.change import begin, check, read_position, refused, written
from dataforge.model.change import MOST_CHANGES, MOST_FOLLOWED, Newest
from dataforge.model.reference import DatasetRef
from dataforge.storage import change as storage
from dataforge.storage import environment as environments
from dataforge.storage import newest as from_the_end
from dataforge.storage.change import ChangePlace, Horizon
from dataforge.storage.database import Database
from dataforge.storage.readiness import begin_snapshot

MOST_LOOKED_AT = 20_000  # changes of anything in one question: 60 ms


def newest(
    database: Database,
    environment: str,
    datasets: Sequence[tuple[str, str]],
    after: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> Newest:
    """What changed of these datasets (by canonical name) behind the position `after` and up to `before`: None is the
    beginning, or the present. An `after` of another history begins anew, and a `before` of one has nothing behind it,
    since that beginning covers it. Raises InvalidInput for a position that no answer has given out."""
    check("limit", limit, MOST_CHANGES)
    if len(datasets) > MOST_FOLLOWED:
        raise refused("datasets", f"{len(datasets):,} datasets", f"at most {MOST_FOLLOWED:,} datasets")
    since, until = (None if given is None else read_position(name, given) for name, given in _named(after, before))
    with database.transaction() as connection:
        begin_snapshot(connection)
        within = environments.find(connection, environment).id
        horizon = storage.horizon(connection, within)
        position = written(storage.last(connection, within, horizon.history))
        if before is not None and (until is None or until.history != horizon.history):
            return Newest(items=(), position=position, rest=None, waiting=0)
        span = (begin(since, horizon), until or _end(horizon))
        ids = [DatasetRef(*dataset).id for dataset in datasets]
        found = from_the_end.find(connection, within, ids, span, limit, MOST_LOOKED_AT)
        items = storage.load(connection, within, [(each.kind, each.node_id, each.partition) for each in found.shown])
    rest = None if found.rest is None else written(found.rest)
    return Newest(items=tuple(items), position=position, rest=rest, waiting=found.waiting)


def _named(after: str | None, before: str | None) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
    return ("after", after), ("before", before)


def _end(horizon: Horizon) -> ChangePlace:
    """Behind all that may be shown."""
    return ChangePlace(horizon.history, horizon.transaction)
