"""Processor time: of this process, and of the server, which runs on the same machine."""

import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from dataforge.storage.database import Database


class Spent(NamedTuple):
    """Seconds: by the clock, and of processor time."""

    clock: float
    python: float
    postgres: float  # of the server's processes that were there from the beginning to the end


def spent(database: Database, work: Callable[[], object]) -> Spent:
    """What it takes."""
    servers = _servers(database)
    before = _used(servers)
    clock, python = time.perf_counter(), time.process_time()
    work()
    clock, python = time.perf_counter() - clock, time.process_time() - python
    after = _used(servers)
    return Spent(clock, python, sum(after[each] - before[each] for each in after.keys() & before.keys()))


def _servers(database: Database) -> list[psutil.Process]:
    with database.transaction() as connection:
        row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None, "a session has a process"
    above = psutil.Process(row[0]).parent()
    return above.children() if above else []


def _used(processes: list[psutil.Process]) -> dict[int, float]:
    used: dict[int, float] = {}
    for each in processes:
        try:
            used[each.pid] = float(sum(each.cpu_times()[:2]))
        except psutil.NoSuchProcess:  # one of autovacuum's has ended
            continue
    return used
