"""The ledger's side of the comparison: the events of Airflow's trace, step by step, and our verdict after each step.

Guarantees that a verdict rests on what had happened until Airflow decided and on nothing later, and that it comes
from the same readiness code that answers clients, over events that were recorded as any client's are.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from benchmarks.airflow_truth.manifest import NAMESPACE, ledger_name, manifest
from benchmarks.airflow_truth.spec import Dag
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import readiness
from dataforge.model.definition import parse
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

START = datetime(2026, 12, 1, tzinfo=UTC)  # the windows of all days have ended by then
STEP = timedelta(minutes=1)
AT_ONCE = 1_000  # questions, and as many events
_STATES = {  # Airflow's names of what the native events name otherwise
    "success": "succeeded",
    "scheduled": "queued",
    "removed": "canceled",
}


Instance = tuple[str, str, int]  # run, task, map index
Feed = Literal["everything", "runs"]  # what the ledger is told: each change, or, as OpenLineage tells it, what ran


class Change(msgspec.Struct, frozen=True):
    """A state that a task instance came to; a run is named by its day."""

    run: str
    task: str
    map_index: int
    state: str
    try_: int = msgspec.field(name="try")
    ran: bool = False  # it came to it by running, not by what the scheduler or another task made of it

    @property
    def instance(self) -> Instance:
        return (self.run, self.task, self.map_index)


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


def rewritten(trace: Trace) -> set[str]:
    """The tasks that failed and were skipped after that: a branch or short circuit skips what is behind it, whether or
    not that has run already."""
    failed: set[Instance] = set()
    found = set()
    for change in (change for step in trace.steps for change in step.events):
        if change.state in ("failed", "upstream_failed"):
            failed.add(change.instance)
        elif change.state == "skipped" and change.instance in failed:
            found.add(change.task)
    return found


class Recorded(msgspec.Struct, frozen=True):
    """A DAG and what Airflow decided of it, as a line of a file: to be judged again where there is no Airflow."""

    dag: Dag
    trace: Trace


class Pair(msgspec.Struct, frozen=True):
    """A decision of Airflow's, and our verdict at the same point."""

    dag: str
    step: int
    decision: Decision
    verdict: Verdict
    beside: tuple[Decision, ...]  # all decisions of that step


def pairs(
    database: Database, environment: str, dags: list[Dag], traces: list[Trace], feed: Feed = "everything"
) -> Iterator[Pair]:
    """Every decision of the traces with our verdict beside it; where only runs are told, also every task instance
    that is over and of which the ledger was not told so. The environment is empty before."""
    declare(database, environment, parse(manifest(dags)))
    for number in range(max((len(trace.steps) for trace in traces), default=0)):
        now = START + number * STEP
        running = [trace for trace in traces if number < len(trace.steps)]
        _record(database, environment, [e for trace in running for e in _events(trace, number, now, feed)])
        asked = [(trace, decision) for trace in running for decision in trace.steps[number].decisions]
        if feed == "runs":
            asked += [(trace, decision) for trace in running for decision in _untold(trace, number)]
        yield from _verdicts(database, environment, asked, number, now + STEP / 2)


def _record(database: Database, environment: str, events: list[dict[str, Any]]) -> None:
    for place in range(0, len(events), AT_ONCE):
        result = record_native(database, environment, events[place : place + AT_ONCE], NOTHING)
        if result.rejected:
            raise ValueError(f"an event of the trace is refused: {result.rejected[0]}")


def _events(trace: Trace, number: int, now: datetime, feed: Feed) -> Iterator[dict[str, Any]]:
    for place, change in enumerate(trace.steps[number].events):
        state = _told(change, feed)
        if state is None:
            continue
        event = {
            "time": (now + timedelta(milliseconds=place)).isoformat(),
            "task": {"namespace": NAMESPACE, "name": ledger_name(trace.dag, change.task)},
            "run": change.run,
            **({"partition": change.run} if trace.days > 1 else {}),
            "attempt": max(change.try_, 1),
            "state": state,
        }
        if change.map_index >= 0:
            event["map_index"] = change.map_index
            if feed == "everything":
                event["instances"] = _instances(trace, number, change)
        yield event


def _told(change: Change, feed: Feed) -> str | None:
    """The state that the ledger is told of; None where it is told nothing. OpenLineage tells that a task began, and of
    a success and a failure, and nothing of a task that skipped itself."""
    if feed == "everything":
        return _STATES.get(change.state, change.state)
    if not change.ran:
        return None
    return "running" if change.state == "skipped" else _STATES.get(change.state, change.state)


def _untold(trace: Trace, number: int) -> Iterator[Decision]:
    """The task instances of this step's run that are over by then, without a run that told so."""
    told = [change for step in trace.steps[: number + 1] for change in step.events]
    for instance, change in {change.instance: change for change in told}.items():
        over = change.state in ("success", "failed", "skipped", "upstream_failed")
        if over and not change.ran and instance[0] == trace.steps[number].run:
            yield Decision(change.task, change.map_index, change.state, change.state)


def _instances(trace: Trace, number: int, change: Change) -> int:
    """How many instances there are by then: Airflow schedules, or ends, all that a task was expanded to at once."""
    told = [each for step in trace.steps[: number + 1] for each in step.events]
    return 1 + max(each.map_index for each in told if (each.run, each.task) == (change.run, change.task))


def _verdicts(
    database: Database, environment: str, asked: list[tuple[Trace, Decision]], number: int, now: datetime
) -> Iterator[Pair]:
    for place in range(0, len(asked), AT_ONCE):
        part = asked[place : place + AT_ONCE]
        questions = [_question(trace, number, decision) for trace, decision in part]
        answers = readiness(database, environment, questions, now)
        for (trace, decision), verdict in zip(part, answers.items, strict=True):
            yield Pair(trace.dag, number, decision, verdict, tuple(trace.steps[number].decisions))


def _question(trace: Trace, number: int, decision: Decision) -> Named:
    day = trace.steps[number].run if trace.days > 1 else ""
    return Named(ledger_name(trace.dag, decision.task), NAMESPACE, day)
