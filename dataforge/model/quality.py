"""Failed checks: what holds a partition back, and what is to be said of one that is held back.

Guarantees that a failure stays known, whatever the same check says later: data that a check has refused once is not
better for being looked at again. Of several failures in one attempt the latest counts, since who releases a partition
releases it from all that had been found by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

_MOST_NAMED = 3  # checks of one event; of the others how many they are


class Failure(msgspec.Struct, frozen=True, array_like=True, order=True):
    """That blocking checks failed, as one event says; the later is the greater."""

    at: str  # ISO 8601 in UTC, so that text sorts by time
    event: str  # hex
    checks: str  # the names of the first of them
    number: int  # how many there are
    version: str = ""  # of the data that was looked at; '' where nobody says

    @classmethod
    def of(cls, checks: Iterable[str], at: datetime, event: bytes, version: str | None = None) -> Failure | None:
        """The failure of these checks; None of none."""
        names = sorted(set(checks))
        if not names:
            return None
        time = at.astimezone(UTC).isoformat(timespec="microseconds")
        return cls(time, event.hex(), ", ".join(names[:_MOST_NAMED]), len(names), version or "")

    @property
    def moment(self) -> datetime:
        """When it was said."""
        return datetime.fromisoformat(self.at)


def later(first: Failure | None, second: Failure | None) -> Failure | None:
    """Of two failures the one that counts; commutative, associative and idempotent."""
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Why a partition is quarantined: by checks, or by an order."""

    at: datetime
    checks: str | None = None
    number: int = 0  # how many failed since
    task: str | None = None  # that made the first of them
    run: str | None = None
    error: str | None = None  # in its own words
    by: str | None = None  # who ordered it
    reason: str | None = None

    @property
    def said(self) -> str:
        """Why, to go on with after `is quarantined`."""
        if self.checks is None:
            return f" by {self.by}" + (f": {self.reason}" if self.reason else "")
        named = self.checks.count(", ") + 1
        more = f" and {self.number - named} more" if self.number > named else ""
        told = f": {self.error}" if self.error else ""
        checks = f"the check {self.checks}" if self.number == 1 else f"the checks {self.checks}{more}"
        return f", because {checks} failed with severity error (by {self.task}, run {self.run}){told}"


def remedy(kind: str, name: str, partition: str) -> str:
    """What lets a quarantined partition go, to end a sentence with."""
    option = "--dataset " if kind == "dataset" else ""
    return (
        f"; run it again, or release it: dataforge control release {option}{name} {partition}".rstrip()
        + " --reason ..."
    )
