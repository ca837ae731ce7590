"""Dispatch: claims, and how long a wake-up takes from the commit that made it true until it is listed.

A worker's process announces, as on a platform; the database is polled for what is listed.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

from benchmarks.answers import LAYERS, layered
from benchmarks.figure import Bench, timed
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from dataforge.dispatch.claim import claim, claim_together
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.claim import Claiming, ClaimingTogether, Member
from dataforge.storage.database import Database

CLAIMED_DAY = "2026-11-04"  # all but the last layer has run for it
GROUPED_DAYS = tuple(f"2026-11-{day:02}" for day in range(5, 15))  # and for each of these
FAN_OUTS = {1: 40, 100: 20, 10_000: 3}  # how many wait for one task, and how often it is measured
TOGETHER = 100  # partitions in a group of claims
PATIENCE = 300.0  # seconds


def main(factor: float) -> None:
    """Measures claims one after the other, and wake-ups of one, a hundred and ten thousand at once."""
    with scratch_database({}) as database:
        bench, names = Bench("dispatch", server_version(database)), layered(database, factor)
        _claims(bench, database, names, factor)
        for fan_out in FAN_OUTS:
            _fan(database, fan_out)
        with database.transaction() as connection:  # what the platform began with is not what is measured
            connection.execute("delete from outbox")
        with _worker(database.url):
            for fan_out, times in FAN_OUTS.items():
                bench.times(f"wakeup.{fan_out}", _wakeups(database, fan_out, times), factor=factor)


def _claims(bench: Bench, database: Database, names: list[str], factor: float) -> None:
    """Each has twenty upstreams, all of which are there."""
    last = len(names) - len(names) // LAYERS
    _ran(database, names[:last], CLAIMED_DAY)
    wanted = [Claiming(name=name, partition=CLAIMED_DAY, worker="w", lease_seconds=600) for name in names[last:][:220]]
    taken = [timed(partial(claim, database, "dev", each, datetime.now(UTC))) for each in wanted]
    bench.times("claim.p95", taken[20:], factor=factor)
    taken = []
    for day in GROUPED_DAYS:
        _ran(database, names[:last], day)
        wanted_together = _together(names[last : last + TOGETHER], day)
        taken.append(timed(partial(claim_together, database, "dev", wanted_together, datetime.now(UTC))))
    bench.times(f"claim.together.{TOGETHER}", taken, factor=factor)


def _ran(database: Database, names: list[str], day: str) -> None:
    for begin in range(0, len(names), 1_000):
        done = [_event(name, day, "succeeded") for name in names[begin : begin + 1_000]]
        record_native(database, "dev", done, NOTHING)


def _together(names: list[str], day: str) -> ClaimingTogether:
    members = tuple(Member(name=name, partition=day) for name in names)
    return ClaimingTogether(partitions=members, worker="w", lease_seconds=600)


def _event(name: str, day: str, state: str) -> dict[str, Any]:
    at = f"{day}T23:00:00Z"
    return {"time": at, "task": {"namespace": "bench", "name": name}, "run": day, "partition": day, "state": state}


def _fan(database: Database, fan_out: int) -> None:
    """One task, and those that wait for it alone."""
    daily = {"kind": "daily", "start": "2026-01-01"}
    source = {"namespace": "bench", "name": f"source {fan_out}"}
    waiting = [
        {"namespace": "bench", "name": f"fan {fan_out} {number}", "partitioning": daily, "consumes": [{"task": source}]}
        for number in range(fan_out)
    ]
    manifest = {"source": f"fan {fan_out}", "tasks": [{**source, "partitioning": daily}, *waiting]}
    declare(database, "dev", definition.parse(manifest))


@contextmanager
def _worker(url: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="dataforge-worker-") as home:
        environ = {**os.environ, "DATAFORGE_HOME": home, "DATAFORGE_DATABASE_URL": url}
        with subprocess.Popen([sys.executable, "-m", "dataforge.dispatch"], env=environ) as process:
            try:
                yield
            finally:
                process.terminate()


def _wakeups(database: Database, fan_out: int, times: int) -> list[float]:
    """From the commit of the one upstream to the announcement of the last that waits for it."""
    random, taken = Random(fan_out), []
    while _outbox(database):
        time.sleep(0.05)
    before = _listed(database)
    for number in range(times):
        day = f"2026-{1 + number // 25:02}-{1 + number % 25:02}"
        record_native(database, "dev", [_event(f"source {fan_out}", day, "succeeded")], NOTHING)
        began = time.perf_counter()
        while _listed(database) < before + (number + 1) * fan_out:
            if time.perf_counter() - began > PATIENCE:
                raise TimeoutError(f"{_listed(database)} are listed, of {before + (number + 1) * fan_out}")
            time.sleep(0.001)
        taken.append(time.perf_counter() - began)
        time.sleep(random.uniform(0.0, 0.1))  # at any point between two looks of the worker
    return taken


def _listed(database: Database) -> int:
    return _count(database, "select count(*) from wakeup where environment = 1")


def _outbox(database: Database) -> int:
    return _count(database, "select count(*) from outbox where environment = 1")


def _count(database: Database, query: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
