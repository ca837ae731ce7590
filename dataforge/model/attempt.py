"""What is known of one attempt of a run, as a value that grows: attempts with the same key merge.

`merge` is commutative, associative and idempotent, which is the whole of invariant I1 for runs: events may
come in any order, any batches and any number of times, and the merged attempt is the same. Everything that
is derived (the run's state, its partitions, what is ready) is a function of merged attempts.
"""

from datetime import UTC, datetime
from functools import reduce
from typing import Literal, TypeVar

import msgspec

from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.report import NOTHING, Report, merged
from dataforge.model.state import RunKind, Statement, strongest

Direction = Literal["input", "output"]
Source = dict[str, str | int | None]
INSTANCES = "instances"  # in a mapped instance's source: into how many its task was expanded
EARLIEST = datetime.min.replace(tzinfo=UTC)  # stands for a time that nobody has told
_T = TypeVar("_T", int, str, datetime, "Interval", "RunPointer")


class Interval(msgspec.Struct, frozen=True, order=True):
    """A data interval [start, end) in UTC. It is empty when both ends are equal."""

    start: datetime
    end: datetime

    @property
    def empty(self) -> bool:
        return self.end <= self.start


class RunPointer(msgspec.Struct, frozen=True, order=True):
    """Another run, as an event names it: its task and the platform's id of the attempt."""

    task: TaskRef
    external_run: str


class AttemptKey(msgspec.Struct, frozen=True, order=True):
    """An attempt within its run; `run` is the platform's own id of the execution, map index included."""

    task: TaskRef
    run: str
    attempt_id: str


class Touch(msgspec.Struct, frozen=True):
    """That an attempt read or wrote one dataset; `partition` is '' where the event names none."""

    direction: Direction
    dataset: DatasetRef
    partition: str
    first_at: datetime
    last_at: datetime
    version: str | None = None  # the data version: of an input the first seen, of an output the last
    version_at: datetime | None = None  # when that version was said
    rows: int | None = None
    measured: bool = False  # an output with statistics: a hint that it was really written
    change: str | None = None  # OpenLineage's lifecycleStateChange
    report: Report = NOTHING  # of an input its checks alone
    columns: str | None = None  # the hash of an output's columns, as they were shown last
    columns_at: datetime | None = None

    @property
    def key(self) -> tuple[str, DatasetRef, str]:
        return (self.direction, self.dataset, self.partition)


class Attempt(msgspec.Struct, frozen=True):
    """All that events have said of one attempt."""

    key: AttemptKey
    kind: RunKind
    platform: str
    statement: Statement
    external_run: str  # what children name as their parent: OpenLineage's runId, a native event's run
    group_run: str  # the platform's run without the map index: mapped instances share it
    map_index: int = -1
    number: int | None = None  # the platform's own attempt number, where it has one
    incarnation: datetime | None = None  # start of the DAG run: moves when it is cleared or created anew
    completed: bool = False  # a COMPLETE was seen, whatever else was said
    started_at: datetime | None = None
    ended_at: datetime | None = None
    interval: Interval | None = None
    partition: str | None = None  # named by the event itself
    parent: RunPointer | None = None
    root: RunPointer | None = None
    error: str | None = None
    task_version: str | None = None  # the version of its task that it says it ran
    source: Source = {}
    touches: tuple[Touch, ...] = ()  # sorted by key, one for each
    heard_at: datetime | None = None  # the time of the last event of it, where its statement is an earlier one's

    @property
    def last_word(self) -> datetime:
        """When it was last told of."""
        return self.heard_at or self.statement.at


