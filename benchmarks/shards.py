"""Shards: what a run over 100,000 files costs: its rows on disk, its events, and a page of its manifest."""

from __future__ import annotations

from time import perf_counter

from benchmarks.figure import Bench
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from benchmarks.workload import encode
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog
from dataforge.model.filter import ShardFilter
from dataforge.model.shard import ShardState
from dataforge.storage.database import Database

COUNT, STEP = 100_000, 10_000
STORED = "select sum(octet_length(content)) from shard_chunk"


def main() -> None:
    """Lists the files of one run, ends each, and reads them back."""
    with scratch_database({}) as database:
        bench = Bench("shards", server_version(database))
        keys = [f"s3://lake/incoming/2026-11-01/customer-{number * 7919 % COUNT:06}.json" for number in range(COUNT)]
        listed = [
            _event(begin, [{"key": key} for key in keys[begin : begin + STEP]]) for begin in range(0, COUNT, STEP)
        ]
        ended = [
            _event(COUNT + begin, [_ended(begin + place, key) for place, key in enumerate(keys[begin : begin + STEP])])
            for begin in range(0, COUNT, STEP)
        ]
        bench.times("shards.list.10000", [_timed(database, body) for body in listed])
        bench.times("shards.end.10000", [_timed(database, body) for body in ended])
        bench.times("shards.end.1", [_timed(database, _event(10**6 + n, [_ended(n, keys[n])])) for n in range(50)])
        came = sum(map(len, (*listed, *ended)))
        stored = _stored(database)
        bench.size("size.manifest.100000", stored, f"the events as they came ({came:,} bytes)", stored / came)
        bench.times("shards.page.1000", _pages(database, None))
        bench.times("shards.page.failed", _pages(database, ShardState.FAILED))


def _event(second: int, shards: list[dict[str, object]]) -> bytes:
    task = {"namespace": "bench", "name": "files.load"}
    time = f"2026-11-{1 + second // 86_400:02}T{second // 3_600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}Z"
    return encode({"time": time, "task": task, "run": "r", "state": "running", "shards": shards})


def _ended(number: int, key: str) -> dict[str, object]:
    return {"key": key, "state": "failed" if number % 10_000 == 0 else "succeeded", "rows": number * 31 % 5_000}


def _timed(database: Database, body: bytes) -> float:
    began = perf_counter()
    assert record_native(database, "dev", [body], NOTHING).rejected == []
    return perf_counter() - began


def _stored(database: Database) -> float:
    with database.transaction() as connection:
        row = connection.execute(STORED).fetchone()
    return float(row[0]) if row else 0.0


def _pages(database: Database, state: ShardState | None) -> list[float]:
    seconds: list[float] = []
    cursor: str | None = None
    while len(seconds) < COUNT // 1_000:
        began = perf_counter()
        wanted = ShardFilter(name="files.load", run="r", state=state, limit=1_000, cursor=cursor)
        cursor = catalog.shards(database, "dev", wanted).next_cursor
        seconds.append(perf_counter() - began)
    return seconds
