"""OpenLineage events into the ledger's values: the envelope is checked, then the producer's own rules read it."""

from hashlib import blake2b

import msgspec

from dataforge.ingest import airflow, datasets, dbt, run, spark
from dataforge.ingest.envelope import Envelope, check, decode
from dataforge.ingest.redaction import Redaction
from dataforge.model.attempt import Attempt, AttemptKey, Touch
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.event import Event, Facts, TaskFact
from dataforge.model.state import RunKind

_canonical = msgspec.json.Encoder(order="deterministic")
_PRODUCERS = ((airflow.reads, airflow.facts), (spark.reads, spark.facts), (dbt.reads, dbt.facts))


def canonical(document: object) -> bytes:
    """The one form of a JSON value: keys sorted, no white space. Raises InvalidInput for what is no UTF-8."""
    try:
        return _canonical.encode(document)
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the event holds half of a surrogate pair: {error.reason}",
            [FieldError("$", "\\ud800-\\udfff", "strings of Unicode characters")],
        ) from None


def parse(body: bytes | object, redaction: Redaction, event_id: bytes | None = None) -> Event:
    """An OpenLineage event, from its bytes or its decoded JSON. Raises InvalidInput that names what is wrong.

    `event_id` is that of a recorded event, whose body was redacted after it was identified.
    """
    document = decode(body) if isinstance(body, bytes) else body
    event_id = event_id or blake2b(canonical(document), digest_size=16).digest()
    kept = redaction.apply(document)
    envelope = check(kept, event_id)
    return Event(
        id=event_id,
        occurred_at=envelope.at,
        kind=envelope.kind,
        source=_source(envelope),
        body=canonical(kept),
        facts=_facts(envelope),
    )


def _source(envelope: Envelope) -> str:
    return envelope.task.namespace if envelope.task else (envelope.dataset or envelope.inputs[0]).namespace


def _facts(envelope: Envelope) -> Facts:
    if envelope.kind == "dataset":
        assert envelope.dataset is not None, "check() has made sure"
        return Facts(datasets=(datasets.describe(envelope.dataset),))
    reader = next((read for reads, read in _PRODUCERS if reads(envelope)), _any_producer)
    found = reader(envelope)
    return found if found != Facts() else _any_producer(envelope)


def _job_facts(envelope: Envelope, touched: tuple[Touch, ...]) -> Facts:
    """What an event says of its job and its datasets, apart from any run."""
    return Facts(
        tasks=(_task_fact(envelope),),
        datasets=datasets.described(envelope.inputs, envelope.outputs),
        edges=run.dataset_edges(envelope.job, touched),
    )


def _task_fact(envelope: Envelope) -> TaskFact:
    return TaskFact(
        envelope.job,
        RunKind.TASK,
        run.integration(envelope),
        datasets.stated(envelope.job_facets),
        run.interval(envelope),
    )


def _any_producer(envelope: Envelope) -> Facts:
    """A producer without rules of its own: each of its runs is a run, and what it says is taken at its word."""
    touched = datasets.touches(envelope)
    found = _job_facts(envelope, touched)
    if envelope.kind != "run" or envelope.run_id is None:
        return found
    attempt = Attempt(
        key=AttemptKey(envelope.job, envelope.run_id, envelope.run_id),
        kind=RunKind.TASK,
        platform=run.integration(envelope),
        statement=run.statement(envelope),
        external_run=envelope.run_id,
        group_run=envelope.run_id,
        completed=envelope.type == "COMPLETE",
        started_at=run.started_at(envelope),
        ended_at=run.ended_at(envelope),
        interval=run.interval(envelope),
        parent=run.parent(envelope),
        root=run.root(envelope),
        error=run.error(envelope),
        touches=touched,
    )
    return Facts(attempts=(attempt,), tasks=found.tasks, datasets=found.datasets, edges=found.edges)
