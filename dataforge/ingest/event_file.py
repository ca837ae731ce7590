"""Events as files hold them: one a line, or a JSON array, or one indented document; gzipped or not.

Guarantees that every event keeps its number, so that what is refused can be found again, and that no more of a
file of lines is held in memory than its reader asks for.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from io import BufferedReader
from itertools import chain
from typing import IO, NamedTuple, cast

import msgspec

from dataforge.model.errors import FieldError, InvalidInput

_MAGIC = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"  # what some editors put before UTF-8
_MOST_BYTES = 64 * 2**20  # of a batch, besides its number of events


class NumberedEvent(NamedTuple):
    """An event's bytes, and the number of its line; of its place in an array, from 1."""

    number: int
    body: bytes


def events(stream: BufferedReader, name: str) -> Iterator[NumberedEvent]:
    """The events of a file. Raises InvalidInput where its compression is broken."""
    zipped = stream.peek(2)[:2] == _MAGIC
    try:
        with gzip.open(stream) if zipped else nullcontext(stream) as plain:
            yield from _events(cast(IO[bytes], plain))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = FieldError("$", name, f"a whole gzip file ({error})")
        raise InvalidInput(f"{name} is broken: what stands before the break is recorded", [problem]) from None


def _events(plain: IO[bytes]) -> Iterator[NumberedEvent]:
    first = plain.readline().removeprefix(_MARK)
    if not first.lstrip().startswith(b"[") and first.strip() != b"{":
        yield from _of_lines(chain([first], plain))
        return
    content = first + plain.read()
    try:
        document = msgspec.json.decode(content, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        yield from _of_lines(content.splitlines(keepends=True))
        return
    bodies = [content] if isinstance(document, dict) else map(bytes, document)
    yield from (NumberedEvent(number, body) for number, body in enumerate(bodies, start=1))


def _of_lines(lines: Iterable[bytes]) -> Iterator[NumberedEvent]:
    for number, line in enumerate(lines, start=1):
        if body := line.strip():
            yield NumberedEvent(number, body)


def batches(numbered: Iterable[NumberedEvent], most: int) -> Iterator[list[NumberedEvent]]:
    """The events in batches of at most `most`, and of no more than 64 MB unless one event alone is larger."""
    batch: list[NumberedEvent] = []
    size = 0
    for event in numbered:
        if batch and (len(batch) == most or size + len(event.body) > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event.body)
    if batch:
        yield batch
