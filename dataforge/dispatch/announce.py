"""Announcing: which partitions may run, now that something upstream, an order or a declaration has changed.

Guarantees that no wake-up is missed (invariant I5). Whoever changes a partition leaves a row in the outbox in the same
transaction, and the announcer decides on what lies downstream after that has been committed, on what it then sees. Of
two upstreams that became ready at the same moment neither saw the other, but the row that is worked on last is decided
on when both are there. What is announced stays so until it is claimed or may not run any more; that it is claimed once
is the claim's own guarantee, which looks again. Whoever declares leaves a row too, since what a new task waits for may
have been there long before: then the last `MOST_RECENT` partitions of each upstream are followed, and no older ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

from dataforge.dispatch.claim import is_ground
from dataforge.dispatch.declared import around_declared
from dataforge.ledger.aging import questions
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked
from dataforge.ledger.reach import listed, waiting_for
from dataforge.model.readiness import decide_all
from dataforge.model.verdict import Code, Verdict
from dataforge.storage import backfill_item as backfills
from dataforge.storage import environment as environments
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import Place
from dataforge.storage.wakeup import Changed, TaskPartition, Wakeup

MOST_CHANGES = 500  # of the outbox, in one transaction
_MOST_VERDICTS = 1_000  # decided on at once
# What only the partition's own orders, times and pools say: it is looked at again when they change. The slots of a pool
# are given out by claims, in the order in which what waits is listed.
_OWN = frozenset({Code.PAUSED, Code.CANCELED, Code.GATE_PENDING, Code.CONDITION_UNMET, Code.NOT_BEFORE, Code.POOL_FULL})


def announce(
    database: Database,
    environment: str,
    now: datetime,
    *,
    trusted: frozenset[str] = frozenset(),
    most: int = MOST_CHANGES,
) -> int:
    """Works on the oldest changes, and on what is due by now. Returns how many it has worked on: none where there are
    none, or where somebody else announces in this environment. Tasks whose dependencies were only observed are
    announced where their namespace is `trusted`, as they may be claimed there alone."""
    with database.transaction() as connection:
        here = environments.find(connection, environment)
        if not wakeups.try_lock(connection, here.id):
            return 0
        changes = wakeups.take(connection, here.id, most)
        if any(change.node_kind is None for change in changes):
            wakeups.decide_all(connection, here.id, now)
        due = wakeups.due(connection, here.id, now, most)
        wakeups.drop(
            connection, here.id, [(each.node_id, each.partition) for each in changes if each.change == "began"]
        )
        around = _around_declared(connection, here.id, changes, now)
        grown = listed(connection, here.id, _places(changes, "listed"), now)
        ended = grown | _places(changes, "ended")
        own = {place[1:] for place in grown if place[0] == "task"} | set(_themselves(changes))
        candidates = sorted({*own, *waiting_for(connection, here.id, ended, now), *around, *due})
        for start in range(0, len(candidates), _MOST_VERDICTS):
            _decide(connection, here, candidates[start : start + _MOST_VERDICTS], now, trusted)
        return len(changes) + len(due)


def _themselves(changes: Iterable[Changed]) -> Iterator[TaskPartition]:
    """Partitions of tasks that may have to run again: what failed, and what an order speaks of."""
    return (
        (each.node_id, each.partition)
        for each in changes
        if each.node_kind == "task" and each.change in ("ended", "ordered")
    )


def _places(changes: Iterable[Changed], change: str) -> set[Place]:
    return {
        (each.node_kind, each.node_id, each.partition)
        for each in changes
        if each.change == change and each.node_kind is not None
    }


def _around_declared(
    connection: Connection, environment: int, changes: Iterable[Changed], now: datetime
) -> set[TaskPartition]:
    """What may run because a task or a dataset is declared otherwise, though nothing upstream has changed."""
    said = [each for each in changes if each.change == "declared"]
    tasks = {each.node_id for each in said if each.node_kind == "task"}
    datasets = {each.node_id for each in said if each.node_kind == "dataset"}
    return around_declared(connection, environment, tasks, datasets, now) if said else set()


def _decide(
    connection: Connection, here: Environment, batch: Sequence[TaskPartition], now: datetime, trusted: frozenset[str]
) -> None:
    nodes = Nodes(connection, here.id)
    known = nodes.subjects({task for task, _ in batch})
    asked = [Asked(task, key) for task, key in batch if task in known]  # an order may speak of what nobody knows
    verdicts = decide_all(questions(connection, here, asked, now, explain=False, warn=False, nodes=nodes))
    released = backfills.released(connection, here.id, batch)
    kept, gone = [], []
    for each, verdict in verdicts.items():
        if _is_kept(verdict, trusted):
            kept.append(_wakeup(each, verdict, known[each.task_id].priority, now, released.get(each)))
        else:
            gone.append((each.task_id, each.partition))
    wakeups.save(connection, here.id, kept)
    wakeups.drop(connection, here.id, gone)


def _is_kept(verdict: Verdict, trusted: frozenset[str]) -> bool:
    """Whether it may run, or would but for something of its own."""
    own = all(reason.code in _OWN and reason.upstream is None for reason in verdict.reasons)
    return own and is_ground(verdict, trusted)


def _wakeup(asked: Asked, verdict: Verdict, priority: int, now: datetime, backfill: UUID | None) -> Wakeup:
    held = any(reason.code is not Code.POOL_FULL for reason in verdict.reasons)
    times = [each.expected_at for each in verdict.reasons if each.code is Code.NOT_BEFORE and each.expected_at]
    return Wakeup(asked.task_id, asked.partition, now, priority, held, max(times, default=None), backfill)
