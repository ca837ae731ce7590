"""The expanded graph of one run: a DAG's task instances, a dbt invocation's nodes, a Spark application's jobs.

Nothing of it is stored for itself. What a run consisted of are the runs that name it as their parent, and what its
platform listed; what came before what are the edges that held when it ran: those of the versions that stood when it
began, and what had been observed by its end. So it can be read back after the definition has changed.

Guarantees an answer of one moment, of at most so many instances, edges and links, or it says `truncated`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dataforge.model.catalog import NodeName, RunName
from dataforge.model.event import Relation
from dataforge.model.lineage import Origin
from dataforge.model.run_graph import Instance, Link, LinkKind, RunGraph, TaskEdge
from dataforge.model.state import RunKind
from dataforge.storage import environment as environments
from dataforge.storage import graph as graphs
from dataforge.storage import past, reference
from dataforge.storage import run_graph as storage
from dataforge.storage.database import Connection, Database
from dataforge.storage.past import PastEdge
from dataforge.storage.run_graph import Loaded

MOST_INSTANCES = 5_000
MOST_EDGES = 20_000
MOST_LINKS = 1_000


def run_graph(database: Database, environment: str, name: tuple[str | None, str], run: str, now: datetime) -> RunGraph:
    """What one run of the DAG, invocation or application `name` (namespace, name) consisted of. Raises NotFound for a
    name that is unknown or not unique, and for a run that nobody knows. Where no time is told of it the edges are those
    of `now`."""
    with database.transaction() as connection:
        graphs.hold_snapshot(connection)
        here = environments.find(connection, environment)
        task = reference.resolve_task(connection, here.id, *name)
        own = storage.load(connection, here.id, [(task.id, run)])
        if not own:
            raise reference.no_such_run(connection, here.id, task, run)
        external = storage.named_by_children(connection, here.id, (task.id, run))
        keys = storage.inside(connection, here.id, task.id, external, MOST_INSTANCES + 1)
        found = storage.load(connection, here.id, keys[:MOST_INSTANCES])
        edges = _edges(connection, here.id, own[0].instance, found, now)
        links = _links(connection, here.id, own[0], found)
    return RunGraph(
        run=own[0].instance,
        instances=[each.instance for each in found],
        edges=edges[:MOST_EDGES],
        links=links[:MOST_LINKS],
        truncated=len(keys) > MOST_INSTANCES or len(edges) > MOST_EDGES or len(links) > MOST_LINKS,
    )


def _edges(
    connection: Connection, environment: int, run: Instance, found: Sequence[Loaded], now: datetime
) -> list[TaskEdge]:
    """The edges among the run's tasks, also those that lead over a dataset."""
    names = {each.task_id: NodeName(each.instance.namespace, each.instance.name) for each in found}
    known = _known(connection, environment, run, found, now)
    edges = {
        TaskEdge(names[other], names[task], "declared" if declared else "observed")
        for task, relation, kind, other, declared in known
        if relation == "consumes" and kind == "task" and other in names and other != task
    }
    read = [each for each in known if each[1] == "consumes" and each[2] == "dataset"]
    between = graphs.datasets(connection, environment, {each[3] for each in read})
    written: dict[int, list[PastEdge]] = {}
    for each in known:
        if each[1] == "produces":
            written.setdefault(each[3], []).append(each)
    for task, _, _, dataset, declared in read:
        for writer in written.get(dataset, ()):
            if writer[0] != task:
                through = NodeName(between[dataset].namespace, between[dataset].name)
                origin: Origin = "declared" if declared and writer[4] else "observed"
                edges.add(TaskEdge(names[writer[0]], names[task], origin, through))
    return sorted(_strongest(edges), key=lambda edge: (_rank(edge.from_), _rank(edge.to), _through(edge)))


def _known(
    connection: Connection, environment: int, run: Instance, found: Sequence[Loaded], now: datetime
) -> list[PastEdge]:
    """What was declared when the run began, and what had been observed by its end."""
    tasks = {each.task_id for each in found}
    times = [at for each in (run, *(one.instance for one in found)) for at in (each.started_at, each.ended_at) if at]
    begun, ended = run.started_at or min(times, default=now), max(times, default=now)
    relations: list[Relation] = ["consumes", "produces"]
    declared = past.of_tasks(connection, environment, begun, tasks, relations, MOST_EDGES)
    observed = past.of_tasks(connection, environment, ended, tasks, relations, MOST_EDGES)
    return [each for each in declared if each[4]] + [each for each in observed if not each[4]]


def _strongest(edges: set[TaskEdge]) -> set[TaskEdge]:
    """Of an edge that is declared and observed the declared one."""
    declared = {(_rank(e.from_), _rank(e.to), _through(e)) for e in edges if e.origin == "declared"}
    return {e for e in edges if e.origin == "declared" or (_rank(e.from_), _rank(e.to), _through(e)) not in declared}


def _rank(name: NodeName) -> tuple[str, str]:
    return (name.namespace, name.name)


def _through(edge: TaskEdge) -> tuple[str, str]:
    return _rank(edge.dataset) if edge.dataset else ("", "")


def _links(connection: Connection, environment: int, run: Loaded, found: Sequence[Loaded]) -> list[Link]:
    """The runs that caused this one, and those that something in it caused."""
    own = (run.task_id, run.instance.run)
    inner = [(each.task_id, each.instance.run) for each in found]
    caused = storage.caused(connection, environment, [own, *inner], MOST_LINKS + len(inner) + 1)
    pairs = [(above, below) for above, below in caused if below not in set(inner)]
    parents = storage.above(connection, environment, own)
    updates = storage.called(connection, environment, run.triggered_by) if run.triggered_by else []
    others = {key for pair in pairs for key in pair} | set(parents) | set(updates)
    loaded = {
        (each.task_id, each.instance.run): each.instance
        for each in storage.load(connection, environment, sorted(others | {own}))
    }
    links = [_link(_kind(loaded[below]), loaded[above], loaded[below], loaded[below]) for above, below in pairs]
    links += [_link(_kind(run.instance), loaded[above], loaded[own], loaded[above]) for above in parents]
    links += [_link("dataset", loaded[above], loaded[own], loaded[above]) for above in updates]
    return sorted(links, key=lambda link: (link.kind, link.from_.name, link.from_.run, link.to.name, link.to.run))


def _kind(below: Instance) -> LinkKind:
    return "triggered" if below.kind is RunKind.DAG else "ran"


def _link(kind: LinkKind, above: Instance, below: Instance, other: Instance) -> Link:
    return Link(
        kind,
        RunName(above.namespace, above.name, above.run),
        RunName(below.namespace, below.name, below.run),
        other.state,
    )
