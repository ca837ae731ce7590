"""What a task or dataset effectively is: what was declared of it, and else what was observed."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from dataforge.model import partition, schedule
from dataforge.model.partition import Partitioning

Registers = Mapping[str, list[Any]]  # {field: [event time, event id, value]}
OBSERVED, DECLARED = "observed", "declared"


# dbt's unique ids begin with the kind of node. PostgreSQL reads the pattern as Python does.
DBT_TESTS = r"^(unit_)?test\."


def is_test(platform: str | None, name: str) -> bool:
    """Whether a task is one of dbt's tests, which dbt runs with what they test."""
    return platform == "dbt" and re.match(DBT_TESTS, name) is not None


class EffectiveTask(msgspec.Struct, frozen=True):
    """What counts of a task in every answer."""

    platform: str
    owner: str | None
    domain: str | None
    partitioning: Partitioning
    origin: str


def value(registers: Registers, field: str) -> Any:
    """The value of a register; None when nothing was observed."""
    found = registers.get(field)
    return found[2] if found else None


def merge_registers(first: Registers, second: Registers) -> dict[str, list[Any]]:
    """Of each field the value with the latest event time, then the greatest event id."""
    merged = dict(first)
    for field, register in second.items():
        seen = merged.get(field)
        if seen is None or (register[0], register[1]) > (seen[0], seen[1]):
            merged[field] = register
    return dict(sorted(merged.items()))


def effective(definition: Mapping[str, Any] | None, registers: Registers, platform: str, grains: int) -> EffectiveTask:
    """What counts of a task. A definition counts field by field: what it leaves out stays as it was observed."""
    declared = definition or {}
    cut = {"kind": "none"} if declared.get("trigger") else declared.get("partitioning")
    return EffectiveTask(
        platform=declared.get("platform") or platform,
        owner=declared.get("owner") or value(registers, "owner"),
        domain=declared.get("domain"),
        partitioning=partition.from_json(cut) if cut else observed_partitioning(registers, grains),
        origin=DECLARED if cut else OBSERVED,
    )


def observed_partitioning(registers: Registers, grains: int) -> Partitioning:
    """The windows of the task's timetable, else the coarsest that fit every interval its runs had."""
    timetable = value(registers, "timetable")
    scheduled = schedule.of_cron(*timetable) if timetable else None
    return scheduled if scheduled is not None else schedule.of_grains(grains)
