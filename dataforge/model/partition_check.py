"""What is wrong with a partitioning, found when it is declared.

Guarantees that a partitioning without problems has windows or keys that Dagster has too: nothing is said of it that
its kind does not heed, and no key of it is one that Dagster refuses.
"""

import re
from collections import Counter
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfoNotFoundError

from dataforge.model.errors import FieldError
from dataforge.model.partition import FIELDS, YEARS, Partitioning, bound, bounds_of, to_json
from dataforge.model.tick import zone_of

# Croniter's own, which Dagster has not: r and h are another schedule at each reading, 15w is a weekday near the 15th.
_NOT_CRON = re.compile(r"(?<![a-z])[rh](?![a-z])|[0-9]w", re.IGNORECASE)
_NOT_IN_KEYS = ("...", "\a", "\b", "\f", "\n", "\r", "\t", "\v", "\0")  # Dagster refuses these
_NOT_IN_DIMENSIONS = ("|", ",", "[", "]")  # and these where keys are joined


def problems(partitioning: Partitioning, field: str) -> list[FieldError]:
    """What is wrong with a partitioning, field by field; empty when nothing is."""
    checks = (_kind_problem, _zone_problem, _bound_problem, _offset_problem, _cron_problem, _keys_problem)
    return [error for check in (*checks, _product_problem) for error in check(partitioning, field)]


def _kind_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    """Fields that only another kind has."""
    own = FIELDS[partitioning.kind]
    expected = f"no such field: a partitioning of kind {partitioning.kind} has {', '.join(sorted(own)) or 'none'}"
    return [
        FieldError(f"{field}.{name}", value, expected)
        for name, value in to_json(partitioning).items()
        if name not in own and name != "kind"
    ]


def _zone_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    name = partitioning.time_zone
    return [] if is_zone(name) else [FieldError(f"{field}.time_zone", name, "a time zone such as Europe/Berlin")]


def is_zone(name: str) -> bool:
    try:
        zone_of(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, a name too long
        return False
    return name != "localtime"  # whatever the machine's is


def _bound_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    bounds = {name: getattr(partitioning, name) for name in ("start", "end")}
    expected = f"a date or time in the zone, such as 2026-01-01, from {YEARS[0]} to {YEARS[-1]} and without an offset"
    found = [
        FieldError(f"{field}.{name}", value, expected)
        for name, value in bounds.items()
        if value is not None and bound(value) is None
    ]
    if not found and None not in bounds.values() and is_zone(partitioning.time_zone):
        start, end = bounds_of(partitioning)
        if start is not None and end is not None and end <= start:
            found.append(FieldError(f"{field}.end", partitioning.end, f"a time after the start, {partitioning.start}"))
    return found


def _offset_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    monthly = partitioning.kind == "monthly"
    limits = {"minute_offset": (0, 59), "hour_offset": (0, 23), "day_offset": (1, 31) if monthly else (0, 6)}
    return [
        FieldError(f"{field}.{name}", offset, f"a number from {least} to {most}")
        for name, (least, most) in limits.items()
        if name in FIELDS[partitioning.kind] and (offset := getattr(partitioning, name)) and not least <= offset <= most
    ]


def _cron_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    if partitioning.kind != "cron" or (partitioning.cron and _ticks(partitioning.cron)):
        return []
    return [FieldError(f"{field}.cron", partitioning.cron, "a cron schedule of five fields such as 0 6 * * *")]


@lru_cache(maxsize=1_024)
def _ticks(cron: str) -> bool:
    """Whether windows can be laid by a schedule: of whole minutes, the same at each reading, and with a tick at all.
    The 30th of February has none; Dagster refuses it even beside a weekday, by which it has."""
    from croniter import CroniterError, croniter  # a slow import, and most calls need none

    if len(cron.split()) != 5 or _NOT_CRON.search(cron):
        return False
    try:
        croniter(cron, datetime(2000, 1, 1)).get_next(datetime)  # noqa: DTZ001 - a local time
        (_, _, days, months, _), *_ = croniter.expand(cron)
    except CroniterError:
        return False
    return not (months == [2] and days in ([30], [31]))


def _keys_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    if partitioning.kind == "static" and not partitioning.keys:
        return [FieldError(f"{field}.keys", [], "at least one key")]
    if partitioning.kind == "dynamic" and (not partitioning.set or "\0" in partitioning.set):
        return [FieldError(f"{field}.set", partitioning.set, "the name of the set of keys")]
    repeated = [key for key, count in Counter(partitioning.keys).items() if count > 1]
    if repeated:
        return [FieldError(f"{field}.keys", repeated, "each key once")]
    return _text_problem(partitioning, field, _NOT_IN_KEYS, "text without '...', line breaks, tabs and their like")


def _text_problem(partitioning: Partitioning, field: str, refused: tuple[str, ...], expected: str) -> list[FieldError]:
    return [
        FieldError(f"{field}.keys[{index}]", key, expected)
        for index, key in enumerate(partitioning.keys)
        if not key or any(text in key for text in refused)
    ]


def key_problem(key: str, field: str) -> FieldError | None:
    """What is wrong with a key of a dynamic set, which may cut one of two dimensions; None when nothing is."""
    if any(text in key for text in (*_NOT_IN_KEYS, *_NOT_IN_DIMENSIONS)):
        return FieldError(
            field, key.replace("\0", "\\0"), "text without '...', | , [ ], line breaks, tabs and their like"
        )
    return None


def _product_problem(partitioning: Partitioning, field: str) -> list[FieldError]:
    if partitioning.kind != "product":
        return []
    if len(partitioning.dimensions) != 2:
        expected = "exactly two dimensions, as Dagster has them"
        return [FieldError(f"{field}.dimensions", sorted(partitioning.dimensions), expected)]
    return [
        error
        for name, part in sorted(partitioning.dimensions.items())
        for error in _dimension_problem(name, part, f"{field}.dimensions")
    ]


def _dimension_problem(name: str, part: Partitioning, field: str) -> list[FieldError]:
    if not name.strip() or "\0" in name:
        return [FieldError(field, name, "a name of each dimension")]
    if part.kind in ("none", "product"):
        return [FieldError(f"{field}.{name}.kind", part.kind, "time windows, static or dynamic")]
    expected = "text without | , [ ], which join the keys of dimensions"
    at = f"{field}.{name}"
    return problems(part, at) or _text_problem(part, at, _NOT_IN_DIMENSIONS, expected)
