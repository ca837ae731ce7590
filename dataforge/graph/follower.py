"""One graph per environment in memory, made anew when the graph in the database has moved.

Guarantees that whoever asks gets the graph of exactly the version he asks for: a caller who reads the version in
his own transaction is never behind his own write, and never ahead of what else he reads there.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # it brings scipy, half a second that whoever never asks for the graph need not wait for
    from dataforge.graph.sparse import Graph


class _Held(NamedTuple):
    version: int
    graph: Graph


class Follower:
    """Shared by all threads of a process, for one database."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loading: dict[int, Lock] = {}  # by environment, so that one load does not hold up the others
        self._held: dict[int, _Held] = {}

    def at(self, environment: int, version: int, load: Callable[[], Graph]) -> Graph:
        """The environment's graph of this version; `load` reads it in the caller's transaction when needed.

        Callers of one environment wait for each other, so a new version is loaded once. One who still reads an
        older version than is held loads it for himself.
        """
        with self._lock:
            loading = self._loading.setdefault(environment, Lock())
        with loading:
            held = self._held.get(environment)
            if held is not None and held.version == version:
                return held.graph
            graph = load()
            if held is None or held.version < version:
                self._held[environment] = _Held(version, graph)
            return graph
