"""What lists take and how they are cut into pages.

Guarantees that a walk through the pages yields every item once, whatever the page size and whatever is inserted
meanwhile: a cursor is the key of the last item seen, never a count of items.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.state import PartitionStatus, RunKind, RunState

MOST_EXAMINED = 5_000  # rows read for one page of a filtered list; the next page goes on behind them

Item = TypeVar("Item")
Key = TypeVar("Key")

Namespace = Annotated[str, msgspec.Meta(description="Only items of this namespace.")]
Name = Annotated[
    str, msgspec.Meta(description="Only this task or dataset; the namespace may be left out where it is unique.")
]
Owner = Annotated[str, msgspec.Meta(description="Only items of this owner.")]
Platform = Annotated[str, msgspec.Meta(description="Only items of this platform, such as airflow, dbt or spark.")]
Partition = Annotated[str, msgspec.Meta(description="Only this partition key, such as 2026-11-01.")]
Since = Annotated[datetime, msgspec.Meta(description="Only items from this time on (RFC 3339, or a date in UTC).")]
Until = Annotated[datetime, msgspec.Meta(description="Only items before this time (RFC 3339, or a date in UTC).")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000, description="How many items a page holds at most.")]
Cursor = Annotated[str, msgspec.Meta(description="The next_cursor of the page before.")]


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page of a list."""

    items: Annotated[list[Item], msgspec.Meta(description="The items, in the order of the list.")]
    next_cursor: Annotated[
        str | None,
        msgspec.Meta(
            description="Where the next page begins; null at the end. A page of a filtered list may hold fewer"
            " items than the limit, even none, and yet have a next one."
        ),
    ]


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
    state: Annotated[PartitionStatus, msgspec.Meta(description="Only partitions in this state.")] | None = None
    owner: Owner | None = None
    platform: Platform | None = None
    partition: Partition | None = None
    since: Since | None = None
    until: Until | None = None


class RejectFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rejects to list. `since` and `until` bound the time of receipt."""

    since: Since | None = None
    until: Until | None = None


class Examined(msgspec.Struct, Generic[Key], frozen=True):
    """What one page's query looked at: the keys that match in order, and the last key it read if it stopped
    there because it had read enough, not because there was no more."""

    matching: list[Key]
    stopped_at: Key | None


def examined(rows: list[tuple[Key, bool]], read: int, most: int) -> Examined[Key]:
    """The matching rows, and the last row read, in order; `read` of at most `most` rows were looked at."""
    matching = [key for key, matches in rows if matches]
    return Examined(matching, rows[-1][0] if rows and read >= most else None)


def cut(found: Examined[Key], limit: int) -> tuple[list[Key], Key | None]:
    """The keys of one page, and the key behind which the next one begins; None at the end."""
    if len(found.matching) > limit:
        return found.matching[:limit], found.matching[limit - 1]
    return found.matching, found.stopped_at


def write_cursor(key: msgspec.Struct | None) -> str | None:
    """A key as clients carry it to the next page."""
    return None if key is None else urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def read_cursor(cursor: str | None, key: type[Key]) -> Key | None:
    """The key that a cursor holds. Raises InvalidInput for one that this list has not given out."""
    if cursor is None:
        return None
    try:
        content = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        if b"\\u0000" in content:
            raise ValueError
        return msgspec.json.decode(content, type=key)
    except (ValueError, msgspec.DecodeError):
        expected = "the next_cursor of this list's page before, or none"
        problem = FieldError("cursor", cursor, expected)
        raise InvalidInput(f"the cursor is not one of this list: give {expected}", [problem]) from None


def moment(text: str) -> datetime:
    """A time of a filter: RFC 3339, its `+` perhaps read as a space, or a date; UTC where no zone stands.

    Raises ValueError for anything else.
    """
    at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
