"""What the graph in memory shows of the edges in the tables, and how a copy follows what became of them.

Steps are parts of a task and no nodes; a dataset stands under the one of its names that stands for all. Guarantees that
a copy that has followed is the one that would be read anew: rows of edges are added up, and those of a task or dataset
that stands otherwise than before are taken away as they were shown, and added as they are shown now.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataforge.graph.sparse import EMPTY, Counts, End, Graph, Ids, Rows

Columns = Mapping[str, NDArray[Any]]


class Standing(NamedTuple):
    """Which tasks are steps, in order; and for which names of datasets, in order, which others stand."""

    steps: Ids
    names: Ids
    canonical: Ids

    def after(self, steps: Columns, names: Columns) -> "Standing":
        """With these tasks (`id`, whether a `step`) and datasets (`id`, and the `canonical` one) as they stand now."""
        now = steps["step"] > 0
        others = ~np.isin(self.names, names["id"])
        renamed = names["canonical"] != names["id"]
        ids = np.concatenate((self.names[others], names["id"][renamed]))
        canonical = np.concatenate((self.canonical[others], names["canonical"][renamed]))
        order = np.argsort(ids)
        return Standing(
            np.union1d(np.setdiff1d(self.steps, steps["id"][~now]), steps["id"][now]), ids[order], canonical[order]
        )

    def rows(self, edges: Columns, counts: Counts) -> Rows:
        """What is shown of these edges (`task`, `node`, `consumes`, `of_dataset`, `declared`), each of which counts."""
        if len(self.steps):
            shown = ~np.isin(edges["task"], self.steps)
            shown &= edges["of_dataset"] | ~np.isin(edges["node"], self.steps)
            edges, counts = {name: values[shown] for name, values in edges.items()}, counts[shown]
        task, node, of_dataset = edges["task"], edges["node"], edges["of_dataset"]
        if len(self.names):
            node = np.where(of_dataset, self._canonical(node), node)
        one, other = End(task, np.zeros(len(task), dtype=bool)), End(node, of_dataset)
        return Rows.of(one, other, ~edges["consumes"], edges["declared"], counts)

    def _canonical(self, nodes: Ids) -> Ids:
        place = np.minimum(np.searchsorted(self.names, nodes), len(self.names) - 1)
        return np.where(self.names[place] == nodes, self.canonical[place], nodes)


class Shown(NamedTuple):
    """A copy of the graph, and how tasks and datasets stand in it."""

    graph: Graph
    standing: Standing

    def after(self, edges: Columns, steps: Columns, names: Columns, around: Columns) -> "Shown":
        """After the changes that `storage.graph` reads of the log."""
        standing = self.standing.after(steps, names)
        graph = _and(self.graph, self.standing.rows(edges, np.where(edges["added"], np.int32(1), np.int32(-1))))
        once = np.ones(len(around["task"]), dtype=np.int32)
        graph = _and(graph, self.standing.rows(around, -once))
        return Shown(_and(graph, standing.rows(around, once)), standing)


def shown(edges: Columns, steps: Columns, aliases: Columns) -> Shown:
    """The copy of all edges, as `storage.graph` reads them."""
    order = np.argsort(aliases["id"])
    standing = Standing(np.sort(steps["id"]), aliases["id"][order], aliases["canonical"][order])
    return Shown(_and(EMPTY, standing.rows(edges, np.ones(len(edges["task"]), dtype=np.int32))), standing)


def _and(graph: Graph, rows: Rows) -> Graph:
    return graph.changed(rows) if len(rows.weights) else graph
