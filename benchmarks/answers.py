"""Answers: verdicts and graph closures on a small platform of layered daily tasks.

The closure is compared, in turn, with a recursive query over the same edges in the same database.
"""

from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import httpx
from psycopg import Connection

from benchmarks.figure import Bench, percentile, timed
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from benchmarks.served import served
from benchmarks.world.graph import TASKS
from dataforge.graph.follower import Follower
from dataforge.ingest.batch import record_native
from dataforge.ingest.garbage import collect_less
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.lineage import lineage
from dataforge.ledger.readiness import readiness, verdict
from dataforge.model import definition
from dataforge.model.question import Named
from dataforge.storage.database import Database

LAYERS, UPSTREAMS, DAYS = 15, 20, ("2026-11-01", "2026-11-02")
NOW = datetime(2026, 11, 3, tzinfo=UTC)

RECURSIVE = """
with recursive reached (id) as (
    select id from task where environment = 1 and name = %s
    union
    select e.task_id from reached join edge e on e.environment = 1 and e.node_kind = 'task' and e.node_id = reached.id
        and e.relation = 'consumes'
)
select count(*) from reached
"""


def main(factor: float) -> None:
    """Measures verdicts alone, over HTTP and in batches, and the closure of the graph."""
    collect_less()  # as the processes do that answer
    with scratch_database({}) as database:
        bench, names = Bench("answers", server_version(database)), layered(database, factor)
        _verdicts(bench, database, names, factor)
        with served(database.url) as one, httpx.Client(base_url=one.url, timeout=60) as client:
            _over_http(bench, client, names, factor)
        _closure(bench, database, names, factor)


def layered(database: Database, factor: float) -> list[str]:
    """Declares layered tasks of twenty upstreams each, a layer at a time, and runs most of two days."""
    size = round(factor * TASKS / LAYERS)  # tasks of a layer
    random, names = Random(5), [f"layer_{number // size:02}.task_{number:06}" for number in range(size * LAYERS)]
    tasks: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        first = max(0, (number // size - 2) * size)
        above = random.sample(range(first, number // size * size), UPSTREAMS) if number >= size else []
        tasks.append(
            {
                "namespace": "bench",
                "name": name,
                "owner": f"team-{number % 20}@example.com",
                "partitioning": {"kind": "daily", "start": "2026-01-01"},
                "consumes": [{"task": {"namespace": "bench", "name": names[other]}} for other in sorted(above)],
            }
        )
    for begin in range(0, len(tasks), size):
        manifest = {"source": f"layer {begin // size}", "tasks": tasks[begin : begin + size]}
        declare(database, "dev", definition.parse(manifest))
    events = [
        {
            "time": f"{day}T23:00:00Z",
            "task": {"namespace": "bench", "name": name},
            "run": day,
            "partition": day,
            "state": "succeeded",
        }
        for day in DAYS
        for name in random.sample(names, len(names) * 9 // 10)
    ]
    for begin in range(0, len(events), 1_000):
        record_native(database, "dev", events[begin : begin + 1_000], NOTHING)
    with database.transaction() as connection:
        connection.execute("analyze")
    return names


def _verdicts(bench: Bench, database: Database, names: list[str], factor: float) -> None:
    random = Random(6)
    asked = [Named(random.choice(names), "bench", random.choice(DAYS)) for _ in range(600)]
    alone = [timed(partial(verdict, database, "dev", one, NOW)) for one in asked]
    bench.times("verdict.p95", alone[100:], factor=factor)
    thousand = [Named(random.choice(names), "bench", random.choice(DAYS)) for _ in range(1_000)]
    batches = [timed(partial(readiness, database, "dev", thousand, NOW)) for _ in range(8)]
    bench.times("verdict.batch1000", batches[1:], factor=factor)


def _over_http(bench: Bench, client: httpx.Client, names: list[str], factor: float) -> None:
    random, taken = Random(7), []
    for _ in range(500):
        parameters = {"name": random.choice(names), "namespace": "bench", "partition": random.choice(DAYS)}
        taken.append(timed(partial(client.get, "/dev/readiness", params=parameters)))
    bench.times("verdict.http.p95", taken[50:], factor=factor)


def _recursive(connection: Connection, name: str) -> None:
    connection.execute(RECURSIVE, [name]).fetchone()


def _closure(bench: Bench, database: Database, names: list[str], factor: float) -> None:
    """From tasks of the first layers, whose closure is most of the graph."""
    follower, random = Follower(), Random(8)
    load = timed(partial(lineage, database, follower, "dev", ("bench", names[0]), "downstream", 1))
    bench.times("lineage.first", [load], factor=factor)
    ours, theirs = [], []
    for name in random.sample(names[: len(names) // LAYERS], 30):
        ours.append(timed(partial(lineage, database, follower, "dev", ("bench", name), "downstream")))
        with database.transaction() as connection:
            theirs.append(timed(partial(_recursive, connection, name)))
    ratio = percentile(theirs, 50) / percentile(ours, 50)
    floor = f"a recursive query, which takes {1_000 * percentile(theirs, 50):.1f} ms (times faster)"
    bench.times("lineage.closure", ours, floor, ratio, factor=factor)
