"""How lists are cut into pages.

Guarantees that a walk through the pages yields every item once, whatever the page size and whatever is inserted
meanwhile: a cursor is the key of the last item seen, never a count of items.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Generic, TypeVar

import msgspec

from dataforge.model.errors import FieldError, InvalidInput

MOST_EXAMINED = 5_000  # rows read for one page of a filtered list; the next page goes on behind them

Item = TypeVar("Item")
Key = TypeVar("Key")


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
