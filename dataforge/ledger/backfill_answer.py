"""A plan as it is shown: how much there is of each task, in which waves, how long it takes and what it costs.

Guarantees that what is shown is bounded, and says when it is cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dataforge.ledger.backfill_deadlines import endangered
from dataforge.ledger.backfill_plan import Planned
from dataforge.model.backfill import MOST_SHOWN, Backfilling, Estimate, Plan, PlanItem, TaskPart
from dataforge.model.catalog import NodeName
from dataforge.model.pace import Limited, Nature, Runs, durations, ends_at
from dataforge.storage import backfill_basis as storage
from dataforge.storage import reach, reference
from dataforge.storage.database import Connection
from dataforge.storage.environment import Environment

UNTIMED = 60.0  # seconds that a run is taken for of which nobody knows how long it takes


def reason_of(planned: Planned, at: int) -> str:
    """Why a partition is built or left as it is, and what it waits for."""
    why, lacking = planned.decisions[at].reason, planned.lacking.get(at)
    return f"{why}; {lacking}" if lacking else why


def answer(
    connection: Connection,
    here: Environment,
    wanted: Backfilling,
    planned: Planned,
    backfill: str | None,
    now: datetime,
) -> Plan:
    """The plan in figures, with the first of its tasks and partitions."""
    of = {task for task, _ in planned.places}
    known = _Known(natures(connection, here.id, of), storage.recent(connection, here.id, of))
    built = np.flatnonzero(planned.waves).tolist()
    shown = planned.order
    counted = _counted(planned)
    ends = _ends(wanted, counted, known, now)
    expected = {planned.places[at]: ends[planned.decisions[at].wave - 1].at for at in built}
    tasks = _by_task(planned, known)
    return Plan(
        id=backfill,
        planned=len(built),
        skipped=len(planned.places) - len(built),
        waiting=len(planned.lacking),
        waves=tuple(sum(tasks.values()) for tasks in counted),
        tasks=tuple(tasks[:MOST_SHOWN]),
        items=tuple(_item(planned, at) for at in shown[:MOST_SHOWN]),
        truncated=len(shown) > MOST_SHOWN or len(tasks) > MOST_SHOWN,
        estimate=_estimate(counted, known, ends, now),
        deadlines=endangered(connection, here.id, planned.search, expected, UNTIMED, now),
        all_compared=planned.search.all_compared,
        planned_at=now,
    )


class _Known(NamedTuple):
    """What is known of the tasks of a plan."""

    natures: Mapping[int, Nature]
    seconds: Mapping[int, float]  # of a run, where one has succeeded

    def takes(self, task: int) -> float:
        """What a run of it is taken for."""
        return self.seconds.get(task, UNTIMED)


class _End(NamedTuple):
    """When a wave will have ended, begun now, after how many seconds, and what limits it."""

    at: datetime
    seconds: float
    limited_by: Limited


def _item(planned: Planned, at: int) -> PlanItem:
    task, key = planned.places[at]
    decision = planned.decisions[at]
    return PlanItem(
        task=_name(planned, task),
        partition=key or None,
        state="planned" if decision.built else "skipped",
        wave=decision.wave or None,
        reason=reason_of(planned, at),
    )


def _name(planned: Planned, task: int) -> NodeName:
    subject = planned.subjects[task]
    return NodeName(subject.namespace, subject.name)


def _by_task(planned: Planned, known: _Known) -> list[TaskPart]:
    """What becomes of the partitions of each task, in the order of the plan."""
    tasks = np.array([task for task, _ in planned.places], np.int64)
    begins = np.flatnonzero(np.diff(tasks, prepend=-1)).tolist()
    parts: list[tuple[int, TaskPart]] = []  # beside the wave in which each first comes
    for begin, end in pairwise([*begins, len(tasks)]):
        waves = planned.waves[begin:end]
        built = np.flatnonzero(waves).tolist()
        task = planned.places[begin][0]
        part = TaskPart(
            task=_name(planned, task),
            planned=len(built),
            skipped=end - begin - len(built),
            first=planned.places[begin + built[0]][1] or None if built else None,
            last=planned.places[begin + built[-1]][1] or None if built else None,
            seconds=known.seconds.get(task),
            cost=known.natures[task].cost,
        )
        parts.append((int(waves[built].min()) if built else _NEVER, part))
    return [part for _, part in sorted(parts, key=lambda each: (each[0], each[1].task.name))]


_NEVER = MOST_SHOWN * 1_000  # after every wave


def _counted(planned: Planned) -> list[dict[int, int]]:
    """How many partitions of each task are built, wave by wave."""
    waves: list[dict[int, int]] = [{} for _ in range(int(planned.waves.max(initial=0)))]
    built = np.flatnonzero(planned.waves)
    tasks, of = np.unique([planned.places[at][0] for at in built.tolist()], return_inverse=True)
    pairs, counts = np.unique(planned.waves[built] * (len(tasks) + 1) + of, return_counts=True)
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        wave, task = divmod(pair, len(tasks) + 1)
        waves[wave - 1][int(tasks[task])] = count
    return waves


def _estimate(counted: Sequence[Mapping[int, int]], known: _Known, ends: Sequence[_End], now: datetime) -> Estimate:
    number = sum(map(Counter, counted), Counter[int]())
    last = ends[-1] if ends else _End(now, 0.0, "nothing")
    return Estimate(
        runs=sum(number.values()),
        work_seconds=sum(count * known.takes(task) for task, count in number.items()),
        seconds=last.seconds,
        ends_at=last.at,
        cost=sum(count * known.natures[task].cost for task, count in number.items()),
        limited_by=last.limited_by,
        without_history=len(number.keys() - known.seconds.keys()),
    )


def _ends(wanted: Backfilling, counted: Sequence[Mapping[int, int]], known: _Known, now: datetime) -> list[_End]:
    """Wave by wave."""
    waves = [[Runs(known.natures[task], count, known.takes(task)) for task, count in each.items()] for each in counted]
    return [
        _End(ends_at(wanted.hours, now, seconds), seconds, limited)
        for seconds, limited in durations(waves, wanted.caps, wanted.budget)
    ]


def natures(connection: Connection, environment: int, tasks: Set[int]) -> dict[int, Nature]:
    """What of each of these tasks counts for caps and budgets: of names alone, as a cap gives them."""
    products: dict[int, set[int]] = {}
    for product in reach.products(connection, environment, tasks):
        products.setdefault(product.task_id, set()).add(product.dataset_id)
    datasets = {node for found in products.values() for node in found}
    written = reference.names(connection, environment, "dataset", datasets) if datasets else {}
    return {
        task: Nature(
            task=each.name,
            datasets=tuple(sorted(written[node][1] for node in products.get(task, ()))),
            pools=tuple(each.pools),
            domain=each.domain,
            cost=each.cost,
        )
        for task, each in storage.counted(connection, environment, tasks).items()
    }
