"""The graph of a world: how long it takes to read into memory and how much it takes there, and to answer from it.

The tables are filled by COPY with the tasks, datasets and edges that the world declares. The closure is compared, in
turn, with a recursive query over the same rows.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from psycopg import Connection

from benchmarks.figure import Bench, percentile, timed
from benchmarks.ingest import server_version
from benchmarks.memory import most_held
from benchmarks.scratch import scratch_database
from benchmarks.world import World
from benchmarks.world.graph import CUTS, LAKE, LAYERS, NAMESPACE, Cadence
from dataforge.graph.follower import Follower
from dataforge.graph.shown import shown
from dataforge.graph.sparse import Graph, Node
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare_task
from dataforge.ledger.lineage import lineage
from dataforge.model import definition
from dataforge.model.reference import node_id
from dataforge.storage import environment as environments
from dataforge.storage import graph as graphs
from dataforge.storage.database import Database, connect

ROUNDS, CHANGES = 5, 30
PAGE = 100  # nodes of a first page
RECURSIVE = """
with recursive reached (kind, id) as (
    select 'task'::node_kind, %(task)s::bigint
    union
    select next.kind, next.id from reached r cross join lateral (
        select 'dataset'::node_kind as kind, node_id as id from edge
        where environment = %(environment)s and task_id = r.id and relation = 'produces' and r.kind = 'task'
        union all
        select 'task', task_id from edge
        where environment = %(environment)s and node_kind = r.kind and node_id = r.id and relation = 'consumes'
    ) next
)
select count(*) from reached
"""


def main(factor: float) -> None:
    """Measures the graph of one environment at this factor."""
    world = World(factor)
    with scratch_database({}) as database:
        bench = Bench("graph", server_version(database))
        environment = _fill(database, world)
        _load(bench, database, environment, world)
        _closure(bench, database, environment, world)
        _page(bench, database, world)
        _follow(bench, database, world)
        _declare(bench, database, world)


def _fill(database: Database, world: World) -> int:
    with database.transaction() as connection:
        here = environments.lock(connection, "prod").id
        _copy(connection, "task (environment, id, namespace, name, partitioning)", _tasks(here, world))
        _copy(connection, "dataset (environment, id, namespace, name, canonical_id)", _datasets(here, world))
        columns = "environment, task_id, relation, node_kind, node_id, origin, source"
        _copy(connection, f"edge ({columns})", _edges(here, world))
        connection.execute("update environment set graph_version = graph_version + 1 where id = %s", [here])
    with connect(database.url, autocommit=True) as connection:
        connection.execute("vacuum analyze")  # as the server does of itself, a minute later
    return here


def _copy(connection: Connection[Any], into: str, rows: Iterator[tuple[object, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"copy {into} from stdin".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _tasks(environment: int, world: World) -> Iterator[tuple[object, ...]]:
    for task in range(world.size):
        name, cut = world.name(task), CUTS[Cadence(world.cadence[task])]
        yield environment, node_id(NAMESPACE, name), NAMESPACE, name, f'{{"kind": "{cut["kind"]}"}}'


def _datasets(environment: int, world: World) -> Iterator[tuple[object, ...]]:
    for task in range(world.size):
        name = world.dataset(task)
        found = node_id(LAKE, name)
        yield environment, found, LAKE, name, found


def _edges(environment: int, world: World) -> Iterator[tuple[object, ...]]:
    tasks = [node_id(NAMESPACE, world.name(task)) for task in range(world.size)]
    datasets = [node_id(LAKE, world.dataset(task)) for task in range(world.size)]
    for task in range(world.size):
        source = f"domain{world.domain[task]:02}"
        yield environment, tasks[task], "produces", "dataset", datasets[task], "declared", source
        for read in world.reads(task).tolist():
            yield environment, tasks[task], "consumes", "dataset", datasets[read], "declared", source


def _load(bench: Bench, database: Database, environment: int, world: World) -> None:
    """Read at first, in a process of its own each time: memory that is used for the first time is paid for."""
    taken, grown, held = [], [], 0
    for _ in range(ROUNDS):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            seconds, more, held = process.submit(_first, database.url, environment).result()
        taken.append(seconds)
        grown.append(more)
    bench.times("graph.load", taken, factor=world.factor)
    ratio, floor = held / max(grown), f"what the process grows by at most while it reads ({max(grown):,} bytes)"
    bench.size("graph.memory", held, floor, ratio, world.factor)
    bench.size("graph.load.memory", max(grown), factor=world.factor)


def _first(url: str, environment: int) -> tuple[float, int, int]:
    """How many seconds it takes, how many bytes more than before the process had at most, and how many are kept."""
    database = Database(url)
    with database.transaction() as connection:
        connection.execute("select")
    before, began = most_held(), time.perf_counter()
    graph = _read(database, environment)
    return time.perf_counter() - began, most_held() - before, graph.nbytes


def _read(database: Database, environment: int) -> Graph:
    with database.transaction() as connection:
        return shown(*graphs.edges(connection, environment)).graph


def _closure(bench: Bench, database: Database, environment: int, world: World) -> None:
    """All that lies downstream of tasks of the first layer."""
    graph, random = _read(database, environment), np.random.default_rng(8)
    first = np.flatnonzero(world.layer == 0)
    hidden = graph.hidden(None)
    ours, theirs = list[float](), list[float]()
    for task in random.choice(first, min(20, len(first)), replace=False).tolist():
        ref = node_id(NAMESPACE, world.name(task))
        start = graph.index(Node("task", ref))
        assert start is not None
        ours.append(timed(partial(graph.reach, start, "downstream", None, graph.size, hidden)))
        if len(theirs) < ROUNDS:
            with database.transaction() as connection:
                theirs.append(timed(partial(_recursive, connection, environment, ref)))
    ratio = percentile(theirs, 50) / percentile(ours, 50)
    floor = f"a recursive query, which takes {1_000 * percentile(theirs, 50):.1f} ms (times faster)"
    bench.times("graph.closure", ours, floor, ratio, factor=world.factor)


def _recursive(connection: Connection[Any], environment: int, task: int) -> None:
    connection.execute(RECURSIVE, {"environment": environment, "task": task}).fetchone()


def _page(bench: Bench, database: Database, world: World) -> None:
    """The first hundred nodes, with their names, in a process that holds the graph."""
    follower, random = Follower(), np.random.default_rng(9)
    asked = [(NAMESPACE, world.name(task)) for task in random.integers(0, world.size, 40).tolist()]
    ask = partial(lineage, database, follower, "prod", limit=PAGE)
    ask(asked[0])
    bench.times("graph.page", [timed(partial(ask, each)) for each in asked], factor=world.factor)


def _follow(bench: Bench, database: Database, world: World) -> None:
    """The same after an event that showed a new edge: the graph in memory follows it first."""
    follower, random = Follower(), np.random.default_rng(10)
    tasks = random.choice(world.size, min(2 * CHANGES, world.size), replace=False).tolist()
    asked = (NAMESPACE, world.name(tasks[0]))
    ask = partial(lineage, database, follower, "prod", asked, limit=PAGE)
    ask()
    taken = []
    for task in tasks[:CHANGES]:
        read = {"namespace": "s3://other", "name": f"table{task}"}
        event = {
            "time": "2026-11-01T06:00:00Z",
            "task": {"namespace": NAMESPACE, "name": world.name(task)},
            "run": "bench",
            "state": "running",
            "inputs": [read],
        }
        assert record_native(database, "prod", [event], NOTHING).applied == 1
        taken.append(timed(ask))
    bench.times("graph.follow", taken, factor=world.factor)


def _declare(bench: Bench, database: Database, world: World) -> None:
    """One task that reads what others write, deep inside: its cycle check looks at what lies around it."""
    random, taken = np.random.default_rng(11), []
    middle = np.flatnonzero(world.layer == LAYERS // 2)
    above = np.flatnonzero(world.layer == LAYERS // 2 - 1)
    for number in range(CHANGES):
        upstream, below = (int(random.choice(each)) for each in (above, middle))
        task = {
            "namespace": NAMESPACE,
            "name": f"between {number}",
            "consumes": [_dataset(world, upstream), _dataset(world, below)],
            "produces": [{"namespace": LAKE, "name": f"between {number}"}],
        }
        said = definition.parse_task(task)
        taken.append(timed(partial(declare_task, database, "prod", said)))
    bench.times("declare.task", taken, factor=world.factor)


def _dataset(world: World, task: int) -> dict[str, Any]:
    return {"dataset": {"namespace": LAKE, "name": world.dataset(task)}}
