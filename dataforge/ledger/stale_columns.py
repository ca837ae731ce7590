"""What is known of each partition that a search for what is stale looked at, in one table of columns.

A partition goes by its place among all of them; what nothing has happened to has one too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataforge.model.freshness import RunKey
from dataforge.storage import freshness_columns as storage
from dataforge.storage.database import Connection
from dataforge.storage.freshness_columns import Stood
from dataforge.storage.readiness import Node, Place

Places = NDArray[np.int64]

_COLUMNS = np.dtype(
    [
        ("is_task", "?"),
        ("there", "?"),  # whether anything has happened to it
        ("ready", "?"),
        ("run", "i8"),  # the number of the run that made it last; -1 of what was never made
        ("ended", "f8"),  # when it was made, in seconds since 1970
        ("versioned", "?"),  # whether its version is known
        ("begun", "f8"),  # when the run began that made it, or else when it was made
        ("parent", "i8"),  # the task whose run that one ran within; -1 of none
        ("wanted", "?"),  # whether it is to be compared with what it is made from
        ("seen", "?"),  # whether it was
        ("simple", "?"),  # and whether runs and times told all
        ("changed", "?"),  # whether what it is made from has changed
        ("stale", "?"),  # and whether it is stale by that or by itself
    ]
)


class Columns:
    """Partitions, and by their places what is known of them."""

    def __init__(self, connection: Connection, environment: int) -> None:
        self._connection, self._environment = connection, environment
        self._table: NDArray[Any] = np.zeros(0, _COLUMNS)
        self._at: dict[Node, dict[str, int]] = {}
        self._numbers: dict[RunKey, int] = {}
        self._runs: list[RunKey] = []  # by number
        self.names: list[Place] = []

    def __getitem__(self, column: str) -> NDArray[Any]:
        found: NDArray[Any] = self._table[column]
        return found

    def read(self, of: Mapping[Node, Collection[str]]) -> list[Stood]:
        """Reads how these partitions stand, unless it is known, and returns what it has read."""
        unread = {node: more for node, keys in of.items() if (more := set(keys).difference(self._at.get(node, ())))}
        if not unread:
            return []
        for node, keys in unread.items():
            begin, ordered = len(self.names), sorted(keys)
            self._at.setdefault(node, {}).update(zip(ordered, range(begin, begin + len(keys)), strict=True))
            self.names += [(*node, key) for key in ordered]
        self._grow()
        found = list(storage.stood(self._connection, self._environment, unread))
        for each in found:
            self._keep(each)
        return found

    def _grow(self) -> None:
        begin = len(self._table)
        more = np.zeros(len(self.names) - begin, _COLUMNS)
        more["run"], more["parent"], more["ended"], more["begun"] = -1, -1, np.nan, np.nan
        more["is_task"] = [kind == "task" for kind, _, _ in self.names[begin:]]
        self._table = np.concatenate((self._table, more))

    def _keep(self, found: Stood) -> None:
        at = self.at(found.node, found.keys)
        self["there"][at] = True
        self["ready"][at] = [status == "ready" for status in found.statuses]
        self["versioned"][at] = found.versioned
        self["run"][at] = [self._number(task, run) for task, run in zip(found.tasks, found.runs, strict=True)]
        self["ended"][at] = ended = np.array(found.ended, np.float64)
        began = np.array(found.began, np.float64)
        self["begun"][at] = np.where(np.isnan(began), ended, began)
        self["parent"][at] = [-1 if parent is None else parent for parent in found.parents]

    def _number(self, task: int | None, run: str | None) -> int:
        if task is None or run is None:
            return -1
        number = self._numbers.setdefault((task, run), len(self._runs))
        if number == len(self._runs):
            self._runs.append((task, run))
        return number

    def at(self, node: Node, keys: Collection[str]) -> Places:
        """The places of these partitions of a node, which were read."""
        return np.fromiter(map(self._at.get(node, {}).__getitem__, keys), np.int64, len(keys))

    def place(self, name: Place) -> int:
        """The place of one partition, which was read."""
        return self._at[name[:2]][name[2]]

    def named(self, places: Places) -> list[Place]:
        """What these places are called."""
        return [self.names[at] for at in places.tolist()]

    def made(self, places: Places) -> list[RunKey]:
        """By which runs these were made last, each of which was."""
        return [self._runs[run] for run in self["run"][places].tolist()]

    def unseen(self) -> Places:
        """What was made and is to be compared."""
        return np.flatnonzero(self["wanted"] & ~self["seen"] & (self["run"] >= 0))
