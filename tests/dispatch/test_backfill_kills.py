"""A backfill whose worker is killed over and over: no partition is lost, none is built twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import psutil
import pytest

from dataforge.dispatch import backfill as dispatch
from dataforge.dispatch import claim as claims
from dataforge.dispatch import lease as leases
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.replay import verify
from dataforge.ledger.backfill_list import detail
from dataforge.model.backfill import Cap
from dataforge.model.claim import Claiming, ClaimRefused, Outcome
from dataforge.storage.database import Database
from tests.dispatch.backfilled import OUTPUTS, chain, run, wanted

DAYS = tuple(f"2026-10-{day:02}" for day in range(1, 11))
PATIENCE = 180.0  # seconds

ATTEMPTS = """
select t.name, a.partition, count(*) from attempt a join task t on t.environment = a.environment and t.id = a.task_id
group by t.name, a.partition
"""


@contextmanager
def _worker(url: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory(prefix="dataforge-worker-") as home:
        environ = {**os.environ, "DATAFORGE_HOME": home, "DATAFORGE_DATABASE_URL": url}
        with subprocess.Popen([sys.executable, "-m", "dataforge.dispatch"], env=environ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_partition_is_lost_or_built_twice_however_often_the_worker_is_killed(database: Database, seed: int) -> None:
    random = Random(seed)
    chain(database)
    for day in DAYS[:5]:  # half of it was there
        for minutes, name in enumerate(("load", "clean", "report")):
            run(database, name, day, minutes - 60)
    asked = wanted("load", days=DAYS, direction="downstream", overwrite="always", caps=(Cap("all", 2),))
    plan = dispatch.begin(database, "dev", asked, datetime.now(UTC))
    backfill, until, workers = UUID(plan.id or ""), time.monotonic() + PATIENCE, 0
    while _state(database, backfill) == "running" and time.monotonic() < until:
        with _worker(database.url) as worker:
            workers += 1
            while not _connected(worker) and time.monotonic() < until:  # on a busy machine it takes seconds to begin
                time.sleep(0.01)
            left, killed_at = random.randint(1, 8), time.monotonic() + random.uniform(0.3, 1.5)
            while left > 0 and time.monotonic() < killed_at and _state(database, backfill) == "running":
                left -= _work(database)
    assert detail(database, "dev", backfill, datetime.now(UTC)).counts == {"succeeded": 30}
    with database.transaction() as connection:
        attempts = {(name, day): number for name, day, number in connection.execute(ATTEMPTS.encode())}
    expected = {(name, day): 1 + (day in DAYS[:5]) for name in OUTPUTS for day in DAYS}
    assert attempts == expected
    assert workers > 2, "it was hardly killed"
    assert verify(database, "dev").difference is None


def _connected(worker: subprocess.Popen[bytes]) -> bool:
    return worker.poll() is None and bool(psutil.Process(worker.pid).net_connections("all"))


def _state(database: Database, backfill: UUID) -> str:
    return detail(database, "dev", backfill, datetime.now(UTC)).state


def _work(database: Database) -> int:
    """Does what is offered, each as soon as it is claimed; returns how much it was."""
    done = 0
    for item in waiting(database, "dev", 100, datetime.now(UTC), "backfill").items:
        asked = Claiming(name=item.task.name, partition=item.partition or "", worker="w", lease_seconds=60)
        try:
            granted = claims.claim(database, "dev", asked, datetime.now(UTC))
        except ClaimRefused:  # it stood listed after it had been claimed
            continue
        outputs = [{**each, "partition": item.partition} for each in OUTPUTS[item.task.name]]
        leases.end(database, "dev", UUID(granted.claim), "completed", Outcome(outputs=outputs), datetime.now(UTC))
        done += 1
    return done