def merge(first: Attempt, second: Attempt) -> Attempt:
    """The union of what two events said of the same attempt. Raises ValueError for different attempts."""
    if first.key != second.key:
        raise ValueError(f"attempts of different keys do not merge: {first.key} and {second.key}")
    statement, last = strongest(first.statement, second.statement), max(first.last_word, second.last_word)
    return Attempt(
        key=first.key,
        kind=max(first.kind, second.kind),
        platform=max(first.platform, second.platform),
        statement=statement,
        external_run=max(first.external_run, second.external_run),
        group_run=max(first.group_run, second.group_run),
        map_index=max(first.map_index, second.map_index),
        number=_greatest(first.number, second.number),
        incarnation=_greatest(first.incarnation, second.incarnation),
        completed=first.completed or second.completed,
        started_at=_least(first.started_at, second.started_at),
        ended_at=_greatest(first.ended_at, second.ended_at),
        interval=_greatest(first.interval, second.interval),
        partition=_greatest(first.partition, second.partition),
        parent=_greatest(first.parent, second.parent),
        root=_greatest(first.root, second.root),
        error=_most_detailed(first.error, second.error),
        task_version=_greatest(first.task_version, second.task_version),
        source=merge_sources(first.source, second.source),
        touches=merge_touches(first.touches, second.touches),
        heard_at=last if last > statement.at else None,
    )


def merge_sources(first: Source, second: Source) -> Source:
    """The platform's own ids of a run. Of two values of one key the greater stays (a try number only grows)."""
    keys = sorted(first.keys() | second.keys())
    return {key: _greatest_id(first.get(key), second.get(key)) for key in keys}


def merge_touches(first: tuple[Touch, ...], second: tuple[Touch, ...]) -> tuple[Touch, ...]:
    """Inputs and outputs accumulate: a later event may list fewer (Iceberg's RUNNING drops its inputs)."""
    if not second or first == second:
        return first
    merged: dict[tuple[str, DatasetRef, str], Touch] = {}
    for touch in (*first, *second):
        seen = merged.get(touch.key)
        merged[touch.key] = _merge_touch(seen, touch) if seen else touch
    return tuple(merged[key] for key in sorted(merged))


def _merge_touch(first: Touch, second: Touch) -> Touch:
    versioned, shown = _versioned(first, second), _shown(first, second)
    return Touch(
        direction=first.direction,
        dataset=first.dataset,
        partition=first.partition,
        first_at=min(first.first_at, second.first_at),
        last_at=max(first.last_at, second.last_at),
        version=versioned.version,
        version_at=versioned.version_at,
        rows=_greatest(first.rows, second.rows),
        measured=first.measured or second.measured,
        change=_greatest(first.change, second.change),
        report=merged(first.report, second.report),
        columns=shown.columns,
        columns_at=shown.columns_at,
    )


def _versioned(first: Touch, second: Touch) -> Touch:
    """The touch whose version counts. An input's is what the run began with (after a MERGE Spark shows the new
    snapshot as input too), an output's what it ended with; the value itself breaks ties."""
    known = [touch for touch in (first, second) if touch.version is not None] or [first]
    choose = min if first.direction == "input" else max
    return choose(known, key=lambda touch: (touch.version_at or touch.first_at, touch.version or ""))


def _shown(first: Touch, second: Touch) -> Touch:
    """The touch whose columns count: the later one, and of one moment the greater hash."""
    if first.columns is None or second.columns is None:
        return second if first.columns is None else first
    return max(first, second, key=lambda touch: (touch.columns_at, touch.columns))


def _greatest(first: _T | None, second: _T | None) -> _T | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)


def _least(first: datetime | None, second: datetime | None) -> datetime | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def _greatest_id(first: str | int | None, second: str | int | None) -> str | int | None:
    known = [value for value in (first, second) if value is not None]
    return max(known, key=_rank_of_id) if known else None


def _rank_of_id(value: str | int) -> tuple[bool, str, str]:
    """Numbers in their order, written as text or not; what is written otherwise is another value."""
    return (isinstance(value, str), str(value).zfill(20), str(value))


def _most_detailed(first: str | None, second: str | None) -> str | None:
    known = [text for text in (first, second) if text]
    return max(known, key=lambda text: (len(text), text)) if known else None


def merge_all(attempts: list[Attempt]) -> dict[AttemptKey, Attempt]:
    """Attempts by key, each merged from all that the list says of it."""
    merged: dict[AttemptKey, list[Attempt]] = {}
    for attempt in attempts:
        merged.setdefault(attempt.key, []).append(attempt)
    return {key: reduce(merge, group) for key, group in merged.items()}
