"""What a native event says of a stream: how far it has come, and which rows came late.

Guarantees that a watermark that cannot be is refused with its field: one that is far ahead of its event says of data
that cannot have been there that it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from dataforge.ingest import paths
from dataforge.ingest.envelope import check_time
from dataforge.ingest.native_report import Output
from dataforge.ingest.validation import LONGEST_KEY, LONGEST_NAME, MOST_ROWS, name_problem
from dataforge.model.errors import FieldError
from dataforge.model.event import Facts, LateFact, WatermarkFact
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.stream import FARTHEST_AHEAD

MOST_LATE = 1_000  # partitions of one event


class LateDataset(msgspec.Struct, forbid_unknown_fields=True):
    namespace: str
    name: str


class Late(msgspec.Struct, forbid_unknown_fields=True):
    """Rows that came for a partition; of the task and all that it writes where no dataset is named."""

    partition: str
    rows: int
    dataset: LateDataset | None = None


class Streamed(msgspec.Struct, frozen=True):
    """What was read of an event, and what is wrong with it."""

    watermarks: tuple[tuple[DatasetRef | None, datetime], ...]
    late: tuple[Late, ...]
    errors: tuple[FieldError, ...]

    def stated(self, facts: Facts, task: TaskRef, run: str) -> Facts:
        """The facts of the event, with these beside them."""
        if not self.watermarks and not self.late:
            return facts
        told = tuple(WatermarkFact(task, dataset, at, run) for dataset, at in self.watermarks)
        late = tuple(LateFact(task, _named(each.dataset), each.partition, each.rows) for each in self.late)
        return replace(facts, watermarks=told, late=late)


def read(watermark: str | None, outputs: Sequence[Output], late: Sequence[Late], at: datetime) -> Streamed:
    """What an event of that time says of its stream."""
    errors: list[FieldError] = []
    said: list[tuple[str, DatasetRef | None, str]] = [("watermark", None, watermark)] if watermark is not None else []
    said += [
        (f"outputs[{index}].watermark", _root(output.namespace, output.name), output.watermark)
        for index, output in enumerate(outputs)
        if output.watermark is not None
    ]
    found: list[tuple[DatasetRef | None, datetime]] = []
    for field, dataset, text in said:
        moment = check_time(field, text, errors)
        found.append((dataset, moment))
        if moment > at + FARTHEST_AHEAD:
            errors.append(_ahead(field, moment, at))
    errors += _late_errors(late)
    return Streamed(tuple(found), tuple(late), tuple(errors))


def _ahead(field: str, moment: datetime, at: datetime) -> FieldError:
    expected = f"a time at most {FARTHEST_AHEAD.days} day after that of the event, {at.isoformat()}"
    return FieldError(field, moment.isoformat(), expected)


def _late_errors(late: Sequence[Late]) -> Iterator[FieldError]:
    if len(late) > MOST_LATE:
        yield FieldError("late", f"{len(late)} partitions", f"at most {MOST_LATE:,}")
        return
    seen = set()
    for index, each in enumerate(late):
        field = f"late[{index}]"
        if error := name_problem(f"{field}.partition", each.partition, LONGEST_KEY):
            yield error
        if not 1 <= each.rows <= MOST_ROWS:
            yield FieldError(f"{field}.rows", each.rows, f"a number from 1 to {MOST_ROWS}")
        for name in ("namespace", "name") if each.dataset is not None else ():
            if error := name_problem(f"{field}.dataset.{name}", getattr(each.dataset, name), LONGEST_NAME):
                yield error
        place = (each.partition, _named(each.dataset))
        if place in seen:
            yield FieldError(field, each.partition, "each partition of a dataset once")
        seen.add(place)


def _named(dataset: LateDataset | None) -> DatasetRef | None:
    return _root(dataset.namespace, dataset.name) if dataset is not None else None


def _root(namespace: str, name: str) -> DatasetRef:
    return paths.split(namespace, name)[0]
