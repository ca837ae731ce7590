"""What is asked and told, checked before it leaves: the same for every way to the ledger.

Guarantees that a value of a wrong type is refused with the same error whether a server or a database is behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec

from dataforge.model import filter as filters
from dataforge.model.change import MOST_CHANGES
from dataforge.model.decoding import convert, shorten
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.filter import Shape
from dataforge.model.lineage import Direction, refuse_beside_partition
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.model.state import PartitionStatus
from dataforge.model.wakeup import Queue

MOST_EVENTS = 10_000  # of one request
MOST_QUESTIONS = 1_000  # of one request, which are decided on one snapshot
_MOST_BYTES = 32 * 2**20  # of one request's events, unless one alone has more; the server takes 100 MB
_Question = TypeVar("_Question", bound=msgspec.Struct)


class ChangesQuestion(msgspec.Struct, frozen=True):
    """Where in the feed to go on."""

    after: str | None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHANGES)]
    kind: NodeKind | None


class LatestQuestion(msgspec.Struct, frozen=True):
    """Whose latest partitions are wanted."""

    datasets: tuple[DatasetRef, ...]
    each: int
    statuses: tuple[PartitionStatus, ...] = ()


class NewestQuestion(msgspec.Struct, frozen=True):
    """Between which positions the newest changes of which datasets are wanted."""

    datasets: tuple[DatasetRef, ...]
    after: str | None
    before: str | None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHANGES)]


class GraphQuestion(msgspec.Struct, frozen=True):
    """Which part of the graph is wanted."""

    name: str
    namespace: str | None
    direction: Direction
    depth: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None
    kind: NodeKind | None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None
    partition: str | None


class WakeupsQuestion(msgspec.Struct, frozen=True):
    """How much of what may run now is wanted."""

    limit: int
    queue: Queue = "all"


def batches(events: Sequence[Mapping[str, Any]]) -> Iterator[list[bytes]]:
    """The events as JSON, in batches as large as one request takes. All are encoded before the first is given
    away, so that one that is no JSON is refused before anything is sent."""
    batch: list[bytes] = []
    size = 0
    for body in [encoded(event, f"[{place}]") for place, event in enumerate(events)]:
        if batch and (len(batch) == MOST_EVENTS or size + len(body) > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch


def encoded(value: object, field: str) -> bytes:
    """A value as JSON. Raises InvalidInput for what JSON cannot hold."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        expected = f"what JSON can hold: objects with string keys, arrays, strings, numbers ({error})"
        problem = FieldError(field, shorten(value), expected)
        raise InvalidInput(f"{field} cannot be sent: expected {expected}", [problem]) from None


def checked(questions: Sequence[_Question], kind: type[_Question], most: int = MOST_QUESTIONS) -> list[_Question]:
    """The questions, each of whose fields has its type. Raises InvalidInput with every one that has not."""
    if len(questions) > most:
        found, expected = f"{len(questions):,} questions", f"at most {most:,} questions"
        raise InvalidInput(f"{found} are asked: expected {expected}", [FieldError("$", found, expected)])
    read = [convert(msgspec.to_builtins(each), kind, f"[{place}]") for place, each in enumerate(questions)]
    if errors := [each for each in read if isinstance(each, FieldError)]:
        raise InvalidInput(f"{errors[0].field}: expected {errors[0].expected}", errors)
    return [each for each in read if isinstance(each, kind)]


def claim_id(claim: str) -> UUID:
    """The id of a claim. Raises InvalidInput for what can be none."""
    return _uuid("claim", claim, "the UUID that a claim was granted under")


def backfill_id(backfill: str) -> UUID:
    """The id of a backfill. Raises InvalidInput for what can be none."""
    return _uuid("backfill", backfill, "the UUID that a backfill was begun under")


def _uuid(field: str, text: str, expected: str) -> UUID:
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput(f"{field} is {text!r}: expected {expected}", [FieldError(field, text, expected)]) from None


def source_name(source: str) -> str:
    """The name of a source as paths and the ledger have it. Raises InvalidInput where there is none."""
    name = source.strip("/")
    if not name:
        expected = "a non-empty string"
        raise InvalidInput(f"source is {source!r}: expected {expected}", [FieldError("source", source, expected)])
    return name


def sound(question: _Question) -> _Question:
    """The question, each of whose fields has its type. Raises InvalidInput that names the one which has not."""
    read = convert(msgspec.to_builtins(question), type(question), "")
    if isinstance(read, FieldError):
        raise InvalidInput(f"{read.field} is {read.value!r}: expected {read.expected}", [read])
    return read


def graph_question(wanted: GraphQuestion) -> GraphQuestion:
    """The question, sound by itself and of a partition without what that cannot be asked by. Raises InvalidInput."""
    asked = sound(wanted)
    if asked.partition is not None:
        refuse_beside_partition(given(asked).get("at"), asked.kind)
    return asked


def filtered(wanted: Shape) -> Shape:
    """The filter, each of whose fields has its type and is within its bounds. Raises InvalidInput otherwise."""
    return filters.read(given(wanted), type(wanted))


def given(wanted: msgspec.Struct) -> dict[str, Any]:
    """What is asked for, by name, in JSON's types."""
    plain: dict[str, Any] = msgspec.to_builtins(wanted)
    return {name: value for name, value in plain.items() if value is not None}
