"""Batches of questions: an array in the body, each of its items one question.

Guarantees that a batch is read whole or refused whole, with every item that cannot be read in the error.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dataforge.model.decoding import convert
from dataforge.model.errors import FieldError, InvalidInput

MOST_QUESTIONS = 1_000  # of one request, where nothing else is said
_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def read_questions(body: bytes, shape: type[_Shape], most: int = MOST_QUESTIONS) -> list[_Shape]:
    """The questions of a body, in order. Raises InvalidInput with every one that cannot be read."""
    read = [convert(each, shape, f"[{place}]") for place, each in enumerate(_array(body, most))]
    if errors := [each for each in read if isinstance(each, FieldError)]:
        raise InvalidInput(f"{errors[0].field}: expected {errors[0].expected}", errors)
    return [each for each in read if isinstance(each, shape)]


def _array(body: bytes, most: int) -> list[Any]:
    expected = f"an array of at most {most:,} questions"
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"the body is no JSON: expected {expected}", [FieldError("$", str(error), expected)]
        ) from None
    if not isinstance(given, list) or len(given) > most:
        found = f"{len(given):,} questions" if isinstance(given, list) else type(given).__name__
        raise InvalidInput(f"the body holds {found}: expected {expected}", [FieldError("$", found, expected)])
    return given
