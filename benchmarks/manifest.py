"""A manifest of 100,000 edges: what it takes from its bytes to the commit, in a process of its own.

Declared for the first time, once more as it is, and with one task in a hundred changed. The first is compared, in turn,
with a COPY of the ends of the same edges into a table without a key.
"""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.figure import Bench, percentile, timed
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from dataforge.model.reference import node_id
from dataforge.storage.database import Database

TASKS, UPSTREAMS = 5_000, 20  # of each: 99,790 edges to what they read, and 5,000 to what they write
FACTOR = TASKS / 120_000
ENVIRONMENTS = ("dev", "staging", "prod")  # a manifest is new once in each
LAKE, DAILY = "s3://bench", {"kind": "daily", "start": "2026-01-01"}
FLOOR = "COPY of their ends into a bare table"
TABLE = "create table bare (environment smallint, task bigint, relation text, node bigint, source text)"
DECLARE = """
import json, sys, time
from pathlib import Path
from benchmarks.memory import most_held
from dataforge.ingest.garbage import collect_less
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.storage.database import Database

collect_less()  # as the service does
database, taken, said = Database(sys.argv[1], max_size=1, statement_timeout_ms=600_000), [], []
for path in sys.argv[3:]:
    text = Path(path).read_bytes()
    began = time.perf_counter()
    found = declare(database, sys.argv[2], definition.parse(text))
    taken.append(time.perf_counter() - began)
    said.append([found.created, found.changed])
print(json.dumps([taken[1:], said[1:], most_held()]))
"""


def main() -> None:
    """Measures each of the three environments that there are."""
    with scratch_database({}) as database, TemporaryDirectory() as folder:
        bench = Bench("manifest", server_version(database))
        paths = [_written(Path(folder, name), document) for name, document in _documents().items()]
        with database.transaction() as connection:
            connection.execute(TABLE)
        floors, taken, peaks = list[float](), list[list[float]](), list[int]()
        for environment in ENVIRONMENTS:
            floors.append(timed(partial(_copy, database, _ends())))
            times, said, peak = _child(database.url, environment, *paths)
            assert said == [[2 * TASKS, 0], [0, 0], [0, TASKS // 100]], said
            taken.append(times)
            peaks.append(peak)
        first, again, changed = map(list, zip(*taken, strict=True))
        beside = f"{FLOOR}, which takes {1_000 * percentile(floors, 50):.0f} ms (times as long)"
        bench.times("graph.manifest", first, beside, percentile(first, 50) / percentile(floors, 50), FACTOR)
        bench.times("graph.manifest.again", again, factor=FACTOR)
        bench.times("graph.manifest.changed", changed, factor=FACTOR)
        bench.size("graph.manifest.memory", max(peaks), factor=FACTOR)


def _documents() -> dict[str, dict[str, Any]]:
    """Manifests by name in the order in which they are declared; the first is small, and makes the process warm."""
    small = {"source": "warm", "tasks": [{"namespace": "bench", "name": "warm", "consumes": [_read(0)]}]}
    first, changed = _manifest(owner=None), _manifest(owner="team-orders@example.com")
    return {"warm": small, "first": first, "again": first, "changed": changed}


def _manifest(owner: str | None) -> dict[str, Any]:
    """The tasks and what they write; every hundredth task has this owner."""
    tasks: list[dict[str, Any]] = [
        {
            "namespace": "bench",
            "name": f"make_{number:05}",
            "platform": "airflow",
            "partitioning": DAILY,
            "consumes": [_read(above) for above in _above(number)],
            "produces": [{"namespace": LAKE, "name": _name(number)}],
        }
        for number in range(TASKS)
    ]
    for task in tasks[::100]:
        task["owner"] = owner
    datasets = [{"namespace": LAKE, "name": _name(number), "partitioning": DAILY} for number in range(TASKS)]
    return {"source": "bench", "tasks": tasks, "datasets": datasets}


def _above(number: int) -> list[int]:
    """What a task reads: of the two hundred before it."""
    return sorted(Random(number).sample(range(max(0, number - 200), number), min(number, UPSTREAMS)))


def _read(number: int) -> dict[str, Any]:
    return {"dataset": {"namespace": LAKE, "name": _name(number)}, "mapping": {"kind": "same"}}


def _name(number: int) -> str:
    return f"area_{number % 40}/table_{number:05}"


def _written(path: Path, document: dict[str, Any]) -> str:
    path.write_bytes(msgspec.json.encode(document))
    return str(path)


def _ends() -> list[tuple[int, int, str, int, str]]:
    datasets = [node_id(LAKE, _name(number)) for number in range(TASKS)]
    found = []
    for number, dataset in enumerate(datasets):
        task = node_id("bench", f"make_{number:05}")
        found.append((1, task, "produces", dataset, "bench"))
        found += [(1, task, "consumes", datasets[above], "bench") for above in _above(number)]
    return found


def _copy(database: Database, rows: list[tuple[int, int, str, int, str]]) -> None:
    with (
        database.transaction() as connection,
        connection.cursor() as cursor,
        cursor.copy("copy bare from stdin (format binary)") as copy,
    ):
        copy.set_types(["int2", "int8", "text", "int8", "text"])
        for row in rows:
            copy.write_row(row)


def _child(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-c", DECLARE, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)
