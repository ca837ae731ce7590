"""An accepted event and the facts it states, in the ledger's own terms, whatever platform sent it."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from dataforge.model.attempt import Attempt, Interval, RunPointer, Source
from dataforge.model.column_list import ColumnList
from dataforge.model.control import Control
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.shard import Shard
from dataforge.model.state import RunKind, RunState

EventKind = Literal["run", "job", "dataset", "native", "control"]
Relation = Literal["consumes", "produces", "runs"]
Registers = dict[str, Any]  # JSON values by field; the event's time and id stamp each


class TaskFact(msgspec.Struct, frozen=True):
    """What an event says of a task. Of each register the value of the latest event stands."""

    task: TaskRef
    kind: RunKind = RunKind.TASK
    platform: str = ""
    registers: Registers = {}
    interval: Interval | None = None  # of one of its runs: bounds its observed partitioning


class DatasetFact(msgspec.Struct, frozen=True):
    """What an event says of a dataset, and the other names it gives it."""

    dataset: DatasetRef
    registers: Registers = {}
    aliases: tuple[DatasetRef, ...] = ()
    columns: ColumnList | None = None  # of what a run wrote


class EdgeFact(msgspec.Struct, frozen=True):
    """That a task was seen to consume, produce or run something."""

    task: TaskRef
    relation: Relation
    node: TaskRef | DatasetRef


class Outcome(msgspec.Struct, frozen=True):
    """What a platform says afterwards of a task's part in one of its runs, all map indexes together."""

    task: TaskRef
    group_run: str
    incarnation: datetime
    state: RunState
    parent: RunPointer
    interval: Interval | None = None
    source: Source = {}


class Mark(msgspec.Struct, frozen=True):
    """What one person said of one run."""

    task: TaskRef
    run: str
    state: RunState
    at: datetime
    event: bytes
    by: str
    reason: str | None = None
    partition: str | None = None  # of a run that nobody else has told of

    @property
    def precedence(self) -> tuple[datetime, bytes]:
        """Of two marks of one run the greater stands."""
        return (self.at, self.event)


class WatermarkFact(msgspec.Struct, frozen=True):
    """How far a run of a streaming task has come: of one dataset that it writes, or of it and all that it writes."""

    task: TaskRef
    dataset: DatasetRef | None
    at: datetime
    run: str


class LateFact(msgspec.Struct, frozen=True):
    """That a streaming task got rows for a partition: of one dataset that it writes, or of it and all of them."""

    task: TaskRef
    dataset: DatasetRef | None
    partition: str
    rows: int


class ShardsFact(msgspec.Struct, frozen=True):
    """What an event says of the shards of a run: which there are, and how some of them ended."""

    task: TaskRef
    run: str
    shards: tuple[Shard, ...]


class Facts(msgspec.Struct, frozen=True):
    """All that one event states."""

    attempts: tuple[Attempt, ...] = ()
    tasks: tuple[TaskFact, ...] = ()
    datasets: tuple[DatasetFact, ...] = ()
    edges: tuple[EdgeFact, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    controls: tuple[Control, ...] = ()
    marks: tuple[Mark, ...] = ()
    watermarks: tuple[WatermarkFact, ...] = ()
    late: tuple[LateFact, ...] = ()
    shards: tuple[ShardsFact, ...] = ()


class Event(msgspec.Struct, frozen=True):
    """An event as it is recorded. `id` is 16 bytes: the producer's id, hashed, or the hash of its content."""

    id: bytes
    occurred_at: datetime
    kind: EventKind
    source: str  # the namespace it came from: how far each was seen is part of a verdict; '' of an order
    body: bytes  # canonical JSON, redacted
    facts: Facts
