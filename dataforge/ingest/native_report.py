"""What a native event says of each dataset: its shape, what is wrong with it, and what it reports.

Guarantees that nothing is accepted that no report could keep: a name or a value too long is refused with its field.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Literal

import msgspec

from dataforge.ingest import report
from dataforge.ingest.validation import name_problem
from dataforge.model.column_list import ColumnList, listed
from dataforge.model.decoding import shorten
from dataforge.model.errors import FieldError
from dataforge.model.expression import COUNTS, LONGEST, Scalar, is_number, kind_of, plain_number
from dataforge.model.report import Report, Value, reported

_MOST_NAMES = 100  # tags, checks or facets of one dataset in one event
_MOST_COLUMNS = 10_000


class Check(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    success: bool
    severity: Literal["none", "warn", "error"] | None = None


class Input(msgspec.Struct, forbid_unknown_fields=True):
    namespace: str
    name: str
    partition: str | None = None
    version: str | None = None
    checks: list[Check] = []


class Column(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    type: str = ""


class Output(msgspec.Struct, forbid_unknown_fields=True, dict=True):
    namespace: str
    name: str
    partition: str | None = None
    version: str | None = None
    rows: int | None = None
    bytes: int | None = None
    files: int | None = None
    tags: dict[str, str] = {}
    checks: list[Check] = []
    facets: dict[str, Scalar] = {}
    columns: list[Column] = []
    watermark: str | None = None

    @cached_property
    def shown(self) -> ColumnList | None:
        """Its columns; None where it says none."""
        return listed((column.name, column.type) for column in self.columns) if self.columns else None


def problems(dataset: Input | Output, at: str) -> list[FieldError]:
    """What is wrong with the report of a dataset that stands at a path of the event."""
    found = [*_name_problems("check", [check.name for check in dataset.checks], f"{at}.checks")]
    if isinstance(dataset, Output):
        found += _count_problems(dataset, at)
        found += _column_problems(dataset.columns, f"{at}.columns")
        found += _name_problems("tag", list(dataset.tags), f"{at}.tags")
        found += _name_problems("facet", list(dataset.facets), f"{at}.facets")
        named: dict[str, Scalar] = {f"{at}.tags.{key}": value for key, value in dataset.tags.items()}
        named |= {f"{at}.facets.{key}": value for key, value in dataset.facets.items()}
        found += [error for field, value in named.items() if (error := _value_problem(field, value))]
    return found


def _count_problems(output: Output, at: str) -> Iterator[FieldError]:
    for field in COUNTS:
        count, below = getattr(output, field), 63 if field == "rows" else 53
        if count is not None and not 0 <= count < 2**below:
            yield FieldError(f"{at}.{field}", count, f"a number of {field}, from 0 and below 2^{below}")


def _column_problems(columns: list[Column], at: str) -> Iterator[FieldError]:
    if len(columns) > _MOST_COLUMNS:
        yield FieldError(at, f"{len(columns):,} columns", f"at most {_MOST_COLUMNS:,}")
    for place, column in enumerate(columns[:_MOST_COLUMNS]):
        yield from filter(None, [name_problem(f"{at}[{place}].name", column.name)])
        if column.type:
            yield from filter(None, [name_problem(f"{at}[{place}].type", column.type)])


def _name_problems(prefix: str, names: list[str], at: str) -> Iterator[FieldError]:
    if len(names) > _MOST_NAMES:
        yield FieldError(at, shorten(names), f"at most {_MOST_NAMES}")
    ending = ".severity" if prefix == "check" else ""
    for name in names[:_MOST_NAMES]:
        if kind_of(f"{prefix}.{name}{ending}") is None or "\0" in name:
            longest = LONGEST - len(prefix) - 1 - len(ending)
            yield FieldError(at, shorten(name.replace("\0", "\\0")), f"names of 1 to {longest} bytes, without NUL")


def _value_problem(field: str, value: Scalar) -> FieldError | None:
    if isinstance(value, str) and ("\0" in value or len(value.encode()) > LONGEST):
        shown = shorten(value.replace("\0", "\\0"))
        return FieldError(field, shown, f"a text of at most {LONGEST} bytes, without NUL")
    if isinstance(value, int | float) and is_number(value) and plain_number(value) is None:
        return FieldError(field, value, "a number below 2^53")
    return None


def of(dataset: Input | Output, at: datetime, event: bytes) -> Report:
    """What the event reports of the dataset."""
    values: dict[str, Value] = dict(report.checks([msgspec.to_builtins(check) for check in dataset.checks]))
    if isinstance(dataset, Output):
        sizes: dict[str, int | None] = {"bytes": dataset.bytes, "files": dataset.files}
        values |= {field: count for field, count in sizes.items() if count is not None}
        values |= {f"tag.{key}": value for key, value in dataset.tags.items()}
        values |= {f"facet.{key}": value for key, value in dataset.facets.items()}
    return reported(values, at, event, dataset.version)
