"""Dataset schedules: a task that runs whenever the datasets it names have been updated, as all, any, or nested.

The rule is Airflow's (2.11: models/dag.py dags_needing_dagruns and the scheduler's _create_dag_runs_dataset_triggered).
Each update of a dataset is queued for the task until its next run begins; the run is due when the expression holds over
the datasets with an update in the queue; it consumes all that was updated after the run before it began, up to its own
begin. Guarantees that queue and consumption follow from when runs began and updates happened, and from no order of
arrival.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from dataforge.model.errors import FieldError
from dataforge.model.reference import DatasetRef
from dataforge.model.upstream import Finding
from dataforge.model.verdict import Code, NodeRef, Reason

DEEPEST = 8  # triggers within each other
MOST = 100  # datasets in one trigger
EDGE = "trigger"  # the condition of an edge that a trigger makes: it is not judged by itself
_SHAPE = "one of: dataset, all, any"


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One dataset, or exactly one of `all` and `any` over triggers."""

    dataset: DatasetRef | None = None
    all: "tuple[Trigger, ...] | None" = None
    any: "tuple[Trigger, ...] | None" = None

    @property
    def parts(self) -> "tuple[Trigger, ...]":
        """The triggers that it joins."""
        return (self.all or ()) + (self.any or ())

    @property
    def datasets(self) -> set[DatasetRef]:
        """Every dataset that it names."""
        own = {self.dataset} if self.dataset is not None else set()
        return own.union(*(part.datasets for part in self.parts))


def problems(trigger: Trigger, at: str) -> list[FieldError]:
    """What is wrong with a trigger that stands at a path, field by field; empty when nothing is."""
    if _deeper_than(trigger, DEEPEST):
        return [FieldError(at, "nested deeper", f"at most {DEEPEST} levels")]
    if (named := sum(1 for _ in _leaves(trigger))) > MOST:
        return [FieldError(at, f"{named} datasets", f"at most {MOST} datasets")]
    return list(_problems(trigger, at))


def _deeper_than(trigger: Trigger, levels: int) -> bool:
    return not levels or any(_deeper_than(part, levels - 1) for part in trigger.parts)


def _leaves(trigger: Trigger) -> Iterator[Trigger]:
    if not trigger.parts:
        yield trigger
    for part in trigger.parts:
        yield from _leaves(part)


def _problems(trigger: Trigger, at: str) -> Iterator[FieldError]:
    said = [name for name in ("dataset", "all", "any") if getattr(trigger, name) is not None]
    if len(said) != 1:
        yield FieldError(at, " and ".join(said) or "nothing", _SHAPE)
    elif trigger.dataset is None and not trigger.parts:
        yield FieldError(f"{at}.{said[0]}", [], "at least one dataset")
    for index, part in enumerate(trigger.parts if len(said) == 1 else ()):
        yield from _problems(part, f"{at}.{said[0]}[{index}]")


def canonical(trigger: Trigger) -> Trigger:
    """The one spelling of a trigger without problems: nested alls and anys opened, repetitions dropped, in order."""
    if trigger.dataset is not None:
        return Trigger(trigger.dataset)
    conjunction = trigger.all is not None
    parts: set[Trigger] = set()
    for part in trigger.parts:
        spelled = canonical(part)
        parts |= set((spelled.all if conjunction else spelled.any) or (spelled,))
    ordered = tuple(sorted(parts, key=msgspec.json.encode))
    if len(ordered) == 1:
        return ordered[0]
    return Trigger(all=ordered) if conjunction else Trigger(any=ordered)


def holds(trigger: Trigger, updated: Iterable[DatasetRef]) -> bool:
    """Whether the trigger holds when these datasets were updated."""
    return not waited_for(trigger, updated)


def waited_for(trigger: Trigger, updated: Iterable[DatasetRef]) -> set[DatasetRef]:
    """The datasets any of which would bring the trigger nearer to holding; none when it holds."""
    known = set(updated)
    if trigger.dataset is not None:
        return {trigger.dataset} - known
    missing = [waited_for(part, known) for part in trigger.parts]
    if trigger.any is not None and not all(missing):
        return set()
    return set().union(*missing)


class Start(msgspec.Struct, frozen=True):
    """When a run of a triggered task began for the first time: a later try, or a clear, queues nothing anew."""

    run: str  # without map index
    began: datetime
    running: bool


def latest(starts: Iterable[Start]) -> Start | None:
    """The run that began last."""
    return max(starts, key=lambda each: (each.began, each.run), default=None)


def before(starts: Iterable[Start], began: datetime) -> datetime | None:
    """When the last run before this moment began."""
    return max((each.began for each in starts if each.began < began), default=None)


class Update(msgspec.Struct, frozen=True):
    """One success that wrote a partition of a dataset."""

    partition: str
    at: datetime
    run: str


class Awaited(msgspec.Struct, frozen=True):
    """A dataset of a trigger, under its canonical name."""

    node: NodeRef
    owner: str | None
    written: bool  # a task is known that writes it, or it has been written
    last: Update | None = None


class Queue(msgspec.Struct, frozen=True):
    """What a triggered task's next run depends on."""

    trigger: Trigger
    start: Start | None  # of its last run; None: it has never run
    datasets: Mapping[DatasetRef, Awaited]  # by the names in the trigger


def missing(queue: Queue) -> list[Finding]:
    """The datasets still waited for, each with its last update; none where the next run is due. They come by themselves
    where the trigger would hold if all were updated that anything is known to write."""
    updated = {ref for ref, each in queue.datasets.items() if _is_queued(each, queue.start)}
    written = {ref for ref, each in queue.datasets.items() if each.written}
    comes = holds(queue.trigger, updated | written)
    awaited = {queue.datasets[ref] for ref in waited_for(queue.trigger, updated)}
    found = [_reason(each, queue.start) for each in sorted(awaited, key=lambda each: each.node)]
    return [Finding(reason, passes=comes) for reason in found]


def _is_queued(awaited: Awaited, start: Start | None) -> bool:
    return awaited.last is not None and (start is None or awaited.last.at > start.began)


def _reason(awaited: Awaited, start: Start | None) -> Reason:
    last, name = awaited.last, awaited.node.name
    since = f" since {start.began:%Y-%m-%d %H:%M} UTC, when the last run began" if start else ""
    if last is not None:
        key = f" of {last.partition}" if last.partition else ""
        told = f"; its last update was that{key} at {last.at:%Y-%m-%d %H:%M} UTC"
    else:
        told = "; it never was" if awaited.written else "; no task is known that writes it"
    return Reason(
        code=Code.UPSTREAM_MISSING,
        message=f"{name} has not been updated{since}{told}",
        upstream=awaited.node,
        since=start.began if start else None,
        owner=awaited.owner,
        run=last.run if last else None,
    )
