"""The twin's facts: everything that was declared, recorded, ordered and leased until a moment, in plain lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.twin.ledger import View
from tests.twin.question import Definition, Lease
from tests.twin.run import Event


class Facts:
    """Everything that was said until a moment. `view` answers from it; a change makes a new view."""

    def __init__(self) -> None:
        self.declared: list[tuple[datetime, int, Definition]] = []  # from when on, its number, the manifest
        self.events: list[Event] = []
        self.orders: list[Event] = []
        self.jobs: list[Event] = []  # of Spark
        self.leases: dict[str, Lease] = {}  # those of which no end was written down
        self._view: View | None = None

    @property
    def view(self) -> View:
        if self._view is None:
            manifests = {}
            for _, _, manifest in sorted(self.declared, key=lambda each: each[:2]):
                manifests[manifest["source"]] = manifest
            self._view = View(
                manifests, list(self.events), list(self.orders), list(self.leases.values()), list(self.jobs)
            )
        return self._view

    def changed(self) -> None:
        """To be called after every change."""
        self._view = None

    def record(self, events: Sequence[Event]) -> None:
        """Events again say nothing new."""
        for event in events:
            into = self.orders if "control" in event else self.jobs if "eventTime" in event else self.events
            if event not in into:
                into.append(event)
        self.changed()

    def next_attempt(self, task: str, run: str) -> int:
        """One more than was ever claimed or reported of a run; a claim is reported as it begins."""
        known = self.view.runs.get((task, run))
        return known.last.number + 1 if known else 1

    def expire(self, now: datetime) -> None:
        """Leases that ran out end their attempts in failure, at the moment at which they did."""
        for lease in [each for each in self.leases.values() if each.until <= now]:
            del self.leases[lease.claim]
            self.record([event_of(lease, "failed", lease.until)])
        self.changed()


def event_of(lease: Lease, state: str, at: datetime, **more: Any) -> Event:
    """What a claim's begin and end say of its run."""
    named = {"partition": lease.key} if lease.key else {}
    task = {"namespace": "ns", "name": lease.task}
    told = {"time": at.isoformat(), "task": task, "run": lease.run, "attempt": lease.attempt, "state": state}
    return {**told, **named, **more}
