"""A plan as it is shown: how much there is of each task, in which waves, how long it takes and what it costs.

Guarantees that what is shown is bounded, and says when it is cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from dataforge.ledger.backfill_plan import Planned
from dataforge.model.backfill import MOST_SHOWN, Backfilling, Estimate, Plan, PlanItem, TaskPart
from dataforge.model.catalog import NodeName
from dataforge.model.pace import Nature, duration, ends_at
from dataforge.storage import backfill_basis as storage
from dataforge.storage import reach, reference
from dataforge.storage.backfill_basis import Recent
from dataforge.storage.database import Connection
from dataforge.storage.environment import Environment

UNTIMED = 60.0  # seconds that a run is taken for of which nobody knows how long it takes


def recent_of(connection: Connection, here: Environment, planned: Planned) -> dict[int, Recent]:
    return storage.recent(connection, here.id, {task for task, _ in planned.places})


def reason_of(planned: Planned, at: int) -> str:
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
    recent = recent_of(connection, here, planned)
    built = [at for at, each in enumerate(planned.decisions) if each.built]
    shown = planned.order
    waves = Counter(planned.decisions[at].wave for at in built)
    tasks = _by_task(planned, recent)
    return Plan(
        id=backfill,
        planned=len(built),
        skipped=len(planned.places) - len(built),
        waiting=len(planned.lacking),
        waves=tuple(waves[wave] for wave in sorted(waves)),
        tasks=tuple(tasks[:MOST_SHOWN]),
        items=tuple(_item(planned, at) for at in shown[:MOST_SHOWN]),
        truncated=len(shown) > MOST_SHOWN or len(tasks) > MOST_SHOWN,
        estimate=_estimate(connection, here, wanted, planned, recent, now),
        planned_at=now,
    )


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


def _by_task(planned: Planned, recent: Mapping[int, Recent]) -> list[TaskPart]:
    keys: dict[int, list[str]] = {}
    number: Counter[int] = Counter()
    first: dict[int, int] = {}  # the wave in which a task first comes
    for (task, key), decision in zip(planned.places, planned.decisions, strict=True):
        number[task] += 1
        mine = keys.setdefault(task, [])
        if decision.built:
            mine.append(key)
            first[task] = min(first.get(task, decision.wave), decision.wave)
    ordered = sorted(keys, key=lambda task: (first.get(task, MOST_SHOWN * 1_000), planned.subjects[task].name))
    return [
        TaskPart(
            task=_name(planned, task),
            planned=len(keys[task]),
            skipped=number[task] - len(keys[task]),
            first=min(keys[task], default=None) or None,
            last=max(keys[task], default=None) or None,
            seconds=recent[task].seconds,
            cost=recent[task].cost,
        )
        for task in ordered
    ]


def _estimate(
    connection: Connection,
    here: Environment,
    wanted: Backfilling,
    planned: Planned,
    recent: Mapping[int, Recent],
    now: datetime,
) -> Estimate:
    waves: dict[int, float] = {}
    number: Counter[int] = Counter()
    for (task, _), decision in zip(planned.places, planned.decisions, strict=True):
        if decision.built:
            number[task] += 1
            waves[decision.wave] = max(waves.get(decision.wave, 0.0), _seconds(recent[task]))
    counting = natures(connection, here.id, recent)
    runs = {str(task): (counting[task], count, _seconds(recent[task])) for task, count in number.items()}
    seconds, limited = duration(list(waves.values()), runs, wanted.caps, wanted.budget)
    return Estimate(
        runs=sum(number.values()),
        work_seconds=sum(count * took for _, count, took in runs.values()),
        seconds=seconds,
        ends_at=ends_at(wanted.hours, now, seconds),
        cost=sum(nature.cost * count for nature, count, _ in runs.values()),
        limited_by=limited,
        without_history=sum(recent[task].seconds is None for task in number),
    )


def _seconds(recent: Recent) -> float:
    return UNTIMED if recent.seconds is None else recent.seconds


def natures(connection: Connection, environment: int, recent: Mapping[int, Recent]) -> dict[int, Nature]:
    """What of each task counts for caps and budgets: of names alone, as a cap gives them."""
    products: dict[int, set[int]] = {}
    for product in reach.products(connection, environment, recent):
        products.setdefault(product.task_id, set()).add(product.dataset_id)
    datasets = {node for found in products.values() for node in found}
    written = reference.names(connection, environment, "dataset", datasets) if datasets else {}
    named = reference.names(connection, environment, "task", recent)
    return {
        task: Nature(
            task=named[task][1],
            datasets=tuple(sorted(written[node][1] for node in products.get(task, ()))),
            pools=tuple(each.pools),
            domain=each.domain,
            cost=each.cost,
        )
        for task, each in recent.items()
    }
