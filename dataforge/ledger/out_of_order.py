"""Which of the events that are being recorded come out of order: after something that occurred later was recorded.

Guarantees that nothing of it is state: the ledger makes the same of any order. What comes in one transaction comes
together, and is in order.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from dataforge.model.attempt import Attempt
from dataforge.model.out_of_order import Late
from dataforge.storage import out_of_order as storage
from dataforge.storage.attempt import RunKey
from dataforge.storage.database import Connection
from dataforge.storage.partition import Contested


def within_runs(said: Iterable[Attempt], known: Iterable[Attempt]) -> Iterator[Late]:
    """Of what is said now what occurred before the last thing that was known of its run, for each dataset that the run
    is known to write."""
    latest: dict[RunKey, datetime] = {}
    runs: dict[RunKey, list[Attempt]] = {}
    for each in known:
        key = _run(each)
        latest[key] = max(latest.get(key, each.statement.at), each.statement.at, *(t.last_at for t in each.touches))
        runs.setdefault(key, []).append(each)
    for each in said:
        at, key = each.statement.at, _run(each)
        if key in latest and at < latest[key]:
            touches = [touch for told in (each, *runs[key]) for touch in told.touches if touch.direction == "output"]
            for dataset, partition in {touch.dataset.id: touch.partition for touch in touches}.items():
                yield _late(each, dataset, partition or each.partition or "", latest[key])


def of_partitions(
    connection: Connection, environment: int, said: Sequence[Attempt], contested: Iterable[Contested]
) -> Iterator[Late]:
    """Results of runs that began before the one that a partition stands by, which was recorded before and is later."""
    together = {(each.key.task.id, each.group_run) for each in said}
    standing = {(each.node, each.partition): each for each in contested if together.isdisjoint(each.runs)}
    ended = {_run(each): each for each in said if each.statement.state.final}
    if not standing or not ended:
        return
    for found in storage.overtaken(connection, environment, sorted(ended), standing.values()):
        each, since = ended[found.run], standing[found.dataset, found.partition].since
        if since is not None and each.statement.at < since:
            yield _late(each, found.dataset, found.partition, since)


def _run(attempt: Attempt) -> RunKey:
    return (attempt.key.task.id, attempt.key.run)


def _late(each: Attempt, dataset: int, partition: str, behind: datetime) -> Late:
    said = each.statement
    return Late(said.at, said.event, dataset, each.key.task.id, each.key.run, partition, behind)
