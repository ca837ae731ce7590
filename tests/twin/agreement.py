"""What the ledger and its twin must agree on: verdicts, states, what is stale, and the digest of facts in any order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from random import Random

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.freshness import freshness
from dataforge.ledger.readiness import readiness
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.filter import UpdateFilter
from dataforge.model.freshness import FreshnessQuestion
from dataforge.model.question import Named
from dataforge.storage import environment as environments
from dataforge.storage import event as event_log
from dataforge.storage.database import Database
from tests.twin.believed import ITSELF, believed, expected, shown, stale, states
from tests.twin.ledger import View
from tests.twin.question import Definition
from tests.twin.staleness import came_late, stale_inputs
from tests.twin.trigger import consumed
from tests.twin.verdict import answer


def create(database: Database, name: str) -> None:
    """An environment in which nothing was told."""
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])


def of_verdicts(database: Database, name: str, view: View, asked: Sequence[tuple[str, str]], now: datetime) -> None:
    """The verdict on each of these partitions of tasks."""
    verdicts = readiness(database, name, [Named(task, "ns", key) for task, key in asked], now).items
    for each, verdict in zip(asked, verdicts, strict=True):
        found, wanted = shown(verdict), expected(answer(view, *each, now))
        apart = {key: (told, wanted[key]) for key, told in found.items() if told != wanted[key]}
        assert not apart, f"{each} at {now}, the ledger's answer and the twin's: {apart}"


def of_states(database: Database, name: str, view: View, now: datetime) -> None:
    """What is believed of each partition."""
    told, own = believed(database, name), states(view.states)
    differing = {each: (told.get(each), own.get(each)) for each in {*told, *own} if told.get(each) != own.get(each)}
    assert not differing, f"at {now}, the ledger's states and the twin's: {differing}"


def of_staleness(database: Database, name: str, view: View, now: datetime) -> None:
    """Of each partition that was made the inputs that have changed, or are stale themselves."""
    made = sorted(place for place, state in view.states.items() if state.made is not None)
    asked = [
        FreshnessQuestion(name=node, kind="task", partition=key or None, namespace="ns")
        if kind == "task"
        else FreshnessQuestion(name=node, kind="dataset", partition=key or None, namespace="lake")
        for kind, node, key in made
    ]
    for place, item in zip(made, freshness(database, name, asked, now).items, strict=True):
        itself = {ITSELF} if came_late(view.states[place]) else set()
        found, wanted = stale(item), itself.union(stale_inputs(view, place, now))
        assert found == wanted, f"{place} at {now}, the ledger's stale inputs and the twin's: {found}, {wanted}"


def of_updates(database: Database, name: str, view: View) -> None:
    """What waits for the next run of each triggered task, and what each of its runs consumed."""
    triggered = [each for each, defined in view.tasks.items() if "trigger" in defined]
    for task, run in [(each, run) for each in triggered for run in (None, *_runs(view, each))]:
        page = catalog.updates(database, name, UpdateFilter(name=task, namespace="ns", run=run, limit=1_000))
        found = sorted(
            (u.updated_at, u.name, u.partition or "", u.version or "", u.run.name, u.run.run) for u in page.items
        )
        wanted = sorted((u.at, u.dataset, u.key, u.version or "", u.task, u.run) for u in consumed(view, task, run))
        assert found == wanted, f"{task}, run {run}, the ledger's updates and the twin's: {found}, {wanted}"


def _runs(view: View, task: str) -> list[str]:
    return [run.name for run in view.runs.values() if run.task == task]


def told_otherwise(database: Database, name: str, declared: Sequence[tuple[Definition, datetime]], by: Random) -> str:
    """The digest of the same facts in another order, some of them twice, declarations in theirs."""
    other = f"{name}-again"
    create(database, other)
    with database.transaction() as connection:
        here = environments.find(connection, name)
        bodies = [event.body for page in event_log.read_all(connection, here.id) for event in page]
    bodies += by.choices(bodies, k=2) if bodies else []
    by.shuffle(bodies)
    steps = sorted(by.randrange(len(bodies) + 1) for _ in declared)
    last = 0
    for (manifest, now), step in zip(declared, steps, strict=True):
        record_any(database, other, list(bodies[last:step]), NOTHING)
        declare(database, other, definition.parse(manifest), now=now)
        last = step
    record_any(database, other, list(bodies[last:]), NOTHING)
    return digest(database, other)
