"""Spark's events (openlineage-spark): applications, the SQL and RDD jobs in them, and how little they may be trusted.

An application ends COMPLETE unless its process is killed, whatever happened in it; a failed write says COMPLETE
after FAIL, and often says no FAIL at all. So everything an application or a job says of its own success is
`inferred`, and only FAIL is `reported`. What an application's outputs are worth is decided where its parent's
outcome is known (dataforge.model.run).
"""

from msgspec.structs import replace

from dataforge.ingest import datasets, facets, insert_statement, run
from dataforge.ingest.envelope import Envelope
from dataforge.model.attempt import Attempt, AttemptKey, RunPointer, Source, Touch, merge_touches
from dataforge.model.event import EdgeFact, Facts, TaskFact
from dataforge.model.reference import TaskRef
from dataforge.model.state import Evidence, RunKind, Statement

PLATFORM = "spark"
_STEPS = frozenset({"SQL_JOB", "RDD_JOB"})


def reads(envelope: Envelope) -> bool:
    """Whether the event is Spark's."""
    return run.integration(envelope) == PLATFORM or "spark_properties" in facets.section(envelope.run_facets)


def facts(envelope: Envelope) -> Facts:
    """The facts of one event of an application or of a job in it."""
    if envelope.kind != "run":
        return Facts()
    return _step_facts(envelope) if _is_step(envelope) else _application_facts(envelope)


def _is_step(envelope: Envelope) -> bool:
    above = run.parent(envelope)
    nested = above is not None and envelope.job.name.startswith(f"{above.task.name}.")
    return run.job_type(envelope) in _STEPS or (not run.job_type(envelope) and nested)


def _statement(envelope: Envelope) -> Statement:
    evidence = Evidence.REPORTED if envelope.type == "FAIL" else Evidence.INFERRED
    return run.statement(envelope, evidence=evidence)


def _application_facts(envelope: Envelope) -> Facts:
    parent, root = run.parent(envelope), run.root(envelope)
    same_run = f"{parent.task.namespace}/{parent.task.name}@{root.external_run}" if parent and root else None
    attempt = Attempt(
        # Runs of one application name under the same parent task and root run are attempts of one run.
        key=AttemptKey(envelope.job, same_run or envelope.run_id or "", envelope.run_id or ""),
        kind=RunKind.TASK,
        platform=PLATFORM,
        statement=_statement(envelope),
        external_run=envelope.run_id or "",
        group_run=same_run or envelope.run_id or "",
        completed=envelope.type == "COMPLETE",
        started_at=run.started_at(envelope),
        ended_at=run.ended_at(envelope),
        interval=run.interval(envelope),
        parent=parent,
        root=root,
        error=run.error(envelope),
        source=_source(envelope),
        touches=datasets.touches(envelope),
    )
    runs_it = (EdgeFact(parent.task, "runs", envelope.job),) if parent and parent.task != envelope.job else ()
    return Facts(attempts=(attempt,), tasks=(_fact(envelope, envelope.job, RunKind.TASK),), edges=runs_it)


def _source(envelope: Envelope) -> Source:
    """Spark's own ids stand on START, and on RUNNING when a job starts; never on the last event."""
    application_id = facets.text(envelope.run_facets, "spark_applicationDetails", "applicationId")
    job_id = facets.number(envelope.run_facets, "spark_jobDetails", "jobId")
    found: Source = {"application_id": application_id, "job_id": job_id}
    return {name: value for name, value in found.items() if value is not None}


def _plan(envelope: Envelope, application: RunPointer | None) -> Source:
    """The root of the plan, which is the second part of a job's name: `app.adaptive_spark_plan.mart_sales`."""
    name = envelope.job.name.removeprefix(f"{application.task.name}.") if application else ""
    return {"plan": name.split(".")[0]} if name and name != envelope.job.name else {}


def _fact(envelope: Envelope, task: TaskRef, kind: RunKind) -> TaskFact:
    return TaskFact(task, kind, PLATFORM, datasets.stated(envelope.job_facets))


def _step_facts(envelope: Envelope) -> Facts:
    application, touched = run.parent(envelope), _step_touches(envelope)
    attempt = Attempt(
        key=AttemptKey(envelope.job, envelope.run_id or "", envelope.run_id or ""),
        kind=RunKind.STEP,
        platform=PLATFORM,
        statement=_statement(envelope),
        external_run=envelope.run_id or "",
        group_run=envelope.run_id or "",
        completed=envelope.type == "COMPLETE",
        started_at=run.started_at(envelope),
        ended_at=run.ended_at(envelope),
        interval=run.interval(envelope),
        parent=application,
        root=run.root(envelope),
        error=run.error(envelope),
        source={**_source(envelope), **_plan(envelope, application), "job_type": run.job_type(envelope)},
        touches=touched,
    )
    return Facts(
        attempts=(attempt,),
        tasks=(_fact(envelope, envelope.job, RunKind.STEP),),
        datasets=datasets.described(envelope.inputs, envelope.outputs, streaming=_streaming(envelope)),
        # A job's name changes with its plan, so what it reads and writes are edges of its application.
        edges=run.dataset_edges(application.task, touched) if application else (),
    )


def _streaming(envelope: Envelope) -> bool:
    return facets.text(envelope.job_facets, "jobType", "processingType") == "STREAMING"


def _step_touches(envelope: Envelope) -> tuple[Touch, ...]:
    touched = datasets.touches(envelope, streaming=_streaming(envelope))
    key = insert_statement.partition(facets.text(envelope.job_facets, "sql", "query") or "")
    if key is None:
        return touched
    named = (_in_partition(touch, key) for touch in touched)
    return merge_touches((), tuple(named))


def _in_partition(touch: Touch, key: str) -> Touch:
    """An output whose partition stands in the statement alone: INSERT ... PARTITION (ds = '2026-11-01')."""
    return replace(touch, partition=key) if touch.direction == "output" and not touch.partition else touch
