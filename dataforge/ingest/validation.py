"""What an event must be so that it can be stored: names of a length that indexes hold, without NUL characters."""

from dataforge.model.decoding import shorten
from dataforge.model.errors import FieldError, InvalidInput

# A unique index of PostgreSQL holds entries of at most 2,704 bytes; a namespace and a name share one, and so do
# the ids of a run and of an attempt.
LONGEST_NAME, LONGEST_KEY = 1_200, 512
MOST_ROWS = 2**53  # JSON's whole numbers


def name_problem(field: str, value: str, longest: int = LONGEST_NAME) -> FieldError | None:
    """What is wrong with a name; None when nothing is."""
    if not value:
        return FieldError(field, value, "a non-empty string")
    if "\0" in value:
        return FieldError(field, shorten(value.replace("\0", "\\0")), "a name without NUL characters")
    if len(value.encode(errors="replace")) > longest:
        return FieldError(field, shorten(value), f"at most {longest} bytes of UTF-8")
    return None


def refusal(errors: list[FieldError]) -> InvalidInput:
    """The error of an event whose fields are wrong, in one sentence and field by field."""
    first = errors[0]
    message = f"{first.field} is {first.value!r}: expected {first.expected}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidInput(message + more, errors)
