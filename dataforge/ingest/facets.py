"""Reading facets: producers send what they like there, so a value of the wrong type is as good as absent.

Guarantees that nothing read here can fail later: strings carry no NUL (PostgreSQL has none), times have a zone.
"""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_DEEPEST = 5  # levels of columns within columns


def section(value: object, *path: str) -> dict[str, Any]:
    """The object at a path; empty when there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def items(value: object, *path: str) -> list[Any]:
    """The array at a path; empty when there is none."""
    found = section(value, *path[:-1]).get(path[-1]) if path else value
    return found if isinstance(found, list) else []


def text(value: object, *path: str) -> str | None:
    """The non-empty string at a path."""
    found = section(value, *path[:-1]).get(path[-1])
    return found.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(found, str) and found else None


def number(value: object, *path: str) -> int | None:
    """The whole number at a path, at most what a bigint holds."""
    found = section(value, *path[:-1]).get(path[-1])
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if abs(found) < 2**63 else None


def size(value: object, *path: str) -> int | None:
    """The whole number of zero or more at a path, at most what a bigint holds."""
    found = number(value, *path)
    return found if found is not None and found >= 0 else None


def count(value: object, *path: str) -> int | None:
    """The whole number of zero or more at a path, at most what an integer of 32 bits holds."""
    found = number(value, *path)
    return found if found is not None and 0 <= found < 2**31 else None


def columns(value: object) -> Iterator[tuple[str, str]]:
    """Name and type of the columns that a schema facet lists, those within others as column.part; '' for no type."""
    return _columns("", items(value, "schema", "fields"), _DEEPEST)


def _columns(within: str, fields: list[object], deeper: int) -> Iterator[tuple[str, str]]:
    for field in fields if deeper else ():
        if name := text(field, "name"):
            yield f"{within}{name}", text(field, "type") or ""
            yield from _columns(f"{within}{name}.", items(field, "fields"), deeper - 1)


def moment(value: object, *path: str) -> datetime | None:
    """The time at a path, in UTC; a time without a zone is UTC, as Airflow's are."""
    return parse_time(section(value, *path[:-1]).get(path[-1]))


def parse_time(value: object) -> datetime | None:
    """A time that windows can be laid around; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1900 <= found.year <= 2200 else None


def names(value: object) -> list[str] | None:
    """A list of names, which Airflow sends as the repr of a Python list; None when it is no list."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(value, list | set | tuple):
        return None
    return sorted(whole(name) for name in value if isinstance(name, str))


def whole(text: str) -> str:
    """A string that was escaped within a string, so unchecked: without NUL and without halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def plain(value: Any) -> Any:
    """A JSON value that PostgreSQL can hold: without NUL in any of its strings."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {plain(key): plain(part) for key, part in value.items()}
    return value
