"""What partitions a task has that was only observed: those of its schedule, else those its data intervals fit.

Guarantees that the answer follows from the set of what was observed, whatever its order.
"""

import re

from dataforge.model.attempt import Interval
from dataforge.model.partition import NONE, Kind, Partitioning, at_edge
from dataforge.model.partition_check import problems

_PRESETS = {  # Airflow's names for schedules
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_NUMBER = r"(\d{1,2})"
_SHAPES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("hourly", re.compile(rf"{_NUMBER} \* \* \* \*")),
    ("daily", re.compile(rf"{_NUMBER} {_NUMBER} \* \* \*")),
    ("weekly", re.compile(rf"{_NUMBER} {_NUMBER} \* \* ([0-7])")),
    ("monthly", re.compile(rf"{_NUMBER} {_NUMBER} {_NUMBER} \* \*")),
)


def of_cron(expression: str, time_zone: str) -> Partitioning | None:
    """The partitioning whose windows begin at the ticks of a schedule; None when it is no cron schedule.

    The four plain shapes become hourly, daily, weekly and monthly, so that their keys are Dagster's for those.
    """
    cron = " ".join(_PRESETS.get(expression.strip(), expression).split())
    for kind, shape in _SHAPES:
        if (match := shape.fullmatch(cron)) and (kind != "monthly" or 1 <= int(match[3]) <= 28):  # every month has it
            candidate = _plain(kind, [int(number) for number in match.groups()], time_zone)
            return candidate if not problems(candidate, "timetable") else None
    candidate = Partitioning(kind="cron", cron=cron, time_zone=time_zone)
    return candidate if not problems(candidate, "timetable") else None


def _plain(kind: Kind, numbers: list[int], time_zone: str) -> Partitioning:
    minute, hour, day = (*numbers, 0, 0)[:3]
    if kind == "weekly":
        day %= 7
    return Partitioning(kind=kind, time_zone=time_zone, minute_offset=minute, hour_offset=hour, day_offset=day)


# Observed partitioning. Each interval of a task that was only observed says which windows it fits; the set of
# windows that fit them all is the bitwise and of what each says, so it is the same whatever the order.
GRAINS: tuple[tuple[int, Kind], ...] = ((8, "monthly"), (4, "weekly"), (2, "daily"), (1, "hourly"))
NO_INTERVAL = 31  # the bit 16 stays until an interval was seen


def grains_of(interval: Interval) -> int:
    """The windows (a bit each, in UTC) at whose edges the interval begins and ends; for an empty one all."""
    if interval.empty:
        return NO_INTERVAL
    fits = 0
    for bit, kind in GRAINS:
        plain = Partitioning(kind=kind)
        if at_edge(plain, interval.start) and at_edge(plain, interval.end):
            fits |= bit
    return fits


def of_grains(grains: int) -> Partitioning:
    """The coarsest windows that fit every interval seen; no partitions when none was seen or none fits."""
    if grains & 16:
        return NONE
    return next((Partitioning(kind=kind) for bit, kind in GRAINS if grains & bit), NONE)
