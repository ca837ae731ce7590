"""Recording: events become facts, and what follows from them, in the caller's one transaction.

Guarantees that a repeated event changes nothing and that the state depends on the set of events alone: facts are
merged by commutative rules, and everything else is settled from the merged facts.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from dataforge.ledger import out_of_order, partition_set, shard, stream
from dataforge.ledger.settle import settle
from dataforge.model import control
from dataforge.model.attempt import Attempt, merge, merge_all
from dataforge.model.event import Event, TaskFact
from dataforge.model.out_of_order import Late
from dataforge.model.partition import keys_of
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.schedule import NO_INTERVAL, grains_of
from dataforge.model.task import merge_registers
from dataforge.storage import attempt as attempts
from dataforge.storage import column_list as column_lists
from dataforge.storage import control as controls
from dataforge.storage import dataset as datasets
from dataforge.storage import edge as edges
from dataforge.storage import environment as environments
from dataforge.storage import event as event_log
from dataforge.storage import mark as marks
from dataforge.storage import out_of_order as orders
from dataforge.storage import outcome as outcomes
from dataforge.storage import quarantine_order
from dataforge.storage import task as tasks
from dataforge.storage import upstream_list as upstream_lists
from dataforge.storage import wakeup as wakeups
from dataforge.storage.attempt import Attempts, Placed, RunKey
from dataforge.storage.database import Connection
from dataforge.storage.environment import Environment
from dataforge.storage.outcome import SaidOutcome
from dataforge.storage.partition import Place
from dataforge.storage.task import ObservedTask, Registers
from dataforge.storage.upstream_list import UpstreamList


def record(connection: Connection, environment: Environment, events: Sequence[Event]) -> set[bytes]:
    """Records events, and returns the ids of the new ones. The caller holds the environment's lock and commits."""
    new_ids = event_log.insert(connection, environment.id, events)
    new = list({event.id: event for event in events if event.id in new_ids}.values())
    if new:
        orders.add(connection, environment.id, apply(connection, environment.id, new, environment.last_part))
    return new_ids


def apply(connection: Connection, environment: int, events: Sequence[Event], last_part: int) -> list[Late]:
    """Folds events into facts and settles what follows; returns which of them come out of order. Folding one again is
    harmless. `last_part` is the last part of runs there is."""
    touched_tasks, rewired = _fold_tasks(connection, environment, events)
    touched_datasets, renamed = _fold_datasets(connection, environment, events)
    said = [attempt for event in events for attempt in event.facts.attempts]
    runs, late = _fold_attempts(connection, environment, said, last_part)
    shard.fold(connection, environment, events)
    more = _fold_outcomes(connection, environment, events) | _fold_marks(connection, environment, events)
    grew = _fold_edges(connection, environment, events)
    event_log.advance(connection, environment, _progress(events))
    places = _fold_controls(connection, environment, events)
    contested = settle(
        connection,
        environment,
        tasks=touched_tasks,
        datasets=touched_datasets | renamed,
        runs=dict.fromkeys(more) | runs,
        places=places,
        news=stream.keep(connection, environment, events),
    )
    if grew or rewired or renamed:
        environments.advance_graph(connection, environment)
    return [*late, *out_of_order.of_partitions(connection, environment, said, runs, contested)]


def _named_tasks(events: Iterable[Event]) -> set[TaskRef]:
    named: set[TaskRef] = set()
    for event in events:
        facts = event.facts
        named |= {fact.task for fact in facts.tasks} | {mark.task for mark in facts.marks}
        named |= {edge.task for edge in facts.edges}
        named |= {edge.node for edge in facts.edges if isinstance(edge.node, TaskRef)}
        named |= {pointer for outcome in facts.outcomes for pointer in (outcome.task, outcome.parent.task)}
        for attempt in facts.attempts:
            named |= {p.task for p in (attempt.parent, attempt.root) if p is not None} | {attempt.key.task}
        for fact in facts.tasks:
            named |= {TaskRef(fact.task.namespace, name) for name in fact.registers.get("upstreams", ())}
    return named


def _named_datasets(events: Iterable[Event]) -> set[DatasetRef]:
    named: set[DatasetRef] = set()
    for event in events:
        facts = event.facts
        named |= {edge.node for edge in facts.edges if isinstance(edge.node, DatasetRef)}
        named |= {touch.dataset for attempt in facts.attempts for touch in attempt.touches}
        named |= {name for fact in facts.datasets for name in (fact.dataset, *fact.aliases)}
    return named


