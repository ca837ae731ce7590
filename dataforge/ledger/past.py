"""The graph as of a time, walked from one node through the edges that held then.

Guarantees a bounded cost: each step reads the edges of the nodes it has come to, and the walk ends at `_MOST_NODES`.
Nothing is kept of it, so a declaration or an event that comes late is seen by the next question about that time.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from dataforge.graph.sparse import Node
from dataforge.model.event import Relation
from dataforge.model.lineage import Window
from dataforge.storage import past
from dataforge.storage.database import Connection
from dataforge.storage.past import PastEdge

Way = Literal["upstream", "downstream"]
Row = tuple[int, ...]  # as storage.graph reads an edge
_MOST_NODES = 5_000  # walked to in one direction, those of a hidden kind too
_MOST_EDGES = 100_000  # read in one step, and of all nodes found: about half a second
_RELATIONS: tuple[Relation, ...] = ("consumes", "produces", "runs")


class Walk:
    """One question about one moment, in one transaction."""

    def __init__(self, connection: Connection, environment: int, at: datetime) -> None:
        self._connection = connection
        self._environment = environment
        self._at = at
        self.truncated = False

    def around(self, start: Node, window: Window) -> list[Row]:
        """The edges among all that the window can show, and perhaps more; what the walk left out is `truncated`."""
        found = {start}
        ways: tuple[Way, ...] = ("upstream", "downstream") if window.direction == "both" else (window.direction,)
        for way in ways:
            found |= self._reach(start, way, window.depth if window.kind is None else None)
        edges = past.of_tasks(
            self._connection, self._environment, self._at, _ids(found, "task"), _RELATIONS, _MOST_EDGES
        )
        self.truncated |= len(edges) == _MOST_EDGES
        return [_row(edge) for edge in edges if Node("task", edge[0]) in found and Node(edge[2], edge[3]) in found]

    def _reach(self, start: Node, way: Way, depth: int | None) -> set[Node]:
        found, ahead, steps = {start}, {start}, 0
        while ahead and (depth is None or steps < depth):
            ahead = self._beside(ahead, way) - found
            if len(found) + len(ahead) > _MOST_NODES:
                self.truncated = True
                ahead = set(sorted(ahead)[: _MOST_NODES - len(found)])
            found |= ahead
            steps += 1
        return found

    def _beside(self, nodes: set[Node], way: Way) -> set[Node]:
        """What lies one step up or down from these."""
        up = way == "upstream"
        own = self._of_tasks(nodes, ("consumes",) if up else ("produces", "runs"))
        others = self._of_nodes(nodes, "task", ("runs",) if up else ("consumes",))
        others += self._of_nodes(nodes, "dataset", ("produces",) if up else ("consumes",))
        return {Node(edge[2], edge[3]) for edge in own} | {Node("task", edge[0]) for edge in others}

    def _of_tasks(self, nodes: set[Node], relations: tuple[Relation, ...]) -> list[PastEdge]:
        ids = _ids(nodes, "task")
        if not ids:
            return []
        found = past.of_tasks(self._connection, self._environment, self._at, ids, relations, _MOST_EDGES)
        self.truncated |= len(found) == _MOST_EDGES
        return found

    def _of_nodes(
        self, nodes: set[Node], kind: Literal["task", "dataset"], relations: tuple[Relation, ...]
    ) -> list[PastEdge]:
        ids = _ids(nodes, kind)
        if not ids:
            return []
        named = [(i, i) for i in ids] if kind == "task" else past.names(self._connection, self._environment, ids)
        found = past.of_nodes(self._connection, self._environment, self._at, (kind, named), relations, _MOST_EDGES)
        self.truncated |= len(found) == _MOST_EDGES
        return found


def _ids(nodes: Iterable[Node], kind: Literal["task", "dataset"]) -> list[int]:
    return sorted(node.id for node in nodes if node.kind == kind)


def _row(edge: PastEdge) -> Row:
    task, relation, kind, node, declared = edge
    is_dataset = int(kind == "dataset")
    if relation == "consumes":
        return (is_dataset, node, 0, task, int(declared))
    return (0, task, is_dataset, node, int(declared))
