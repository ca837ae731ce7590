"""A body of several events, cut into the bytes of each, so that one that is broken is kept by itself.

Guarantees that nothing sent is lost: a body that cannot be cut is one event, which is then refused as a whole.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar.concurrency import sync_to_thread

from dataforge.model.decoding import convert, of_json
from dataforge.model.errors import FieldError, InvalidInput

_Shape = TypeVar("_Shape", bound=msgspec.Struct)
_LARGE = 2**17  # bytes, which take about half a millisecond to cut: meanwhile nobody else is served


def shaped(body: bytes, shape: type[_Shape]) -> _Shape:
    """The one value that a JSON body holds. Raises InvalidInput that names the field which is wrong."""
    found = convert(of_json(body), shape, "")
    if isinstance(found, FieldError):
        raise InvalidInput(f"{found.field} is {found.value!r}: expected {found.expected}", [found])
    return found


async def cut(body: bytes) -> tuple[list[bytes], InvalidInput | None]:
    """What `events_of` finds, without keeping others waiting."""
    return await sync_to_thread(events_of, body) if len(body) > _LARGE else events_of(body)


def events_of(body: bytes) -> tuple[list[bytes], InvalidInput | None]:
    """The events of a JSON array; of anything else, the body as one event. With them comes what is wrong with
    the body as a whole, to be said when its bytes are safe. Raises InvalidInput for an array without events."""
    is_array = body.lstrip(b" \t\r\n").startswith(b"[")
    try:
        parts: Any = msgspec.json.decode(body, type=list[msgspec.Raw] if is_array else Any)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        expected = f"JSON in UTF-8 ({error})"
        problem = FieldError("$", "not JSON", expected)
        return [body], InvalidInput(f"the body is kept in the rejects: expected {expected}", [problem])
    if is_array and not parts:
        raise InvalidInput(
            "the batch is empty: expected at least one event", [FieldError("$", [], "at least one event")]
        )
    return [bytes(part) for part in parts] if is_array else [body], None
