"""Ingestion: what a durable event costs, beside a bare COPY of the same bytes on the same server.

The floors and the contestants take turns in one run; fsync and synchronous_commit are on. A figure is the
median of the rounds, the first one left out.
"""

import gzip
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import httpx
import msgspec
import uvicorn

from benchmarks import workload
from benchmarks.figure import Bench
from benchmarks.scratch import free_port, scratch_database
from dataforge.api.app import create_app
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.settings import load
from dataforge.storage.database import Database

ROUNDS, BATCH = 6, 500
FLOOR = "binary COPY of the same bytes into a bare table"


def main() -> None:
    """Measures ledger.record and HTTP, native and OpenLineage."""
    with scratch_database({}) as database:
        bench = Bench("ingest", server_version(database))
        with database.transaction() as connection:
            connection.execute("create table bare (id bigint generated always as identity, body bytea not null)")
        _warm_up(database)
        native, airflow = workload.native(ROUNDS * 4_000, seed=7), workload.airflow(ROUNDS * 500, seed=7)
        _compare(bench, database, "ingest.record", native, record_native)
        _compare(bench, database, "ingest.openlineage.large", airflow, record_openlineage)
        with server(database) as client:
            _http(bench, database, client)


def server_version(database: Database) -> str:
    with database.transaction() as connection:
        row = connection.execute("show server_version").fetchone()
    return str(row[0]) if row else ""


def _warm_up(database: Database) -> None:
    """Some history, and the statistics that autovacuum has gathered after a few seconds of it."""
    record_native(database, "dev", workload.native(4_000, seed=3), NOTHING)
    record_openlineage(database, "dev", workload.airflow(500, seed=3), NOTHING)
    with database.transaction() as connection:
        connection.execute("analyze")


def _parts(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    size = len(bodies) // ROUNDS
    for number in range(ROUNDS):
        yield bodies[number * size : (number + 1) * size]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _copy(database: Database, bodies: Sequence[bytes]) -> None:
    for begin in range(0, len(bodies), BATCH):
        with (
            database.transaction() as connection,
            connection.cursor() as cursor,
            cursor.copy("copy bare (body) from stdin (format binary)") as copy,
        ):
            copy.set_types(["bytea"])
            for body in bodies[begin : begin + BATCH]:
                copy.write_row([body])


def _compare(
    bench: Bench,
    database: Database,
    figure: str,
    bodies: Sequence[bytes],
    record: Callable[..., object],
) -> None:
    ours, floors = [], []
    for part in _parts(bodies):
        floors.append(len(part) / _timed(partial(_copy, database, part)))
        began = time.perf_counter()
        for begin in range(0, len(part), BATCH):
            record(database, "dev", part[begin : begin + BATCH], NOTHING)
        ours.append(len(part) / (time.perf_counter() - began))
    value, floor = median(ours[1:]), median(floors[1:])
    bench.rate(figure, value, f"{FLOOR} ({floor:,.0f}/s)", value / floor)


@contextmanager
def server(database: Database) -> Iterator[httpx.Client]:
    """The API as it runs, on a free loopback port."""
    port = free_port()
    settings = load({"DATAFORGE_DATABASE_URL": database.url, "DATAFORGE_PORT": str(port)}, Path("no.toml"))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_level="warning"))
    for library in ("httpx", "yoyo"):
        logging.getLogger(library).setLevel(logging.WARNING)  # the application's logging has turned it on
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as client:
        while not server.started:
            time.sleep(0.05)
        yield client
    server.should_exit = True
    thread.join()


def _http(bench: Bench, database: Database, client: httpx.Client) -> None:
    rounds = list(_parts(workload.native(ROUNDS * 1_000, seed=11)))
    batches: list[float] = []
    singles: list[float] = []
    floors: list[float] = []
    waits: list[float] = []
    for part in rounds:
        floors.append(len(part) / _timed(partial(_copy, database, part)))
        batches.append(len(part) / _timed(partial(_post_batches, client, part)))
        alone = workload.native(150, seed=len(singles) + 100)
        taken = [_timed(partial(_post, client, body)) for body in alone]
        singles.append(len(alone) / sum(taken))
        waits += taken
    floor = median(floors[1:])
    bench.rate("ingest.http.batch", median(batches[1:]), f"{FLOOR} ({floor:,.0f}/s)", median(batches[1:]) / floor)
    bench.rate("ingest.http.single", median(singles[1:]), f"{FLOOR} ({floor:,.0f}/s)", median(singles[1:]) / floor)
    bench.times("write.p95", waits)
    large = workload.airflow(100, seed=99)
    body = gzip.compress(b"[" + b",".join(large) + b"]")
    answer = client.post("/dev/lineage/batch", content=body, headers={"Content-Encoding": "gzip"})
    assert msgspec.json.decode(answer.content)["summary"]["successful"] == len(large), answer.text


def _post(client: httpx.Client, body: bytes) -> None:
    client.post("/dev/events", content=body).raise_for_status()


def _post_batches(client: httpx.Client, bodies: Sequence[bytes]) -> None:
    for begin in range(0, len(bodies), 100):
        body = b"[" + b",".join(bodies[begin : begin + 100]) + b"]"
        client.post("/dev/events", content=body, headers={"Content-Type": "application/json"}).raise_for_status()