def stamped(event: Event, registers: dict[str, object]) -> Registers:
    """The registers of a fact, each with the time and the id of its event."""
    at = event.occurred_at.isoformat(timespec="microseconds")
    return {field: [at, event.id.hex(), value] for field, value in registers.items()}


def _fold_tasks(connection: Connection, environment: int, events: Sequence[Event]) -> tuple[set[int], bool]:
    """Makes sure of all tasks that are named, and merges what is said of them; returns those known otherwise than
    before, and whether an edge moved or a task became a step, whose edges are not shown."""
    said: dict[TaskRef, list[tuple[Event, TaskFact]]] = {}
    for event in events:
        for fact in event.facts.tasks:
            said.setdefault(fact.task, []).append((event, fact))
    known = tasks.known(connection, environment, _named_tasks(events), said)
    merged = {task.id: reduce(_merge_task, facts, known[task.id]) for task, facts in said.items()}
    changed = {task_id: task for task_id, task in merged.items() if task != known[task_id]}
    tasks.save(connection, environment, [changed[task_id] for task_id in sorted(changed)])
    upstream_lists.save(connection, environment, _listed(events))
    lists = {task_id: _upstreams(task) for task_id, task in changed.items()}
    turned = any((task.kind == "step") != (known[task_id].kind == "step") for task_id, task in changed.items())
    replaced = edges.replace_observed_upstreams(connection, environment, lists)
    wakeups.declared(connection, environment, {("task", task_id) for task_id in replaced.shorter})
    return set(changed), replaced.moved or turned


def _merge_task(known: ObservedTask, said: tuple[Event, TaskFact]) -> ObservedTask:
    event, fact = said
    grains = grains_of(fact.interval) if fact.interval else NO_INTERVAL
    return ObservedTask(
        task=known.task,
        kind=min(known.kind, fact.kind),  # a task is the last of them: the least that was said
        platform=max(known.platform, fact.platform),
        seen=True,
        grains=known.grains & grains,
        registers=merge_registers(known.registers, stamped(event, fact.registers)),
    )


def _upstreams(task: ObservedTask) -> tuple[datetime, set[int]] | None:
    register = task.registers.get("upstreams")
    if register is None:
        return None
    return datetime.fromisoformat(register[0]), _listed_ids(task.task, register[2])


def _listed(events: Iterable[Event]) -> list[UpstreamList]:
    """Every complete list of upstream tasks, not only the last one of each task."""
    return [
        UpstreamList(fact.task.id, sorted(_listed_ids(fact.task, fact.registers["upstreams"])), event.occurred_at)
        for event in events
        for fact in event.facts.tasks
        if "upstreams" in fact.registers
    ]


def _listed_ids(task: TaskRef, names: Any) -> set[int]:
    return {TaskRef(task.namespace, name).id for name in names} - {task.id}


def _fold_datasets(connection: Connection, environment: int, events: Sequence[Event]) -> tuple[set[int], set[int]]:
    """Makes sure of all datasets that are named, and merges what is said of them; returns those known otherwise than
    before, and those with new aliases."""
    said: dict[int, list[Registers]] = {}
    pairs: set[tuple[int, int]] = set()
    for event in events:
        for fact in event.facts.datasets:
            said.setdefault(fact.dataset.id, []).append(stamped(event, fact.registers))
            pairs |= {(fact.dataset.id, alias.id) for alias in fact.aliases}
    known = datasets.known(connection, environment, _named_datasets(events), said)
    merged = {dataset_id: reduce(merge_registers, values, known[dataset_id]) for dataset_id, values in said.items()}
    changed = {dataset_id: values for dataset_id, values in merged.items() if values != known[dataset_id]}
    datasets.save(connection, environment, changed)
    told = (fact for event in events for fact in event.facts.datasets)
    lists = {(fact.dataset.id, shown.hash): shown for fact in told if (shown := fact.columns)}
    column_lists.save(connection, environment, lists)
    return set(changed), datasets.add_aliases(connection, environment, pairs)


