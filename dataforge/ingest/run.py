"""What a run event says whatever its producer: its state, its times, its place among other runs."""

from datetime import datetime

from dataforge.ingest import facets
from dataforge.ingest.envelope import Envelope
from dataforge.model.attempt import Interval, RunPointer, Touch
from dataforge.model.event import EdgeFact
from dataforge.model.reference import TaskRef
from dataforge.model.state import Evidence, RunState, Statement

STATES = {
    "START": RunState.RUNNING,
    "RUNNING": RunState.RUNNING,
    "COMPLETE": RunState.SUCCEEDED,
    "FAIL": RunState.FAILED,
    "ABORT": RunState.CANCELED,
    "OTHER": RunState.UNKNOWN,
    None: RunState.UNKNOWN,
}


def statement(envelope: Envelope, state: RunState | None = None, evidence: Evidence = Evidence.REPORTED) -> Statement:
    """The event's statement about the state of its run, or the given state in its place."""
    return Statement(evidence, state or STATES[envelope.type], envelope.at, envelope.id)


def started_at(envelope: Envelope) -> datetime | None:
    """When the run began, as far as this event tells: the earliest of its events that are no end of it."""
    return envelope.at if STATES[envelope.type] in (RunState.RUNNING, RunState.UNKNOWN) else None


def ended_at(envelope: Envelope) -> datetime | None:
    """When the run ended, as far as this event tells."""
    return envelope.at if STATES[envelope.type].final else None


def interval(envelope: Envelope) -> Interval | None:
    """The data interval of the nominalTime facet. One without an end is no interval: its length is unknown."""
    nominal = facets.section(envelope.run_facets, "nominalTime")
    return between(facets.moment(nominal, "nominalStartTime"), facets.moment(nominal, "nominalEndTime"))


def between(start: datetime | None, end: datetime | None) -> Interval | None:
    """The interval of two times; None unless both are known and in order."""
    return Interval(start, end) if start is not None and end is not None and start <= end else None


def parent(envelope: Envelope) -> RunPointer | None:
    """The run that the parent facet names."""
    return _pointer(facets.section(envelope.run_facets, "parent"))


def root(envelope: Envelope) -> RunPointer | None:
    """The run at the top, where the parent facet names it; else the parent, as Spark's listener has it."""
    return _pointer(facets.section(envelope.run_facets, "parent", "root")) or parent(envelope)


def _pointer(value: object) -> RunPointer | None:
    namespace, name = facets.text(value, "job", "namespace"), facets.text(value, "job", "name")
    run_id = facets.text(value, "run", "runId")
    if not (namespace and name and run_id):
        return None
    if len(namespace) > 400 or len(name) > 400 or len(run_id) > 400:  # over any real one, and over the index
        return None
    return RunPointer(TaskRef(namespace, name), run_id)


def error(envelope: Envelope) -> str | None:
    """The message of the error facets; Spark's own is `spark.exception`."""
    return facets.text(envelope.run_facets, "errorMessage", "message") or facets.text(
        envelope.run_facets, "spark.exception", "message"
    )


def integration(envelope: Envelope) -> str:
    """Which integration sent the event, in lower case; '' where it does not say."""
    named = facets.text(envelope.job_facets, "jobType", "integration") or facets.text(
        envelope.run_facets, "processing_engine", "name"
    )
    return (named or "").lower()


def job_type(envelope: Envelope) -> str:
    """The jobType facet's type, in upper case; '' where it does not say."""
    return (facets.text(envelope.job_facets, "jobType", "jobType") or "").upper()


def dataset_edges(task: TaskRef, touched: tuple[Touch, ...]) -> tuple[EdgeFact, ...]:
    """What a task was seen to read and write, as edges of it. What it drops or alters it does not produce."""
    return tuple(
        EdgeFact(task, "consumes" if touch.direction == "input" else "produces", touch.dataset)
        for touch in touched
        if touch.change not in ("DROP", "ALTER")
    )
