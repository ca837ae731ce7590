"""The window: how long 5,000 assets take to be looked up in the ledger, to load in Dagster, and to be checked.

Daily tasks that write a dataset each, from up to twenty of those before them. What loads is a process of its own, which
reads the snapshot and nothing else; its time begins before it imports Dagster.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.figure import Bench, timed
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from dataforge.ingest.batch import record_native
from dataforge.ingest.garbage import collect_less
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.asset import snapshot
from dataforge.ledger.declare import declare
from dataforge.model import asset, definition
from dataforge.model.selection import Selection
from dataforge.storage.database import Database

ASSETS, UPSTREAMS, DAYS, ROUNDS, COLUMNS = 5_000, 20, 4, 5, 10
FACTOR = ASSETS / 120_000
LOAD = """
import json, sys, time
began = time.perf_counter()
from pathlib import Path
from benchmarks.memory import most_held
from dagster import Definitions
from dataforge_assets.checks import ledger_checks
from dataforge_assets.window import window
from resources import ledger_resource
assets = window(Path(sys.argv[1]))
checks = [ledger_checks(assets)] if sys.argv[2] == "checks" else []
defs = Definitions(assets=assets, asset_checks=checks, resources={"ledger": ledger_resource()})
loaded = len(defs.get_repository_def().asset_graph.get_all_asset_keys())
taken = time.perf_counter() - began
print(json.dumps([loaded, taken, most_held()]))
"""
CHECK = """
import json, sys, time
from datetime import UTC, datetime
from pathlib import Path
from dataforge_assets.checks import checked, last_of, results
from dataforge_assets.window import window
from resources import LedgerResource
every, now = checked(window(Path(sys.argv[1]))), datetime.fromisoformat(sys.argv[3])
with LedgerResource(database_url=sys.argv[2]) as ledger:
    taken = []
    for _ in range(int(sys.argv[4])):
        began = time.perf_counter()
        found = results(ledger, every, now, last_of(every))
        taken.append(time.perf_counter() - began)
print(json.dumps([len(found), taken]))
"""


def main() -> None:
    """Measures a window of all that there is."""
    collect_less()
    with scratch_database({}) as database, TemporaryDirectory() as folder:
        bench, place = Bench("window", server_version(database)), Path(folder, "window.json")
        _fill(database)
        wanted = Selection(names=("*",))
        found = snapshot(database, "dev", wanted)
        bench.times("window.build", [timed(lambda: snapshot(database, "dev", wanted)) for _ in range(3)], factor=FACTOR)
        place.write_bytes(asset.write(found))
        for figure, checks in (("window.load", ""), ("window.load.checks", "checks")):
            loads = [_child(LOAD, str(place), checks) for _ in range(ROUNDS)]
            assert {loaded for loaded, _, _ in loads} == {ASSETS}, "the window is not of all"
            bench.times(figure, [taken for _, taken, _ in loads], factor=FACTOR)
            bench.size(f"{figure}.memory", max(memory for _, _, memory in loads), factor=FACTOR)
        now = datetime(2026, 11, 1 + DAYS, 12, tzinfo=UTC)
        told, taken = _child(CHECK, str(place), database.url, now.isoformat(), str(ROUNDS))
        assert told == 6 * ASSETS - 2, "the first asset is made from nothing"
        bench.times("window.checks", taken[1:], factor=FACTOR)


def _child(program: str, *arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _name(number: int) -> str:
    return f"area_{number % 40}/table_{number:05}"


def _fill(database: Database) -> None:
    """Declares all, and runs each once for each of some days; all get another column on the second."""
    random = Random(5)
    tasks = [
        {
            "namespace": "bench",
            "name": f"make_{number:05}",
            "platform": "airflow",
            "owner": f"team-{number % 20}@example.com",
            "domain": f"area {number % 40}",
            "description": "Makes a table of the world that is measured.",
            "partitioning": {"kind": "daily", "start": "2026-01-01"},
            "consumes": [
                {"dataset": {"namespace": "s3://bench", "name": _name(above)}}
                for above in sorted(random.sample(range(max(0, number - 500), number), min(number, UPSTREAMS)))
            ],
            "produces": [{"namespace": "s3://bench", "name": _name(number)}],
        }
        for number in range(ASSETS)
    ]
    declare(database, "dev", definition.parse({"source": "bench", "tasks": tasks}))
    for number in range(DAYS):
        day = datetime(2026, 11, 1 + number, tzinfo=UTC)
        events = [_ran(each, day) for each in range(ASSETS)]
        for begin in range(0, ASSETS, 1_000):
            record_native(database, "dev", events[begin : begin + 1_000], NOTHING)
    with database.transaction() as connection:
        connection.execute("analyze")


def _ran(number: int, day: datetime) -> dict[str, Any]:
    key, shown = day.date().isoformat(), COLUMNS + (day.day > 1)
    columns = [{"name": f"column_{place}", "type": "string"} for place in range(shown)]
    return {
        "time": (day + timedelta(days=1, seconds=number)).isoformat(),
        "task": {"namespace": "bench", "name": f"make_{number:05}"},
        "run": key,
        "partition": key,
        "state": "succeeded",
        "outputs": [{"namespace": "s3://bench", "name": _name(number), "partition": key, "columns": columns}],
    }
