"""Whether a declaration would close a cycle, among all that sources have declared.

Guarantees an answer that does not depend on events: what was observed, edges and aliases alike, is a fact that
never stands in the way of a definition, so it does not matter which of the two came first.
"""

from collections import Counter
from collections.abc import Iterator, Sequence, Set

import msgspec

from dataforge.graph import cycle
from dataforge.graph.cycle import Link, Name
from dataforge.graph.knot import Ends, knotted
from dataforge.ledger.cuts import Cuts
from dataforge.model.declaration import CycleError, Plan
from dataforge.model.edge import Mapping
from dataforge.model.event import Relation
from dataforge.model.manifest import named
from dataforge.model.partition import Partitioning
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.storage import edge as edges
from dataforge.storage import reference as references
from dataforge.storage.database import Connection
from dataforge.storage.edge import AlikeEdges, DeclaredEdge

MOST_NEAR = 2_000  # tasks looked at one by one around a change; where more lie there, all edges are read at once


def refuse_cycles(
    connection: Connection, environment: int, decided: Plan, own: Sequence[AlikeEdges], cuts: Cuts
) -> None:
    """Raises CycleError when the edges of the whole manifest (`own`) would close one, with what other
    sources declare. What was registered before is free of cycles, so a new one leads through what changed, and lies on
    a loop of edges: the partitions that edges lead to are looked at there alone."""
    changed = {task.ref.id for task in decided.tasks.written}
    renamed = {dataset.ref.id for dataset in decided.datasets.written if dataset.aliases or dataset.partitioning}
    declared = {task.ref.id for task in decided.manifest.tasks}
    search = _Search(connection, environment, decided.manifest.source, declared, own, cuts)
    ends = search.around(changed, renamed)
    aliases = cuts.aliases if ends is not None else cuts.all_aliases()
    knot = knotted(ends if ends is not None else search.everything(), aliases, changed, renamed)
    if not knot:
        return
    others = edges.declared_of_tasks(connection, environment, knot, decided.manifest.source)
    near = (*others, *(edge for each in own for edge in each.of_tasks(knot)))
    links = [link for edge in near for link in _links(edge)]
    found = cycle.find(links, aliases, lambda names: _cuts(cuts, names))
    if found is not None:
        raise CycleError(_spelled(connection, environment, decided, found))


def _cuts(cuts: Cuts, names: set[Name]) -> dict[Name, Partitioning]:
    tasks = cuts.tasks(name.id for name in names if name.kind == "task")
    datasets = cuts.datasets(name.id for name in names if name.kind == "dataset")
    found = {Name("task", task): cut for task, cut in tasks.items()}
    return found | {Name("dataset", dataset): cut for dataset, cut in datasets.items()}


class _Search:
    """Collects what lies upstream or downstream of a change, from the manifest and from the tables.

    A cycle through a change lies in both, so the one that comes to its end first is enough: it costs no more
    than twice the smaller, and a task that nobody consumes yet, or that consumes nothing, costs next to nothing.
    """

    def __init__(
        self,
        connection: Connection,
        environment: int,
        source: str,
        declared: Set[int],
        own: Sequence[AlikeEdges],
        cuts: Cuts,
    ) -> None:
        self._cuts = cuts
        self._connection = connection
        self._environment = environment
        self._source = source  # its edges in the tables are those of before
        self._declared = declared  # the tasks of which nobody else declares an edge
        self._alike = own
        self._own: dict[int, list[edges.EdgeEnds]] = {}
        self._own_users: dict[tuple[Relation, NodeKind, int], set[int]] = {}

    def around(self, tasks: set[int], datasets: set[int]) -> Ends | None:
        """The edges of everything upstream, or of everything downstream; None where both are much."""
        if len(tasks) > MOST_NEAR:
            return None
        for alike in self._alike:
            for ends in alike.ends:
                self._own.setdefault(ends[0], []).append(ends)
                self._own_users.setdefault((alike.relation, alike.node_kind, ends[3]), set()).add(ends[0])
        downstream = _Side("consumes", set(tasks), set(datasets))
        upstream = _Side("produces", set(tasks), set(datasets))
        while upstream.ahead and downstream.ahead:
            smaller = min(downstream, upstream, key=lambda side: len(side.tasks))  # of what is new nobody reads
            if len(smaller.tasks) + len(smaller.new_tasks) > MOST_NEAR:
                return None
            self._advance(smaller)
        found = downstream if not downstream.ahead else upstream
        return Ends.of(found.edges)

    def everything(self) -> Ends:
        """The edges of all tasks."""
        stored = edges.all_ends(self._connection, self._environment, declared_but_by=self._source)
        del stored["declared"]
        own = [
            Ends.alike(each.tasks, each.nodes, each.relation == "consumes", each.node_kind == "dataset")
            for each in self._alike
        ]
        return Ends(**stored).and_those(*own)

    def _advance(self, side: "_Side") -> None:
        """One step on: over the datasets and tasks ahead to those who use them, and to what these use."""
        datasets = self._cuts.names(side.new_datasets) - side.datasets
        side.datasets |= datasets
        side.tasks |= side.new_tasks
        edges_of_new = self._ends_of(side.new_tasks)
        side.edges += edges_of_new
        users = self._users(side.relation, "dataset", datasets)
        if side.relation == "consumes":
            users |= self._users("consumes", "task", side.new_tasks)
        else:
            users |= {node for _, consumes, of_dataset, node in edges_of_new if consumes and not of_dataset}
        reads = side.relation == "produces"
        met = {node for _, consumes, of_dataset, node in edges_of_new if of_dataset and consumes is reads}
        side.new_tasks, side.new_datasets = users - side.tasks, met - side.datasets

    def _ends_of(self, tasks: set[int]) -> list[edges.EdgeEnds]:
        others = tasks - self._declared
        stored = edges.declared_ends_of(self._connection, self._environment, others, self._source) if others else []
        return stored + [ends for task in sorted(tasks) for ends in self._own.get(task, ())]

    def _users(self, relation: Relation, kind: NodeKind, nodes: set[int]) -> set[int]:
        if not nodes:
            return set()
        stored = edges.declared_users(
            self._connection, self._environment, relation, kind, nodes, but_source=self._source
        )
        return stored.union(*(self._own_users.get((relation, kind, node), ()) for node in nodes))


class _Side:
    """How far the search has come on one side: up by those who produce, down by those who consume."""

    def __init__(self, relation: Relation, tasks: set[int], datasets: set[int]) -> None:
        self.relation = relation
        self.new_tasks = tasks
        self.new_datasets = datasets
        self.tasks: set[int] = set()
        self.datasets: set[int] = set()
        self.edges: list[edges.EdgeEnds] = []

    @property
    def ahead(self) -> bool:
        return bool(self.new_tasks or self.new_datasets)


def _links(edge: DeclaredEdge) -> Iterator[Link]:
    name, mapping = Name(edge.node_kind, edge.node_id), msgspec.convert(edge.mapping, Mapping)
    link = Link(edge.task_id, edge.relation == "consumes", name, mapping)
    return cycle.links(link, waits=edge.waits, triggers=edge.triggers)


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
