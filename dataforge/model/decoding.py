"""Decoded JSON or YAML as a value, with errors that name the field, what it holds and what was expected."""

import re
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from dataforge.model.errors import FieldError, InvalidInput

_Value = TypeVar("_Value", bound=msgspec.Struct)
_ERROR = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_INVALID = re.compile(r"Invalid (?:enum )?value '(.*)'", re.DOTALL)
_STEP = re.compile(r"\[(?P<index>\d+)\]|\[\.\.\.\]|(?P<name>[^.\[\]]+)")


MOST_VALUES = 3_000_000  # of a YAML document, each place that an alias stands for counted
_MOST_WRITTEN = 1_000_000  # as they are written: each takes half a kilobyte until the document is read


def of_json(text: bytes) -> object:
    """What JSON says. Raises InvalidInput for broken JSON or UTF-8, and for arrays nested without end."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        expected = f"JSON in UTF-8 ({error})"
        raise InvalidInput(f"this is no JSON: {error}", [FieldError("$", "not JSON", expected)]) from None


def of_yaml(text: bytes) -> object:
    """What YAML says, of which JSON is a part. Raises InvalidInput that names the line, and for a document in which
    aliases of aliases stand for more than could be held in memory."""
    import yaml  # a slow import, and most commands need none

    try:
        document = yaml.load(text, _loader())  # noqa: S506  # it is a safe one
        values = _values(document, {})
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        expected = f"YAML in UTF-8 ({reason})"
        raise InvalidInput(f"this is no YAML: {reason}", [FieldError("$", "not YAML", expected)]) from None
    if values > MOST_VALUES:
        expected = f"at most {MOST_VALUES:,} values, with its aliases written out"
        raise InvalidInput(
            f"the document has {values:,} values: expected {expected}", [FieldError("$", values, expected)]
        )
    return document


@lru_cache(maxsize=1)
def _loader() -> Any:
    """A safe loader that counts what it reads as it goes. It puts values together in Python: the one in C lets no other
    thread do anything for as long as a document takes, and is no faster as a whole."""
    import yaml
    from yaml.composer import Composer

    parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(Composer, parser):  # type: ignore[misc, valid-type]
        def __init__(self, stream: bytes) -> None:
            parser.__init__(self, stream)
            Composer.__init__(self)
            self.read = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.read += 1
            if self.read > _MOST_WRITTEN:
                expected = f"at most {_MOST_WRITTEN:,} values in a YAML document: write it as JSON, or as several"
                raise InvalidInput(f"the document is too large: expected {expected}", [FieldError("$", None, expected)])
            return super().compose_node(parent, index)

    return Loader


def _values(document: object, known: dict[int, int]) -> int:
    """How many values a document has where each alias is written out; `known` are those of lists and objects, by id."""
    if not isinstance(document, list | dict):
        return 1
    if id(document) not in known:
        inner = document.values() if isinstance(document, dict) else document
        known[id(document)] = 1 + sum(_values(each, known) for each in inner)
    return known[id(document)]


def convert(value: object, kind: type[_Value], field: str) -> _Value | FieldError:
    """The value as a struct, or what is wrong with it; `field` is the path where it stands."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return _field_error(str(error), value, field, kind)


def _field_error(message: str, value: object, field: str, kind: type[msgspec.Struct]) -> FieldError:
    """msgspec's message as a field error. An unknown or a missing field is named itself, not its parent."""
    match = _ERROR.fullmatch(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    found = _value_at(value, path)
    if unknown := _UNKNOWN.fullmatch(what):
        given = found.get(unknown[1]) if isinstance(found, dict) else None
        return FieldError(join(field, path, unknown[1]), shorten(given), "no field of this name")
    if missing := _MISSING.fullmatch(what):
        return FieldError(join(field, path, missing[1]), None, "a value: the field is required")
    if invalid := _INVALID.fullmatch(what):
        found = invalid[1]  # also where msgspec's path does not lead to it
        what = _choices(kind, path) or what
    return FieldError(join(field, path) or "$", shorten(found), what.replace("`", "").removeprefix("Expected "))


def _choices(kind: type[msgspec.Struct], path: str) -> str | None:
    """The values that a field of a struct may have; None where the path leads deeper than its own fields."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    given = types.get(path, type(None))
    parts = (given,) if get_origin(given) is Literal else get_args(given)
    words = [word for part in parts for word in _words(part)]
    others = [said for part in parts if (said := _shape(part)) is not None]
    return f"one of {', '.join([*words, *others])}" if words else None


def _words(part: object) -> list[str]:
    """The words that one way of a field may be spelled in."""
    return [str(word) for word in get_args(part) if word is not None] if get_origin(part) is Literal else []


def _shape(part: object) -> str | None:
    """What a field may be beside words: a number, or an object with fields."""
    kind = get_args(part)[0] if get_origin(part) is Annotated else part
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"an object with {', '.join(field.encode_name for field in msgspec.structs.fields(kind))}"
    return "a whole number" if kind is int else None


def join(*parts: str) -> str:
    """A path of its parts, empty ones left out."""
    return ".".join(part for part in parts if part).replace(".[", "[")


def _value_at(value: Any, path: str) -> object:
    """What stands at msgspec's path; it writes `[...]` for a key of a dictionary, which it does not know."""
    for step in _STEP.finditer(path):
        if step["name"] and isinstance(value, dict):
            value = value.get(step["name"])
        elif step["index"] and isinstance(value, list):
            value = value[int(step["index"])]
        else:
            return None
    return value


def shorten(value: object) -> object:
    """A value as an error shows it: of a long text the begin, of a container its size."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    return f"{value[:120]}..." if isinstance(value, str) and len(value) > 120 else value


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """Whether it is a UUID as it is usually written."""
    return _UUID.fullmatch(text) is not None