def _fold_attempts(
    connection: Connection, environment: int, said: list[Attempt], last_part: int
) -> tuple[dict[RunKey, Attempts | None], list[Late]]:
    """Merges what is said of attempts, and returns their runs with all their attempts as they are now; of a mapped
    instance also the task's own run, and those below that take from them. And what comes later than what is known."""
    merged = merge_all(said)
    keys = sorted({(key.task.id, key.run) for key in merged})
    known = {each.attempt.key: each for each in attempts.of_runs(connection, environment, keys)} if keys else {}
    late = list(out_of_order.within_runs(said, (each.attempt for each in known.values())))
    renamed: set[str] = set()  # what children name these by, where that, their begin or what stands above them changed
    for key in merged.keys() & known.keys():
        before = known[key].attempt
        grown = merged[key] = merge(before, merged[key])
        if _shown_below(grown) != _shown_below(before):
            renamed |= {before.external_run, grown.external_run}
    ordered = [merged[key] for key in sorted(merged)]
    placed = _placed(connection, environment, ordered)
    stored = [attempts.saved(each, known.get(each.key), placed, last_part) for each in ordered]
    attempts.save(connection, environment, stored, known)
    known |= {each.attempt.key: each for each in stored}
    below = attempts.children(connection, environment, renamed) if renamed else set()
    groups = {(a.key.task.id, a.group_run) for a in ordered if a.map_index >= 0}
    return dict.fromkeys(below | groups) | attempts.by_run(known.values()), late


def _placed(connection: Connection, environment: int, said: Iterable[Attempt]) -> Placed:
    """The partitions of the attempts that tell their interval alone, as their tasks are cut until now: where they stay
    cut so, an attempt is written once."""
    spans = {each.key: each.interval for each in said if each.interval is not None and not each.partition}
    cuts = tasks.cuts(connection, environment, {key.task.id for key in spans}) if spans else {}
    return {key: keys_of(cuts[key.task.id], interval) for key, interval in spans.items()}


def _shown_below(attempt: Attempt) -> tuple[object, ...]:
    """What the claims of runs below follow from, of an attempt's own facts."""
    return attempt.external_run, attempt.parent, attempt.started_at


def _fold_outcomes(connection: Connection, environment: int, events: Sequence[Event]) -> set[RunKey]:
    """Keeps what platforms said afterwards; returns the runs it was said of, and their mapped instances without an
    end, which have none now that their DAG run has one."""
    said = [SaidOutcome(o, event.occurred_at, event.id) for event in events for o in event.facts.outcomes]
    outcomes.save(connection, environment, said)
    runs = {(each.outcome.task.id, each.outcome.group_run) for each in said}
    return runs | attempts.open_instances(connection, environment, runs) if runs else runs


def _fold_marks(connection: Connection, environment: int, events: Iterable[Event]) -> set[RunKey]:
    """Keeps what people said of runs; returns those, and the instances of those that are mapped."""
    runs = marks.fold(connection, environment, (mark for event in events for mark in event.facts.marks))
    return runs | marks.instances(connection, environment, runs) if runs else runs


def _fold_edges(connection: Connection, environment: int, events: Sequence[Event]) -> bool:
    rows = [
        edges.ObservedEdge(
            task_id=edge.task.id,
            relation=edge.relation,
            node_kind="task" if isinstance(edge.node, TaskRef) else "dataset",
            node_id=edge.node.id,
            first_at=event.occurred_at,
            last_at=event.occurred_at,
        )
        for event in events
        for edge in event.facts.edges
        if edge.node != edge.task
    ]
    return edges.upsert_observed(connection, environment, rows)


def _fold_controls(connection: Connection, environment: int, events: Iterable[Event]) -> set[Place]:
    """Keeps the orders that stand; returns the partitions that one of them holds back or lets go."""
    told = [each for event in events for each in event.facts.controls]
    said = control.standing(told)
    quarantine_order.add(connection, environment, told)
    controls.fold(connection, environment, list(said.values()))
    partition_set.announce(
        connection, environment, [(key.subject.name, key.partition) for key in said if key.kind == "key"]
    )
    about = {key: key.subject.scope == "task" and key.partition for key in said if key.kind != "key"}
    alone = [(key.subject.id, key.partition) for key, one in about.items() if one]
    wakeups.put(connection, environment, alone, everything=not all(about.values()))
    return {place for key in said if key.kind == "quarantine" for place in key.places}


def _progress(events: Iterable[Event]) -> dict[str, datetime]:
    seen: dict[str, datetime] = {}
    for event in events:
        if not event.source:
            continue
        seen[event.source] = max(event.occurred_at, seen.get(event.source, event.occurred_at))
    return seen
