"""Backfills: how long a plan of 100,000 partitions takes, to keep it, and one step of the worker that releases them.

2,000 daily tasks in layers, each with two upstream tasks and a dataset that another one writes; half of what is asked
for was built before, so that what is good is told from what is not. One in twenty has a deadline.
"""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from benchmarks.figure import Bench, timed
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from dataforge.dispatch import backfill as dispatch
from dataforge.dispatch.release import tend
from dataforge.ingest.batch import record_native
from dataforge.ingest.garbage import collect_less
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.backfill import Backfilling, Overwrite, Target
from dataforge.storage.database import Database

TASKS, LAYERS, DAYS = 2_000, 10, 50
FIRST = date(2026, 9, 1)
NOW = datetime(2026, 11, 6, tzinfo=UTC)
FACTOR = TASKS / 120_000


def main() -> None:
    """Measures plans over tasks whose first half has run, and over all of them anew."""
    collect_less()
    with scratch_database({}) as database:
        bench = Bench("backfill", server_version(database))
        roots = _declare(database)
        _run(database)
        for figure, overwrite in (("plan", "never"), ("plan.always", "always"), ("plan.stale", "stale")):
            wanted = _wanted(roots, overwrite)  # type: ignore[arg-type]  # one of the three
            plan = dispatch.preview(database, "dev", wanted, NOW)
            assert plan.planned + plan.skipped == TASKS * DAYS, "the plan is not of all"
            taken = [timed(partial(dispatch.preview, database, "dev", wanted, NOW)) for _ in range(5)]
            bench.times(f"backfill.{figure}", taken, factor=FACTOR)
        begin = partial(dispatch.begin, database, "dev", _wanted(roots, "always"), NOW)
        bench.times("backfill.begin", [timed(begin)], factor=FACTOR)
        bench.times("backfill.release", [timed(partial(tend, database, "dev", NOW))], factor=FACTOR)
        steps = [timed(partial(tend, database, "dev", NOW + timedelta(seconds=at))) for at in range(1, 11)]
        bench.times("backfill.look", steps, factor=FACTOR)


def _wanted(roots: list[str], overwrite: Overwrite) -> Backfilling:
    last = FIRST + timedelta(days=DAYS - 1)
    targets = tuple(Target(name=name, first=FIRST.isoformat(), last=last.isoformat()) for name in roots)
    return Backfilling(targets=targets, direction="downstream", overwrite=overwrite, reason="a benchmark")


def _names() -> list[str]:
    return [f"layer_{number * LAYERS // TASKS}.task_{number:04}" for number in range(TASKS)]


def _declare(database: Database) -> list[str]:
    """Returns the tasks without upstreams."""
    random, names, size = Random(7), _names(), TASKS // LAYERS
    daily = {"kind": "daily", "start": FIRST.isoformat()}
    tasks: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        before = range(number // size * size - size, number // size * size)
        above = random.sample(before, 3) if number >= size else []
        consumes: list[dict[str, Any]] = [{"task": {"namespace": "bench", "name": names[each]}} for each in above[:2]]
        consumes += [{"dataset": {"namespace": "lake", "name": f"{names[each]}.parquet"}} for each in above[2:]]
        produces = [{"namespace": "lake", "name": f"{name}.parquet"}]
        task = {"namespace": "bench", "name": name, "partitioning": daily, "consumes": consumes, "produces": produces}
        tasks.append(task | ({"due": {"at": "06:00"}} if number % 20 == 0 else {}))
    datasets = [{"namespace": "lake", "name": f"{name}.parquet", "partitioning": daily} for name in names]
    declare(database, "dev", definition.parse({"source": "bench", "tasks": tasks, "datasets": datasets}))
    return names[:size]


def _run(database: Database) -> None:
    """All tasks have run for the first half of the days."""
    names = _names()
    for day in (FIRST + timedelta(days=number) for number in range(DAYS // 2)):
        events = [_event(name, day) for name in names]
        record_native(database, "dev", events, NOTHING)


def _event(name: str, day: date) -> dict[str, Any]:
    key = day.isoformat()
    return {
        "time": f"{day + timedelta(days=1)}T02:00:00Z",
        "task": {"namespace": "bench", "name": name},
        "run": key,
        "partition": key,
        "state": "succeeded",
        "outputs": [{"namespace": "lake", "name": f"{name}.parquet", "partition": key}],
    }
