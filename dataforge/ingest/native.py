"""Native events: one statement about one run, for platforms and people without OpenLineage.

A run is named by `run`, else by its partition; an attempt by its number, counted from 1. The instances of a mapped
task are runs of their own, each by its map index, which belong together; any of them may say how many there are.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from dataforge.ingest import control, facets, native_report, native_shard, native_stream, paths, run
from dataforge.ingest.envelope import check_time, decode
from dataforge.ingest.native_report import Input, Output
from dataforge.ingest.native_shard import Shard
from dataforge.ingest.native_stream import Late
from dataforge.ingest.openlineage import canonical
from dataforge.ingest.redaction import Redaction
from dataforge.ingest.validation import LONGEST_KEY, LONGEST_NAME, name_problem, refusal
from dataforge.model.attempt import INSTANCES, Attempt, AttemptKey, Direction, Interval, Source, Touch, merge_touches
from dataforge.model.column_list import ColumnList
from dataforge.model.decoding import convert, shorten
from dataforge.model.errors import FieldError
from dataforge.model.event import DatasetFact, Event, Facts, TaskFact
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.run import UNTRUSTED
from dataforge.model.state import Evidence, RunKind, RunState, Statement

WHOLE = control.WHOLE
MOST_SOURCE_KEYS = 20
_VERSION = re.compile("[0-9a-f]{32}")


class _Task(msgspec.Struct, forbid_unknown_fields=True):
    namespace: str
    name: str
    version: str | None = None  # of its definition, as lists show it


class _Interval(msgspec.Struct, forbid_unknown_fields=True):
    start: str
    end: str


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    time: str
    task: _Task
    state: Literal["queued", "running", "up_for_retry", "succeeded", "failed", "skipped", "canceled", "upstream_failed"]
    partition: str | None = None
    run: str | None = None
    attempt: int | None = None
    map_index: int | None = None
    instances: int | None = None
    data_interval: _Interval | None = None
    inputs: list[Input] = []
    outputs: list[Output] = []
    error: str | None = None
    id: str | None = None
    platform: str | None = None
    source: dict[str, Any] | None = None
    watermark: str | None = None
    late: list[Late] = []
    shards: list[Shard] = []


def parse(body: bytes | object, redaction: Redaction, event_id: bytes | None = None) -> Event:
    """A native event, from its bytes or its decoded JSON. Raises InvalidInput that names what is wrong.

    `event_id` is that of a recorded event, whose body was redacted after it was identified.
    """
    document = decode(body) if isinstance(body, bytes) else body
    if control.orders(document):
        return control.parse(document, redaction, event_id)
    kept = redaction.apply(document)
    shape = convert(kept, _Document, "")
    if isinstance(shape, FieldError):
        raise refusal([shape])
    errors = _errors(shape)
    at = check_time("time", shape.time, errors)
    interval = _interval(shape, errors)
    streamed = native_stream.read(shape.watermark, shape.outputs, shape.late, at)
    errors += [*streamed.errors, *native_shard.problems(shape.shards)]
    if errors:
        raise refusal(errors)
    event_id = event_id or _identity(shape, document)
    facts = _facts(shape, at, event_id, interval)
    facts = streamed.stated(facts, facts.attempts[0].key.task, facts.attempts[0].key.run)
    facts = native_shard.stated(facts, shape.shards, at)
    return Event(event_id, at, "native", shape.task.namespace, canonical(kept), facts)


def _identity(shape: _Document, document: object) -> bytes:
    named = canonical({"task": [shape.task.namespace, shape.task.name], "id": shape.id, "time": shape.time})
    return blake2b(named if shape.id else canonical(document), digest_size=16).digest()


def _errors(shape: _Document) -> list[FieldError]:
    named: list[tuple[str, str | None, int]] = [
        ("task.namespace", shape.task.namespace, LONGEST_NAME),
        ("task.name", shape.task.name, LONGEST_NAME),
        ("partition", shape.partition, LONGEST_KEY),
        ("run", shape.run, LONGEST_KEY),
        ("id", shape.id, 100_000),
        ("platform", shape.platform, LONGEST_KEY),
    ]
    listed: list[tuple[str, Sequence[Input | Output]]] = [("inputs", shape.inputs), ("outputs", shape.outputs)]
    for field, touched in listed:
        for index, dataset in enumerate(touched):
            named.append((f"{field}[{index}].namespace", dataset.namespace, LONGEST_NAME))
            named.append((f"{field}[{index}].name", dataset.name, LONGEST_NAME))
            named.append((f"{field}[{index}].partition", dataset.partition, LONGEST_KEY))
            named.append((f"{field}[{index}].version", dataset.version, LONGEST_KEY))
    errors = [
        error for field, value, most in named if value is not None and (error := name_problem(field, value, most))
    ]
    if shape.attempt is not None and not 1 <= shape.attempt < 2**31:
        errors.append(FieldError("attempt", shape.attempt, "a number from 1 on"))
    if shape.task.version is not None and not _VERSION.fullmatch(shape.task.version):
        expected = "the 32 hexadecimal digits of a definition's hash, in lower case"
        errors.append(FieldError("task.version", shorten(shape.task.version), expected))
    if shape.map_index is not None and not 0 <= shape.map_index < 2**31:
        errors.append(FieldError("map_index", shape.map_index, "a number from 0 on"))
    errors += _instances_errors(shape)
    for field, touched in listed:
        for index, dataset in enumerate(touched):
            errors += native_report.problems(dataset, f"{field}[{index}]")
    return errors + _source_errors(shape.source or {})


def _instances_errors(shape: _Document) -> list[FieldError]:
    if shape.instances is None:
        return []
    if shape.map_index is None:
        return [FieldError("instances", shape.instances, "a map_index beside it")]
    if not shape.map_index < shape.instances < 2**31:
        return [FieldError("instances", shape.instances, f"a number above the map_index ({shape.map_index})")]
    return []


def _source_errors(source: dict[str, Any]) -> list[FieldError]:
    if len(source) > MOST_SOURCE_KEYS:
        return [FieldError("source", shorten(source), f"at most {MOST_SOURCE_KEYS} keys")]
    errors = [name_problem("source", key, LONGEST_KEY) for key in source]
    errors += [_source_problem(f"source.{shorten(key)}", value) for key, value in source.items()]
    return [error for error in errors if error is not None]


def _source_problem(field: str, value: object) -> FieldError | None:
    if isinstance(value, str):
        return name_problem(field, value)
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return None
    return FieldError(field, shorten(value), "a string or a whole number of 64 bits")


def _interval(shape: _Document, errors: list[FieldError]) -> Interval | None:
    if shape.data_interval is None:
        return None
    start = check_time("data_interval.start", shape.data_interval.start, errors)
    end = check_time("data_interval.end", shape.data_interval.end, errors)
    if end < start:
        errors.append(FieldError("data_interval.end", shape.data_interval.end, "a time not before the start"))
    return Interval(start, end)


def _facts(shape: _Document, at: datetime, event_id: bytes, interval: Interval | None) -> Facts:
    task = TaskRef(shape.task.namespace, shape.task.name)
    touched = merge_touches(
        _touches(shape.inputs, "input", at, event_id), _touches(shape.outputs, "output", at, event_id)
    )
    name, number = shape.run or shape.partition or WHOLE, shape.attempt or 1
    state, platform = RunState(shape.state), shape.platform or ""
    instance = name if shape.map_index is None else f"{name}[{shape.map_index}]"
    attempt = Attempt(
        key=AttemptKey(task, instance, str(number)),
        kind=RunKind.TASK,
        # What is said here is no event of the platform's own, so nothing of it has to be doubted.
        platform="" if platform in UNTRUSTED else platform,
        statement=Statement(Evidence.REPORTED, state, at, event_id),
        external_run=instance,
        group_run=name,
        map_index=-1 if shape.map_index is None else shape.map_index,
        number=number,
        completed=state is RunState.SUCCEEDED,
        started_at=at if state is RunState.RUNNING else None,
        ended_at=at if state.final or state is RunState.UP_FOR_RETRY else None,
        interval=interval,
        partition=shape.partition,
        error=facets.text({"error": shape.error}, "error"),
        task_version=shape.task.version,
        source=_source(shape),
        touches=touched,
    )
    return Facts(
        attempts=(attempt,),
        tasks=(TaskFact(task, RunKind.TASK, platform, {}, interval),),
        datasets=(
            *(DatasetFact(dataset) for dataset in sorted({touch.dataset for touch in touched})),
            *(DatasetFact(dataset, columns=shown) for dataset, shown in _shown(shape.outputs)),
        ),
        edges=run.dataset_edges(task, touched),
    )


def _source(shape: _Document) -> Source:
    """What the platform calls the run, and how many instances its task has in it, where the event says so."""
    named: Source = dict(shape.source or {})
    return named if shape.instances is None else {**named, INSTANCES: shape.instances}


def _shown(outputs: Sequence[Output]) -> Iterator[tuple[DatasetRef, ColumnList]]:
    """The columns that the event shows of what the run wrote."""
    for output in outputs:
        if output.shown is not None:
            yield paths.split(output.namespace, output.name)[0], output.shown


def _touches(listed: Sequence[Input | Output], direction: Direction, at: datetime, event: bytes) -> tuple[Touch, ...]:
    merged: tuple[Touch, ...] = ()
    for dataset in listed:
        root, key = paths.split(dataset.namespace, dataset.name)
        shown = dataset.shown if isinstance(dataset, Output) else None
        touch = Touch(
            direction=direction,
            dataset=root,
            partition=dataset.partition or key or "",
            first_at=at,
            last_at=at,
            version=dataset.version,
            version_at=at if dataset.version else None,
            rows=getattr(dataset, "rows", None),
            measured=direction == "output",
            report=native_report.of(dataset, at, event),
            columns=shown.hash if shown else None,
            columns_at=at if shown else None,
        )
        merged = merge_touches(merged, (touch,))
    return merged
