"""Turning what a decoder or a database would choke on into errors that name the field, the value and the remedy."""

import re
from typing import Any

import msgspec

from dataforge.model.errors import FieldError, InvalidInput

# A unique index of PostgreSQL holds entries of at most 2,704 bytes; namespace and name share one.
LONGEST_NAME, LONGEST_KEY = 1_200, 512
_WHERE = re.compile(r"^(?P<expected>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


def field_error(error: msgspec.ValidationError, document: object) -> FieldError:
    """msgspec's message as a field error, with the value that stands at the path it names."""
    match = _WHERE.match(str(error))
    expected, path = (match["expected"], match["path"] or "$") if match else (str(error), "$")
    field = path.removeprefix("$").removeprefix(".") or "$"
    return FieldError(field, _value_at(document, path), expected.replace("`", ""))


def _value_at(document: Any, path: str) -> object:
    for key in re.findall(r"[^.\[\]$]+", path):
        if isinstance(document, dict):
            document = document.get(key)
        elif isinstance(document, list) and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return None
    return shorten(document)


def shorten(value: object) -> object:
    """A value as an error shows it: a long string's begin, a container's kind."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    return f"{value[:120]}…" if isinstance(value, str) and len(value) > 120 else value


def name_problem(field: str, value: str, longest: int = LONGEST_NAME) -> FieldError | None:
    """What is wrong with a name; None when nothing is."""
    if not value:
        return FieldError(field, value, "a non-empty string")
    if "\0" in value:
        return FieldError(field, shorten(value.replace("\0", "\\0")), "a name without NUL characters")
    if len(value.encode(errors="replace")) > longest:
        return FieldError(field, shorten(value), f"at most {longest} bytes of UTF-8")
    return None


def refuse(errors: list[FieldError]) -> None:
    """Raises InvalidInput when there is anything to complain of."""
    if errors:
        first = errors[0]
        message = f"{first.field} is {first.value!r}: expected {first.expected}"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InvalidInput(message + more, errors)
