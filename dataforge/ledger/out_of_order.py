"""Which of the events that are being recorded come out of order: after something that occurred later was recorded.

Guarantees that nothing of it is state: the ledger makes the same of any order. What comes in one transaction comes
together, and is in order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from dataforge.model.attempt import Attempt
from dataforge.model.out_of_order import Late
from dataforge.storage import out_of_order as storage
from dataforge.storage.attempt import Attempts, RunKey
from dataforge.storage.database import Connection
from dataforge.storage.partition import Contested


def within_runs(said: Iterable[Attempt], known: Iterable[Attempt]) -> Iterator[Late]:
    """Of what is said now what occurred before the last thing that was known of its run, for each dataset that the run
    is known to write."""
    latest: dict[RunKey, datetime] = {}
    runs: dict[RunKey, list[Attempt]] = {}
    for each in known:
        key, last = _run(each), each.statement.at
        for touch in each.touches:
            last = max(last, touch.last_at)
        latest[key] = max(latest.get(key, last), last)
        runs.setdefault(key, []).append(each)
    for each in said:
        at, key = each.statement.at, _run(each)
        if key in latest and at < latest[key]:
            touches = [touch for told in (each, *runs[key]) for touch in told.touches if touch.direction == "output"]
            for dataset, partition in {touch.dataset.id: touch.partition for touch in touches}.items():
                yield _late(each, dataset, partition or each.partition or "", latest[key])


def of_partitions(
    connection: Connection,
    environment: int,
    said: Iterable[Attempt],
    runs: Mapping[RunKey, Attempts | None],
    contested: Iterable[Contested],
) -> Iterator[Late]:
    """Results of runs that began before the one that a partition stands by, which was recorded before and is later.
    `runs` are those that something was said of, as they are now."""
    standing = {(each.node, each.partition): each for each in contested if runs.keys().isdisjoint(each.runs)}
    there: dict[int, list[Contested]] = {}
    for place in standing.values():
        for name in place.names:
            there.setdefault(name, []).append(place)
    ended = {_run(each): each for each in said if each.statement.state.final} if standing else {}
    behind = {key: each for key, each in ended.items() if _may_be_behind(each, runs.get(key) or (), there)}
    for found in storage.overtaken(connection, environment, sorted(behind), standing.values()) if behind else ():
        each, since = behind[found.run], standing[found.dataset, found.partition].since
        if each.statement.at < since:
            yield _late(each, found.dataset, found.partition, since)


def _may_be_behind(each: Attempt, run: Attempts, there: Mapping[int, Sequence[Contested]]) -> bool:
    """Whether the run names a partition, or may mean one, that stands by something later."""
    return any(
        each.statement.at < place.since and touch.partition in ("", place.partition)
        for one in run
        for touch in one.attempt.touches
        if touch.direction == "output"
        for place in there.get(touch.dataset.id, ())
    )


def _run(attempt: Attempt) -> RunKey:
    return (attempt.key.task.id, attempt.key.run)


def _late(each: Attempt, dataset: int, partition: str, behind: datetime) -> Late:
    said = each.statement
    return Late(said.at, said.event, dataset, each.key.task.id, each.key.run, partition, behind)
