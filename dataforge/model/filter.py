"""What lists are filtered by: the query parameters of the API and the options of the command line, in one place.

Guarantees that both take the same filters, since both are made from these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.finding import FindingCode
from dataforge.model.shard import ShardState
from dataforge.model.state import PartitionStatus, RunKind, RunState

Namespace = Annotated[str, msgspec.Meta(description="Only items of this namespace.")]
Name = Annotated[
    str, msgspec.Meta(description="Only this task or dataset; the namespace may be left out where it is unique.")
]
Owner = Annotated[str, msgspec.Meta(description="Only items of this owner.")]
Platform = Annotated[str, msgspec.Meta(description="Only items of this platform, such as airflow, dbt or spark.")]
Partition = Annotated[str, msgspec.Meta(description="Only this partition key, such as 2026-11-01.")]
Since = Annotated[
    datetime, msgspec.Meta(tz=True, description="Only items from this time on (RFC 3339, or a date in UTC).")
]
Until = Annotated[
    datetime, msgspec.Meta(tz=True, description="Only items before this time (RFC 3339, or a date in UTC).")
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000, description="How many items a page holds at most.")]
Cursor = Annotated[str, msgspec.Meta(description="The next_cursor of the page before.")]


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every list takes."""

    limit: Limit = 100
    cursor: Cursor | None = None


class TaskFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks to list."""

    namespace: Namespace | None = None
    name: Name | None = None
    kind: Annotated[RunKind, msgspec.Meta(description="Tasks unless given, or what `name` names.")] | None = None
    owner: Owner | None = None
    platform: Platform | None = None


class DatasetFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which datasets to list."""

    namespace: Namespace | None = None
    name: Name | None = None
    owner: Owner | None = None


class RunFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to list. `since` and `until` bound the start; a run that never started has none."""

    namespace: Namespace | None = None
    name: Name | None = None
    kind: Annotated[RunKind, msgspec.Meta(description="Tasks unless given, or what `name` names.")] | None = None
    state: Annotated[RunState, msgspec.Meta(description="Only runs in this state.")] | None = None
    owner: Owner | None = None
    platform: Platform | None = None
    partition: Partition | None = None
    since: Since | None = None
    until: Until | None = None
    attempts: Annotated[bool, msgspec.Meta(description="List every attempt in place of the runs.")] = False


class PartitionFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which partitions to list. `since` and `until` bound the time of the present state."""

    namespace: Namespace | None = None
    name: Name | None = None
    kind: Annotated[Literal["task", "dataset"], msgspec.Meta(description="Both unless given.")] | None = None
    state: (
        Annotated[
            PartitionStatus,
            msgspec.Meta(
                description="Only partitions in this state. What is stale is judged when it is asked for, and listed as"
                " ready otherwise."
            ),
        ]
        | None
    ) = None
    owner: Owner | None = None
    platform: Platform | None = None
    partition: Partition | None = None
    since: Since | None = None
    until: Until | None = None


class UpdateFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dataset updates to list: those that a run of a triggered task consumed."""

    name: Annotated[str, msgspec.Meta(description="The task; its namespace may be left out where it is unique.")]
    namespace: Annotated[str, msgspec.Meta(description="The task's namespace.")] | None = None
    run: (
        Annotated[str, msgspec.Meta(description="The run; without one, what waits for the task's next run.")] | None
    ) = None


class ShardFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which shards to list: those of one run."""

    name: Annotated[str, msgspec.Meta(description="The task; its namespace may be left out where it is unique.")]
    run: Annotated[str, msgspec.Meta(description="Which run of it, as lists of runs show it.")]
    namespace: Annotated[str, msgspec.Meta(description="The task's namespace.")] | None = None
    state: Annotated[ShardState, msgspec.Meta(description="Only shards in this state.")] | None = None


class RejectFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rejects to list. `since` and `until` bound the time of receipt."""

    since: Since | None = None
    until: Until | None = None


class FindingFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which findings to list. `since` bounds the start of a run, when an edge was last seen, or when a source became
    silent; the last seven days unless given."""

    code: Annotated[FindingCode, msgspec.Meta(description="Only findings of this kind.")] | None = None
    owner: Owner | None = None
    since: Since | None = None


Shape = TypeVar("Shape", bound=msgspec.Struct)
_MOMENTS = {"since", "until"}


class FilterField(msgspec.Struct, frozen=True):
    """One field of a filter, as whoever offers it to people needs to know it."""

    name: str
    description: str
    kind: Literal["string", "integer", "boolean", "date-time"]
    default: Any
    choices: list[str]
    minimum: int | None
    maximum: int | None
    required: bool

    @property
    def expected(self) -> str:
        """What a right value is."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind == "integer":
            return f"a whole number from {self.minimum} to {self.maximum}"
        return {"boolean": "true or false", "date-time": "a time such as 2026-11-01T06:00:00Z, or a date"}.get(
            self.kind, "a string"
        )


def fields(shape: type[msgspec.Struct]) -> list[FilterField]:
    """The fields of a filter, in their order."""
    _, components = msgspec.json.schema_components([shape], ref_template="{name}")
    own = components[shape.__name__]
    required = own.get("required", ())
    return [_field(name, schema, components, name in required) for name, schema in own["properties"].items()]


def _field(name: str, schema: dict[str, Any], components: dict[str, Any], required: bool) -> FilterField:
    given = next(each for each in schema.get("anyOf", [schema]) if each != {"type": "null"})
    plain = components.get(given.get("$ref"), given)
    return FilterField(
        name=name,
        description=given["description"],
        kind=plain.get("format") or plain.get("type", "string"),
        default=schema.get("default"),
        choices=sorted(plain.get("enum", ())),
        minimum=plain.get("minimum"),
        maximum=plain.get("maximum"),
        required=required,
    )


def read(given: Mapping[str, Any], shape: type[Shape]) -> Shape:
    """The filter that these values make, each of its own type or as text. Raises InvalidInput that names the one
    which is wrong."""
    values = dict(given)
    try:
        for name in _MOMENTS & values.keys():
            values[name] = _moment(name, values[name])
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        wrong = str(error).rpartition("$.")[2].rstrip("`")
        expected = next(field.expected for field in fields(shape) if field.name == wrong)
        problem = FieldError(wrong, given[wrong], expected)
        raise InvalidInput(f"{wrong} is {given[wrong]!r}: expected {expected}", [problem]) from None


def _moment(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return moment(value)
    except (ValueError, OverflowError):
        raise msgspec.ValidationError(f"no time - at `$.{name}`") from None


def named_moment(name: str, text: str) -> datetime:
    """A time that was given under this name. Raises InvalidInput for what is none."""
    try:
        return moment(text)
    except (ValueError, OverflowError):
        expected = "a time such as 2026-11-01T06:00:00Z, or a date"
        raise InvalidInput(f"{name} is {text!r}: expected {expected}", [FieldError(name, text, expected)]) from None


def moment(text: str) -> datetime:
    """A time of a filter: RFC 3339, its `+` perhaps read as a space, or a date; UTC where no zone stands.

    Raises ValueError for anything else.
    """
    at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
