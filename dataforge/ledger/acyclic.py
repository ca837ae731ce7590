"""Whether a declaration would close a cycle, among all that sources have declared.

Guarantees an answer that does not depend on events: what was observed, edges and aliases alike, is a fact that
never stands in the way of a definition, so it does not matter which of the two came first.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from psycopg import Connection

from dataforge.graph import cycle
from dataforge.graph.cycle import Link, Name
from dataforge.model.declaration import CycleError, Plan
from dataforge.model.edge import strictly_earlier
from dataforge.model.manifest import Manifest, named
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.storage import definition as definitions
from dataforge.storage import edge as edges
from dataforge.storage import reference as references
from dataforge.storage.edge import DeclaredEdge


def refuse_cycles(connection: Connection, environment: int, decided: Plan, declared: Iterable[DeclaredEdge]) -> None:
    """Raises CycleError when the edges of the whole manifest (`declared`) would close one, with what other
    sources declare. What was registered before is free of cycles, so a new one leads through what changed."""
    changed = {task.ref.id for task in decided.tasks.written}
    renamed = {dataset.ref.id for dataset in decided.datasets.written if dataset.aliases}
    found = cycle.find(*_Search(connection, environment, decided, declared).downstream_of(changed, renamed))
    if found is not None:
        raise CycleError(_spelled(connection, environment, decided, found))


class _Search:
    """Collects what lies downstream, from the manifest and from the tables, one step of the graph at a time:
    its cost is that of what a change can reach, not of all there is."""

    def __init__(self, connection: Connection, environment: int, decided: Plan, own: Iterable[DeclaredEdge]) -> None:
        self._connection = connection
        self._environment = environment
        self._source = decided.manifest.source  # its edges in the tables are those of before
        self._edges: dict[int, list[DeclaredEdge]] = {}
        self._consumers: dict[tuple[NodeKind, int], set[int]] = {}
        self._aliases = _pairs(decided.manifest)
        for edge in own:
            self._edges.setdefault(edge.task_id, []).append(edge)
            if edge.relation == "consumes":
                self._consumers.setdefault((edge.node_kind, edge.node_id), set()).add(edge.task_id)

    def downstream_of(self, tasks: set[int], datasets: set[int]) -> tuple[list[Link], set[tuple[int, int]]]:
        """The edges of everything downstream of these, and the aliases of the datasets met."""
        links: list[Link] = []
        seen_tasks: set[int] = set()
        seen_datasets: set[int] = set()
        while tasks or datasets:
            datasets = self._all_names(datasets)
            seen_tasks |= tasks
            seen_datasets |= datasets
            found = self._edges_of(tasks)
            links += [_link(edge) for edge in found if not strictly_earlier(edge.relation, edge.mapping)]
            tasks = self._readers("task", tasks) | self._readers("dataset", datasets)
            tasks -= seen_tasks
            datasets = {edge.node_id for edge in found if edge.relation == "produces"} - seen_datasets
        return links, self._aliases

    def _edges_of(self, tasks: set[int]) -> list[DeclaredEdge]:
        stored = edges.declared_of_tasks(self._connection, self._environment, tasks, self._source)
        return stored + [edge for task in sorted(tasks) for edge in self._edges.get(task, ())]

    def _readers(self, kind: NodeKind, nodes: set[int]) -> set[int]:
        if not nodes:
            return set()
        stored = edges.declared_consumers(self._connection, self._environment, kind, nodes, self._source)
        return stored.union(*(self._consumers.get((kind, node), set()) for node in nodes))

    def _all_names(self, datasets: set[int]) -> set[int]:
        """The datasets with all names that mean the same, as far as they are declared."""
        names, new = set(datasets), set(datasets)
        while new:
            pairs = definitions.declared_aliases(self._connection, self._environment, new, self._source)
            pairs |= {pair for pair in self._aliases if not new.isdisjoint(pair)}
            self._aliases |= pairs
            new = {dataset for pair in pairs for dataset in pair} - names
            names |= new
        return names


def _link(edge: DeclaredEdge) -> Link:
    return Link(edge.task_id, edge.relation == "consumes", Name(edge.node_kind, edge.node_id))


def _pairs(manifest: Manifest) -> set[tuple[int, int]]:
    return {(dataset.ref.id, alias.id) for dataset in manifest.datasets for alias in dataset.aliases}


def _spelled(connection: Connection, environment: int, decided: Plan, found: Sequence[Name]) -> list[str]:
    """The names of a cycle; with their namespaces where two of them are alike."""
    known: dict[Name, tuple[str, str]] = {}
    kinds: tuple[NodeKind, ...] = ("task", "dataset")
    for kind in kinds:
        ids = {name.id for name in found if name.kind == kind}
        stored = references.names(connection, environment, kind, ids)
        known |= {Name(kind, node_id): full for node_id, full in stored.items()}
    for ref in named(decided.manifest):
        known[Name("task" if isinstance(ref, TaskRef) else "dataset", ref.id)] = (ref.namespace, ref.name)
    plain = Counter(known[name][1] for name in set(found))
    return [known[name][1] if plain[known[name][1]] == 1 else "/".join(known[name]) for name in found]
