"""How fast a backfill goes: what may be released now, and when it will have ended.

Guarantees that no cap, budget or hour is exceeded by what is released, and that what fits is released in its order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from dataforge.model.backfill import AT_ONCE, Cap, Hours, Scope

_DAY = timedelta(days=1)
Limited = Literal["order", "caps", "budget", "nothing"]


class Nature(msgspec.Struct, frozen=True):
    """What of a task counts for caps and budgets."""

    task: str
    datasets: tuple[str, ...] = ()  # that it writes
    pools: tuple[str, ...] = ()
    domain: str | None = None
    cost: float = 1.0  # of one run

    def names(self, scope: Scope) -> tuple[str, ...]:
        """What a cap of this scope may call it by."""
        match scope:
            case "all":
                return ("",)
            case "task":
                return (self.task,)
            case "dataset":
                return self.datasets
            case "pool":
                return self.pools
            case "domain":
                return (self.domain,) if self.domain is not None else ()


class Room:
    """What may still be released. `spent` is what was released within the last hour, in cost units."""

    def __init__(self, caps: Sequence[Cap], under_way: Iterable[Nature], budget: float | None, spent: float) -> None:
        self._caps = caps if any(cap.scope == "all" for cap in caps) else (*caps, Cap("all", AT_ONCE))
        self._left = None if budget is None else budget - spent
        self._taken: dict[tuple[int, str], int] = {}
        self._fresh = not spent
        for each in under_way:
            self._take(each)

    def admits(self, nature: Nature) -> bool:
        """Whether one more may be released; if so it is counted. A run that costs more than the budget of an hour is
        released when nothing else was in that hour, since it would never be."""
        if any(self._taken.get(key, 0) >= cap.at_once for key, cap in self.keys(nature)):
            return False
        if self._left is not None and nature.cost:
            if nature.cost > self._left and not self._fresh:
                return False
            self._left, self._fresh = self._left - nature.cost, False
        self._take(nature)
        return True

    def _take(self, nature: Nature) -> None:
        for key, _ in self.keys(nature):
            self._taken[key] = self._taken.get(key, 0) + 1

    def keys(self, nature: Nature) -> Iterator[tuple[tuple[int, str], Cap]]:
        """The caps that count it, each with what it counts it as."""
        for place, cap in enumerate(self._caps):
            for name in nature.names(cap.scope):
                if cap.name is None or cap.name == name:
                    yield (place, name), cap


def is_open(hours: Hours | None, now: datetime) -> bool:
    """Whether anything is released at this time of day."""
    if hours is None:
        return True
    begin, end = _bounds(hours)
    local = now.astimezone(ZoneInfo(hours.time_zone)).time()
    return begin <= local < end if begin < end else local >= begin or local < end


def ends_at(hours: Hours | None, now: datetime, seconds: float) -> datetime:
    """When so much time has passed of that in which anything is released. Days are taken for 24 hours long."""
    left = timedelta(seconds=min(seconds, 1e9))
    if hours is None or not left:
        return now + left
    zone = ZoneInfo(hours.time_zone)
    local = now.astimezone(zone)
    begin, end = (timedelta(hours=at.hour, minutes=at.minute) for at in _bounds(hours))
    length = (end - begin) % _DAY
    past = (timedelta(hours=local.hour, minutes=local.minute, seconds=local.second) - begin) % _DAY  # since it opened
    if past < length and left <= length - past:
        return now + left
    left -= max(length - past, timedelta(0))
    nights, rest = divmod(left, length)
    if not rest and nights:
        nights, rest = nights - 1, length
    return now + (_DAY - past) + nights * _DAY + rest


def _bounds(hours: Hours) -> tuple[time, time]:
    return time.fromisoformat(hours.begin), time.fromisoformat(hours.end)


class Runs(NamedTuple):
    """Runs of one task."""

    nature: Nature
    number: int
    seconds: float  # of each


def durations(
    waves: Iterable[Collection[Runs]], caps: Sequence[Cap], budget: float | None
) -> Iterator[tuple[float, Limited]]:
    """After how many seconds each wave has ended, at the least, and what limits it until then."""
    room = Room(caps, (), None, 0.0)
    order = cost = 0.0
    work: dict[tuple[int, str], float] = {}  # in seconds, by what a cap counts it as
    capped = 0.0
    for wave in waves:
        order += max((runs.seconds for runs in wave), default=0.0)
        for nature, number, seconds in wave:
            cost += nature.cost * number
            for key, cap in room.keys(nature):
                work[key] = work.get(key, 0.0) + number * seconds
                capped = max(capped, work[key] / cap.at_once)
        paid = 3600.0 * max(cost - budget, 0.0) / budget if budget else 0.0  # the first hour's may begin at once
        longest = max(order, capped, paid)
        if not longest:
            yield 0.0, "nothing"
        else:
            yield longest, "order" if longest == order else "caps" if longest == capped else "budget"
