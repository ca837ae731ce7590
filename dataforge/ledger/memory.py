"""What a process remembers of tasks, datasets and edges from one question to the next.

Guarantees that what is remembered is what a query in the same transaction would find. Each change has a version and
says whose rows it concerns (migration 0043): whoever sees a newer version than anybody before forgets those. Whoever
sees an older one takes of what is left only what was read no later. A transaction that has changed nodes itself reads
the tables, and what anybody read is remembered only if nothing has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache, partial
from threading import Lock
from typing import Any, TypeAlias, TypeVar

from dataforge.storage import node_change as changes
from dataforge.storage import readiness as storage
from dataforge.storage.database import Connection
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import EdgeRow, Node, NodeRow, Producer, Subject

MOST_ROWS = 300_000  # about 200 bytes each, and 150 of an outline; where there are more, all are forgotten
_Key = TypeVar("_Key", int, Node)
_Row = TypeVar("_Row")
_Rows: TypeAlias = "dict[_Key, tuple[int, _Row]]"
_Read: TypeAlias = "tuple[dict[Any, tuple[int, Any]], Mapping[Any, Any], int]"  # where to, what, how many rows


class _Memory:
    """Rows of an environment of a server by what they are of, each beside the version that it was read at."""

    def __init__(self, server: tuple[str, int, str] | None, environment: int) -> None:
        self.server = server
        self._environment = environment
        self._turn = Lock()
        self._version = 0
        self._size = 0
        self.subjects: _Rows[int, Subject] = {}
        self.edges: _Rows[int, list[EdgeRow]] = {}
        self.nodes: _Rows[Node, NodeRow] = {}
        self.producers: _Rows[int, list[Producer]] = {}
        self.derived: dict[type, _Rows[int, Any]] = {}  # from all of them, so that any change ends it

    def follow(self, connection: Connection, version: int) -> None:
        """Forgets what was changed up to a version."""
        with self._turn:
            if version <= self._version:
                return
            found = changes.since(connection, self._environment, self._version)
            if found is None:
                self._forget_all()
            else:
                self._forget(found)
            self._version = version

    def keep(self, version: int, read: Iterable[_Read]) -> None:
        """Remembers what was read at a version, unless somebody has gone on from it."""
        with self._turn:
            for rows, found, size in read if version == self._version else ():
                self._size += size
                if self._size > MOST_ROWS:
                    self._forget_all()
                rows.update({key: (version, row) for key, row in found.items()})

    def _forget(self, found: Iterable[changes.NodesChanged]) -> None:
        self.derived = {}
        for each in found:
            for task in each.tasks:
                self.subjects.pop(task, None)
                self.edges.pop(task, None)
                self.nodes.pop(("task", task), None)
            for dataset in each.datasets:
                self.nodes.pop(("dataset", dataset), None)
                self.producers.pop(dataset, None)

    def _forget_all(self) -> None:
        self.derived = {}
        for rows in (self.subjects, self.edges, self.nodes, self.producers):
            rows.clear()
        self._size = 0


_memory = lru_cache(maxsize=8)(_Memory)


class Nodes:
    """Tasks, datasets and edges as one transaction sees them, and from when on windows have states. In a snapshot the
    moment is known already, by the environment."""

    def __init__(self, connection: Connection, environment: int, still: Environment | None = None) -> None:
        self._here = (connection, environment)
        self._still = still is not None  # in a snapshot nothing changes
        if still is not None:
            moment = changes.Moment(still.nodes_version, own=False, known_from=still.states_known_from)
        else:
            moment = changes.moment(connection, environment)
        self._version, own, self.known_from = moment
        at = connection.info
        self._memory = _Memory(None, environment) if own else _memory((at.host, at.port, at.dbname), environment)
        self._read: list[_Read] = []
        if not own:
            self._memory.follow(connection, self._version)

    def subjects(self, tasks: Collection[int]) -> dict[int, Subject]:
        """The tasks, by id."""
        return self._recall(self._memory.subjects, tasks, partial(storage.subjects, *self._here))

    def edges(self, tasks: Collection[int]) -> dict[int, list[EdgeRow]]:
        """What each of these tasks consumes and produces."""
        return self._recall(self._memory.edges, tasks, partial(storage.edges, *self._here))

    def nodes(self, wanted: Collection[Node]) -> dict[Node, NodeRow]:
        """These tasks and datasets."""
        return self._recall(self._memory.nodes, wanted, partial(storage.nodes, *self._here))

    def producers(self, datasets: Collection[int]) -> dict[int, list[Producer]]:
        """The tasks that write each of these datasets under any of their names, by canonical id."""
        return self._recall(self._memory.producers, datasets, partial(_producers, *self._here))

    def derived(
        self, kind: type[_Row], tasks: Collection[int], derive: Callable[[Nodes, Collection[int]], dict[int, _Row]]
    ) -> dict[int, _Row]:
        """What follows of each of these tasks from such rows alone."""
        found = self._recall(self._memory.derived.setdefault(kind, {}), tasks, partial(derive, self))
        self.remember()
        return found

    def remember(self) -> None:
        """Keeps what was read for whoever asks next."""
        if self._read and (self._still or changes.moment(*self._here)[:2] == (self._version, False)):
            self._memory.keep(self._version, self._read)
        self._read = []

    def _recall(
        self, rows: _Rows[_Key, _Row], wanted: Collection[_Key], read: Callable[[Collection[_Key]], dict[_Key, _Row]]
    ) -> dict[_Key, _Row]:
        known = {each: row[1] for each in wanted if (row := rows.get(each)) is not None and row[0] <= self._version}
        if len(known) == len(wanted):
            return known
        found = read([each for each in wanted if each not in known])
        self._read.append((rows, found, sum(map(_size, found.values()))))
        return known | found


def _producers(connection: Connection, environment: int, datasets: Collection[int]) -> dict[int, list[Producer]]:
    """Of a dataset that nobody writes that too is worth remembering."""
    found = storage.producers(connection, environment, datasets)
    return {dataset: found.get(dataset, []) for dataset in datasets}


def _size(row: object) -> int:
    return len(row) if isinstance(row, list) else 1
