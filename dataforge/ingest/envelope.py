"""The core of OpenLineage: what every event of any producer has, checked; the facets are left to the producers' rules.

Guarantees that an envelope's names, ids and time can be stored; what is wrong is named field by field.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import msgspec

from dataforge.ingest import facets
from dataforge.ingest.validation import LONGEST_KEY, LONGEST_NAME, name_problem, refusal
from dataforge.model.column_list import ColumnList, listed
from dataforge.model.decoding import convert, of_json
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.reference import TaskRef

EventType = Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]
MOST_BYTES = 10 * 2**20  # one event
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


class _Job(msgspec.Struct):
    namespace: str
    name: str
    facets: Any = None


class _Run(msgspec.Struct, rename="camel"):
    run_id: str
    facets: Any = None


class Mention(msgspec.Struct, rename="camel", dict=True):
    """A dataset as an event lists it."""

    namespace: str
    name: str
    facets: Any = None
    input_facets: Any = None
    output_facets: Any = None

    @cached_property
    def columns(self) -> ColumnList | None:
        """The columns that its schema facet lists; None where there are none."""
        return listed(facets.columns(self.facets))


class _Document(msgspec.Struct, rename="camel"):
    event_time: str
    producer: str = ""
    event_type: EventType | None = None
    run: _Run | None = None
    job: _Job | None = None
    dataset: Mention | None = None
    inputs: list[Mention] | None = None
    outputs: list[Mention] | None = None


class Envelope(msgspec.Struct, frozen=True):
    """A checked event. `task` is None for a dataset event, `run_id` for all but run events."""

    id: bytes
    at: datetime
    kind: Literal["run", "job", "dataset"]
    type: EventType | None
    run_id: str | None
    task: TaskRef | None
    run_facets: Any
    job_facets: Any
    inputs: tuple[Mention, ...]
    outputs: tuple[Mention, ...]
    dataset: Mention | None

    @property
    def job(self) -> TaskRef:
        """The task of a run or job event."""
        assert self.task is not None, "only dataset events have no job"
        return self.task


def check(document: object, event_id: bytes) -> Envelope:
    """The envelope of a decoded event. Raises InvalidInput that names the first field of a wrong type, else every field
    whose value is wrong."""
    shape = convert(document, _Document, "")
    if isinstance(shape, FieldError):
        raise refusal([shape])
    errors = [*_kind_errors(shape), *_name_errors(shape)]
    at = check_time("eventTime", shape.event_time, errors)
    if errors:
        raise refusal(errors)
    return _envelope(shape, event_id, at)


def _envelope(shape: _Document, event_id: bytes, at: datetime) -> Envelope:
    kind: Literal["run", "job", "dataset"] = "run" if shape.run else "job" if shape.job else "dataset"
    return Envelope(
        id=event_id,
        at=at,
        kind=kind,
        type=shape.event_type,
        run_id=shape.run.run_id if shape.run else None,
        task=TaskRef(shape.job.namespace, shape.job.name) if shape.job else None,
        run_facets=shape.run.facets if shape.run else None,
        job_facets=shape.job.facets if shape.job else None,
        inputs=tuple(shape.inputs or ()),
        outputs=tuple(shape.outputs or ()),
        dataset=shape.dataset,
    )


def _kind_errors(shape: _Document) -> list[FieldError]:
    if shape.run and not shape.job:
        return [FieldError("job", None, "the job of the run")]
    if not shape.job and not shape.dataset:
        return [FieldError("$", None, "a run event (run and job), a job event (job) or a dataset event (dataset)")]
    return []


def _name_errors(shape: _Document) -> list[FieldError]:
    named: list[tuple[str, str, int]] = []
    if shape.run:
        named.append(("run.runId", shape.run.run_id, LONGEST_KEY))
    mentions = [("job", shape.job), ("dataset", shape.dataset)]
    mentions += [(f"inputs[{index}]", mention) for index, mention in enumerate(shape.inputs or ())]
    mentions += [(f"outputs[{index}]", mention) for index, mention in enumerate(shape.outputs or ())]
    for field, mention in mentions:
        if mention is not None:
            named.append((f"{field}.namespace", mention.namespace, LONGEST_NAME))
            named.append((f"{field}.name", mention.name, LONGEST_NAME))
    return [error for name in named if (error := name_problem(*name))]


def check_time(field: str, value: str, errors: list[FieldError]) -> datetime:
    """An event's time in UTC; what is wrong with it is added to the errors."""
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        errors.append(FieldError(field, value, "a time such as 2026-11-01T06:00:00Z"))
        return FIRST
    if at.tzinfo is None:
        errors.append(FieldError(field, value, "a time with its zone, such as 2026-11-01T06:00:00Z"))
        return FIRST
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        at = LAST
    if not FIRST <= at < LAST:
        errors.append(FieldError(field, value, "a time of the years 2000 to 2100"))
    return at


def decode(body: bytes) -> Any:
    """The JSON value of a body. Raises InvalidInput for broken UTF-8, broken JSON and a body over the limit."""
    if len(body) > MOST_BYTES:
        raise InvalidInput(
            f"the event has {len(body):,} bytes: at most {MOST_BYTES:,} are taken; drop its largest facets",
            [FieldError("$", f"{len(body)} bytes", f"at most {MOST_BYTES} bytes")],
        )
    return of_json(body)
