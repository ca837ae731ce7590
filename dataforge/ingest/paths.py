"""Where a path ends a dataset's name and begins a partition's: `raw/orders/ds=2026-11-01/part-0.csv`.

Guarantees that a dataset has one name whether a producer trims its partition directories (Spark's listener
since 1.39), names them (older ones, trimmers switched off) or names single files (a CSV read with a header).
The rules are those of OpenLineage's Spark trimmers (key=value, 2026-11-01, 20261101, 2026110103, 2026-11, 202611,
2026/11, 2026/11/01), and three that they lack and lakes have: an hour below a day (2026/11/01/03) and 2026_11_01.
"""

import re
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote, urlsplit

from dataforge.model.reference import DatasetRef

_STORES = frozenset(
    ("file", "s3", "s3a", "s3n", "gs", "hdfs", "webhdfs", "viewfs", "abfs", "abfss", "wasb", "wasbs", "adl", "dbfs")
)
_DAY = re.compile(
    # A day, and what may follow it: 2026-11-01, 20261101, 2026_11_01, 2026110103, 2026-11-01-03, 20261101T030000Z
    r"((?:19|20)\d{2})([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:[T _-]?([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d)(?:\.\d+)?)?)?Z?)?"
)
_DOTTED_DAY = re.compile(r"(0[1-9]|[12]\d|3[01])\.(0[1-9]|1[0-2])\.((?:19|20)\d{2})")
_MONTH = re.compile(r"((?:19|20)\d{2})-?(0[1-9]|1[0-2])")
_YEAR = re.compile(r"(?:19|20)\d{2}")
_TWO = re.compile(r"\d{1,2}")
_HOUR = re.compile(r"[01]\d|2[0-3]")
_PAIR = re.compile(r"([^=/]+)=([^=/]*)")
_FILE = re.compile(
    r"[^/]+\.(?:csv|tsv|psv|json|jsonl|ndjson|txt|text|log|dat|data|xml|parquet|orc|avro|xlsx?"
    r"|gz|gzip|bz2|zst|zip|xz|snappy|lz4|lzo|br|deflate)",
    re.IGNORECASE,
)
_GLOB = re.compile(r"[*?\[{]")
_PART_FILE = re.compile(r"part[-_]?\d", re.IGNORECASE)
_HOURS = frozenset({"hour", "hh", "hr", "h"})
_YEARS, _MONTHS, _DAYS = ("year", "yyyy", "y"), ("month", "mm", "m"), ("day", "dd", "d")


def is_path(namespace: str) -> bool:
    """Whether names of this namespace are paths of files."""
    return namespace.split(":", 1)[0].lower() in _STORES


@lru_cache(maxsize=65_536)
def split(namespace: str, name: str, *, streaming: bool = False) -> tuple[DatasetRef, str | None]:
    """The dataset that a name means, and the partition key its tail names, if any.

    A file's own name is dropped below a partition directory, for Spark's part files, and for a stream, which
    names each file it reads; elsewhere a file is a dataset of its own.
    """
    whole = DatasetRef(namespace, name)
    if not is_path(namespace):
        return whole, None
    parts = _without_glob(name.rstrip("/").split("/"))
    file = parts.pop() if len(parts) > 1 and _FILE.fullmatch(parts[-1]) else None
    tail = _tail(parts)
    head = parts[: len(parts) - len(tail)]
    if not any(head):
        return whole, None
    if file and not tail and not streaming and not _PART_FILE.match(file):
        return whole, None
    return DatasetRef(namespace, "/".join(head)), key_of(tail)


def _without_glob(parts: list[str]) -> list[str]:
    """An RDD's input is named as it was asked for, `raw/orders/dt=2026-11-01/*.csv`: what is above the pattern."""
    first = next((place for place, part in enumerate(parts) if _GLOB.search(part)), len(parts))
    return parts[:first] if any(parts[:first]) else parts


def keys_of(dataset: DatasetRef, locations: list[str]) -> tuple[str, ...]:
    """The partition keys of locations that lie under a dataset; one that names no partition is left out."""
    keys = {_key_below(dataset, location) for location in locations}
    return tuple(sorted(key for key in keys if key is not None))


def _key_below(dataset: DatasetRef, location: str) -> str | None:
    """What a producer cut off a location to name the dataset is a partition, in whatever form it is written."""
    head, parts = dataset.name.rstrip("/").split("/"), location.rstrip("/").split("/")
    if is_path(dataset.namespace) and parts[: len(head)] == head:
        below = parts[len(head) :]
        return key_of(below[:-1] if below and _FILE.fullmatch(below[-1]) else below)
    return split(dataset.namespace, location)[1]


