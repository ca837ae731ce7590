"""One graph per environment in memory, which follows the graph in the database.

Guarantees that whoever asks gets the graph of exactly the version he asks for: a caller who reads the version in
his own transaction is never behind his own write, and never ahead of what else he reads there.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # it brings scipy, half a second that whoever never asks for the graph need not wait for
    from dataforge.graph.shown import Shown
    from dataforge.graph.sparse import Graph

Read = Callable[[], "Shown"]
Follow = Callable[["Shown", int], "Shown | None"]


class _Held(NamedTuple):
    version: int
    shown: Shown


class Follower:
    """Shared by all threads of a process, for one database."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._moving: dict[int, Lock] = {}  # by environment, so that one does not hold up the others
        self._held: dict[int, _Held] = {}

    def at(self, environment: int, version: int, read: Read, follow: Follow) -> Graph | None:
        """The environment's graph of this version; None where a newer one is held, since others have gone on: whoever
        begins anew finds that one or a newer one.

        `follow` brings what is held from its version to the one asked for; where it cannot, and at first, `read` reads
        everything; both in the caller's transaction. Callers of one environment wait for each other: each is done once.
        """
        with self._lock:
            moving = self._moving.setdefault(environment, Lock())
        with moving:
            held = self._held.get(environment)
            if held is not None and held.version > version:
                return None
            if held is None or held.version < version:
                followed = follow(held.shown, held.version) if held is not None else None
                held = self._held[environment] = _Held(version, read() if followed is None else followed)
            return held.shown.graph
