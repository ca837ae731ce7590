"""Asking whether datasets come when and as they usually do, a thousand of them on one snapshot.

Guarantees a number of queries that does not grow with the number of questions.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from dataforge.ledger.need import cut_of
from dataforge.model.arrival import Arrival, ArrivalQuestion, Arrivals, judged
from dataforge.model.column_change import MOST_RESULTS, Shown, changes, keeps
from dataforge.model.due import Due
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef
from dataforge.model.verdict import NodeRef
from dataforge.storage import arrival as storage
from dataforge.storage import column_list as column_lists
from dataforge.storage import environment as environments
from dataforge.storage import freshness, out_of_order, readiness
from dataforge.storage.arrival import Known
from dataforge.storage.database import Connection, Database


def arrivals(database: Database, environment: str, questions: Sequence[ArrivalQuestion], now: datetime) -> Arrivals:
    """One item for each question. A name that fits nothing, or several, has an item that says neither declared nor
    observed."""
    with database.transaction() as connection:
        readiness.begin_snapshot(connection)
        here = environments.find(connection, environment).id
        named = freshness.resolve(connection, here, [(each.namespace, each.name) for each in questions])
        known = [fitting[0] for fitting in named if len(fitting) == 1]
        found = dict(zip(known, arrivals_of(connection, here, known, now), strict=True))
    items = [
        found[fitting[0]] if len(fitting) == 1 else _unknown(question)
        for question, fitting in zip(questions, named, strict=True)
    ]
    return Arrivals(tuple(items), now)


def _unknown(question: ArrivalQuestion) -> Arrival:
    return Arrival(node=NodeRef("dataset", question.namespace or "", question.name))


def arrivals_of(
    connection: Connection, environment: int, datasets: Sequence[DatasetRef], now: datetime
) -> list[Arrival]:
    """How each of these datasets comes, under their canonical names, as one snapshot shows them."""
    ids = list(dict.fromkeys(each.id for each in datasets))
    known, came = storage.known(connection, environment, ids), storage.came(connection, environment, ids)
    shown, shuffled = _shown(connection, environment, ids), out_of_order.told(connection, environment, ids, now)
    items = []
    for each in datasets:
        told = known[each.id]
        item = Arrival(
            node=NodeRef("dataset", each.namespace, each.name),
            declared=told.declared,
            observed=told.observed,
            owner=told.owner,
            out_of_order=tuple(shuffled.get(told.id, ())),
            column_changes=changes(shown.get(told.id, ())),
        )
        items.append(judged(item, _cut(told), came.get(told.id, []), now, _due(told)))
    return items


def _shown(connection: Connection, environment: int, datasets: Iterable[int]) -> dict[int, list[Shown]]:
    """The last results of those of these datasets whose columns may have changed: of most, the last two tell that they
    have not."""
    last = column_lists.shown(connection, environment, datasets, 2)
    undecided = [dataset for dataset in datasets if (found := last.get(dataset)) is None or not keeps(found)]
    return column_lists.shown(connection, environment, undecided, MOST_RESULTS)


def _cut(known: Known) -> Partitioning | None:
    """How it is cut: of what nobody says it as the tasks are that write it, where they are cut alike."""
    shapes = [known.partitioning] if known.partitioning else known.cuts
    return cut_of(shapes[0], declared=True) if len(shapes) == 1 else None


def _due(known: Known) -> Due | None:
    """When it is due: of what does not say it as the tasks are that write it, where they agree."""
    said = [known.due] if known.due else known.dues
    return msgspec.json.decode(said[0], type=Due) if len(said) == 1 else None
