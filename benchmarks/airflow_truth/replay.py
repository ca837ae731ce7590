"""The ledger's side of the comparison: the events of Airflow's trace, step by step, and our verdict after each step.

Guarantees that a verdict rests on what had happened until Airflow decided and on nothing later, and that it comes
from the same readiness code that answers clients, over events that were recorded as any client's are.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from benchmarks.airflow_truth.manifest import NAMESPACE, ledger_name, manifest
from benchmarks.airflow_truth.spec import Dag
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import Named, readiness
from dataforge.model.definition import parse
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

START = datetime(2026, 11, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
AT_ONCE = 1_000  # questions, and as many events
_STATES = {  # Airflow's names of what the native events name otherwise
    "success": "succeeded",
    "scheduled": "queued",
    "removed": "canceled",
}


class Change(msgspec.Struct, frozen=True):
    """A state that a task instance came to; a run is named by its day."""

    run: str
    task: str
    map_index: int
    state: str
    try_: int = msgspec.field(name="try")


class Decision(msgspec.Struct, frozen=True):
    """What Airflow made of one task instance in one scheduling step."""

    task: str
    map_index: int
    state: str | None
    decision: str


class Step(msgspec.Struct, frozen=True):
    """What had happened in any run since the step before, and what Airflow decided of one run then."""

    run: str
    events: list[Change]
    decisions: list[Decision]


class Seen(msgspec.Struct, frozen=True):
    """A task as Airflow read it from the DAG file."""

    rule: str
    upstream: list[str]
    setups: list[str]


class Trace(msgspec.Struct, frozen=True):
    """All runs of one DAG."""

    dag: str
    days: int
    structure: dict[str, Seen]
    steps: list[Step]


class Pair(msgspec.Struct, frozen=True):
    """A decision of Airflow's, and our verdict at the same point."""

    dag: str
    step: int
    decision: Decision
    verdict: Verdict
    beside: tuple[Decision, ...]  # all decisions of that step


def pairs(database: Database, environment: str, dags: list[Dag], traces: list[Trace]) -> Iterator[Pair]:
    """Every decision of the traces with our verdict beside it. The environment is empty before."""
    declare(database, environment, parse(manifest(dags)))
    for number in range(max((len(trace.steps) for trace in traces), default=0)):
        now = START + number * STEP
        running = [trace for trace in traces if number < len(trace.steps)]
        _record(database, environment, [e for trace in running for e in _events(trace, number, now)])
        yield from _asked(database, environment, running, number, now + STEP / 2)


def _record(database: Database, environment: str, events: list[dict[str, Any]]) -> None:
    for place in range(0, len(events), AT_ONCE):
        result = record_native(database, environment, events[place : place + AT_ONCE], NOTHING)
        if result.rejected:
            raise ValueError(f"an event of the trace is refused: {result.rejected[0]}")


def _events(trace: Trace, number: int, now: datetime) -> Iterator[dict[str, Any]]:
    for place, change in enumerate(trace.steps[number].events):
        event = {
            "time": (now + timedelta(milliseconds=place)).isoformat(),
            "task": {"namespace": NAMESPACE, "name": ledger_name(trace.dag, change.task)},
            "run": change.run,
            **({"partition": change.run} if trace.days > 1 else {}),
            "attempt": max(change.try_, 1),
            "state": _STATES.get(change.state, change.state),
        }
        yield event if change.map_index < 0 else {**event, "map_index": change.map_index}


def _asked(database: Database, environment: str, running: list[Trace], number: int, now: datetime) -> Iterator[Pair]:
    beside = {trace.dag: tuple(trace.steps[number].decisions) for trace in running}
    asked = [(trace, decision) for trace in running for decision in trace.steps[number].decisions]
    for place in range(0, len(asked), AT_ONCE):
        part = asked[place : place + AT_ONCE]
        questions = [_question(trace, number, decision) for trace, decision in part]
        answers = readiness(database, environment, questions, now)
        for (trace, decision), verdict in zip(part, answers.items, strict=True):
            yield Pair(trace.dag, number, decision, verdict, beside[trace.dag])


def _question(trace: Trace, number: int, decision: Decision) -> Named:
    day = trace.steps[number].run if trace.days > 1 else ""
    return Named(ledger_name(trace.dag, decision.task), NAMESPACE, day)
