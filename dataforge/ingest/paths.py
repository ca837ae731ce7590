"""Where a path ends a dataset's name and begins a partition's: `raw/orders/ds=2026-11-01/part-0.csv`.

Guarantees that a dataset has one name whether a producer trims its partition directories (Spark's listener
since 1.39), names them (older ones, trimmers switched off) or names single files (a CSV read with a header).
The rules are those of OpenLineage's Spark trimmers: key=value, 2026-11-01, 20261101, 2026-11, 2026/11/01.
"""

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from dataforge.model.reference import DatasetRef

_STORES = frozenset(
    ("file", "s3", "s3a", "s3n", "gs", "hdfs", "webhdfs", "viewfs", "abfs", "abfss", "wasb", "wasbs", "adl", "dbfs")
)
_ISO_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_COMPACT_DAY = re.compile(r"((?:19|20)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_YEAR = re.compile(r"(?:19|20)\d{2}")
_TWO = re.compile(r"\d{1,2}")
_PAIR = re.compile(r"([^=/]+)=([^/]*)")
_FILE = re.compile(
    r"[^/]+\.(?:csv|tsv|json|jsonl|ndjson|txt|xml|parquet|orc|avro|gz|bz2|zst|snappy|lz4|deflate)", re.IGNORECASE
)
_PART_FILE = re.compile(r"part[-_]?\d", re.IGNORECASE)
_HOURS = frozenset({"hour", "hh", "hr", "h"})


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
    parts = name.rstrip("/").split("/")
    file = parts.pop() if len(parts) > 1 and _FILE.fullmatch(parts[-1]) else None
    tail = _tail(parts)
    head = parts[: len(parts) - len(tail)]
    if not any(head):
        return whole, None
    if file and not tail and not streaming and not _PART_FILE.match(file):
        return whole, None
    return DatasetRef(namespace, "/".join(head)), key_of(tail)


def keys_of(dataset: DatasetRef, locations: list[str]) -> tuple[str, ...]:
    """The partition keys of locations that lie under a dataset; one that names no partition is left out."""
    keys = set()
    for location in locations:
        _, key = split(dataset.namespace, location)
        if key is not None:
            keys.add(key)
    return tuple(sorted(keys))


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
    while cut > 0:
        if cut >= 3 and _is_split_day(parts[cut - 3 : cut]):
            cut -= 3
        elif _is_partition(parts[cut - 1]):
            cut -= 1
        else:
            break
    return parts[cut:]


def _is_partition(part: str) -> bool:
    return any(shape.fullmatch(part) for shape in (_PAIR, _ISO_DAY, _COMPACT_DAY, _MONTH))


def _is_split_day(parts: list[str]) -> bool:
    year, month, day = parts
    return bool(_YEAR.fullmatch(year) and len(month) == len(day) == 2 and _day(year, month, day))


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
        hour = next((name for name in values if name.lower() in _HOURS), None)
        if hour is not None and _TWO.fullmatch(values[hour]):
            values[time_name] += f"-{values.pop(hour):0>2}:00"
    return "|".join(values[name] for name in sorted(values)) or None


def _values(tail: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = list(tail)
    while rest:
        if len(rest) >= 3 and _is_split_day(rest[:3]):
            values["date"], rest = "-".join(rest[:3]), rest[3:]
        elif pair := _PAIR.fullmatch(rest[0]):
            values[unquote(pair[1])], rest = unquote(pair[2]), rest[1:]
        else:
            values["date"], rest = rest[0], rest[1:]
    return values


def _join_date(values: dict[str, str]) -> None:
    names = {name.lower(): name for name in values}
    parts = [names.get(name) for name in ("year", "month", "day")]
    if None not in parts:
        year, month, day = (values[name] for name in parts if name)
        joined = _day(year, month, day)
        if joined:
            for name in parts:
                values.pop(name or "")
            values["date"] = joined


def _date(value: str) -> str | None:
    """A date in Dagster's form; a month is the date it begins on."""
    if match := _ISO_DAY.fullmatch(value) or _COMPACT_DAY.fullmatch(value):
        return _day(*match.groups())
    if match := _MONTH.fullmatch(value):
        return f"{match[1]}-{match[2]}-01"
    return None