def of_uri(uri: str) -> DatasetRef | None:
    """The dataset of an Airflow dataset's URI, named as OpenLineage names it; None when it has no scheme."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if not parts.scheme:
        return None
    if parts.scheme == "file":
        return DatasetRef("file", parts.path or "/")
    name = parts.path.strip("/") or parts.netloc
    return DatasetRef(f"{parts.scheme}://{parts.netloc}", name) if name else None


def _tail(parts: list[str]) -> list[str]:
    """The longest run of partition directories at the end."""
    cut = len(parts)
    while size := _directories(parts[:cut]):
        cut -= size
    return parts[cut:]


def _directories(parts: list[str]) -> int:
    """How many directories the last step of a partition takes: 2026/11/01/03 four, ds=2026-11-01 one, none 0."""
    for size, shape in ((4, _is_split_hour), (3, _is_split_day), (2, _is_hour_of_day), (2, _is_split_month)):
        if len(parts) > size and shape(parts[-size:]):
            return size
    return 1 if parts and _is_partition(parts[-1]) else 0


def _is_partition(part: str) -> bool:
    return any(shape.fullmatch(part) for shape in (_PAIR, _DAY, _DOTTED_DAY, _MONTH))


def _is_split_hour(parts: list[str]) -> bool:
    return _is_split_day(parts[:3]) and bool(_HOUR.fullmatch(parts[3]))


def _is_split_day(parts: list[str]) -> bool:
    return _is_split_month(parts[:2]) and len(parts[2]) == 2 and _day(*parts) is not None


def _is_hour_of_day(parts: list[str]) -> bool:
    pair = _PAIR.fullmatch(parts[0])
    return _date(pair[2] if pair else parts[0], of="day") is not None and bool(_HOUR.fullmatch(parts[1]))


def _is_split_month(parts: list[str]) -> bool:
    year, month = parts
    return bool(_YEAR.fullmatch(year)) and len(month) == 2 and _day(year, month, "01") is not None


def _day(year: str, month: str, day: str) -> str | None:
    if not (_TWO.fullmatch(month) and _TWO.fullmatch(day)):
        return None
    return f"{year}-{month:0>2}-{day:0>2}" if 1 <= int(month) <= 12 and 1 <= int(day) <= 31 else None


def key_of(tail: list[str]) -> str | None:
    """The key that partition directories name: Dagster's strings, of several dimensions in their sorted order."""
    return key_of_values(_values(tail))


def key_of_values(values: dict[str, str]) -> str | None:
    """The key of directory values by name: a date and an hour are one time, `year`, `month`, `day` one date."""
    values = dict(values)
    _join_date(values)
    time_name = next((name for name in sorted(values) if _date(values[name])), None)
    if time_name is not None:
        values[time_name] = _date(values[time_name]) or ""
        hour = next((name for name in values if name.lower() in _HOURS and name != time_name), None)
        if hour is not None and _TWO.fullmatch(values[hour]) and ":" not in values[time_name]:
            values[time_name] += f"-{values.pop(hour):0>2}:00"
    return "|".join(values[name] for name in sorted(values)) or None


def _values(tail: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = list(tail)
    while rest:
        if len(rest) >= 3 and _is_split_day(rest[:3]):
            values["date"], rest = "-".join(rest[:3]), rest[3:]
        elif len(rest) >= 2 and _is_split_month(rest[:2]):
            values["date"], rest = "-".join(rest[:2]), rest[2:]
        elif pair := _PAIR.fullmatch(rest[0]):
            values[unquote(pair[1])], rest = unquote(pair[2]), rest[1:]
        else:
            values[_name_of(rest[0], values)], rest = rest[0], rest[1:]
    return values


def _name_of(directory: str, before: dict[str, str]) -> str:
    """The dimension of a directory without a name: its date, the hour of the date above it, or its place."""
    if _HOUR.fullmatch(directory) and any(_date(value) for value in before.values()):
        return "hour"
    return "date" if "date" not in before else f"directory {len(before)}"


def _join_date(values: dict[str, str]) -> None:
    names = {name.lower(): name for name in values}
    year, month, day = (next((names[n] for n in known if n in names), None) for known in (_YEARS, _MONTHS, _DAYS))
    if year is None or month is None or not _YEAR.fullmatch(values[year]):
        return
    joined = _day(values[year], values[month], values[day] if day else "01")
    if joined:
        for name in filter(None, (year, month, day)):
            values.pop(name)
        values["date"] = joined


def _date(value: str, of: Literal["day", "any"] = "any") -> str | None:
    """A time in Dagster's form; a month is the date it begins on. A stamp to the second is no date: it is a load's."""
    if match := _DAY.fullmatch(value):
        year, _, month, day, hour, minute, second = match.groups()
        if hour is None:
            return f"{year}-{month}-{day}"
        return None if of == "day" or int(second or 0) else f"{year}-{month}-{day}-{hour}:{minute or '00'}"
    if match := _DOTTED_DAY.fullmatch(value):
        return "-".join(reversed(match.groups()))
    if of == "any" and (match := _MONTH.fullmatch(value)):
        return f"{match[1]}-{match[2]}-01"
    return None
