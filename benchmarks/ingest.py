"""Ingestion: what a durable event costs, beside the floors of the same bytes on the same server.

The floors and the contestants take turns in one run; fsync and synchronous_commit are on. A figure is the
median of the rounds, the first one left out.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from statistics import median
from typing import Any, TypeVar

from benchmarks import consumed, floor, workload
from benchmarks.checked import check
from benchmarks.figure import Bench, timed
from benchmarks.load import Answered, Load, measure
from benchmarks.processor import spent
from benchmarks.scratch import scratch_database
from benchmarks.served import served
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.garbage import collect_less
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database

ROUNDS, BATCH = 6, 500
_T = TypeVar("_T")
HTTP_ROUNDS = 4
NATIVE, OPENLINEAGE = "/api/v1/dev/events", "/api/v1/dev/lineage"
# How events come over HTTP, by the name of the figure: with 64 clients unless it says how many.
WAYS: dict[str, dict[str, Any]] = {
    "ingest.http.single.1": {"path": NATIVE, "clients": 1, "requests": 100, "events": 1},
    "ingest.http.single.8": {"path": NATIVE, "clients": 8, "requests": 500, "events": 1},
    "ingest.http.single": {"path": NATIVE, "clients": 64, "requests": 2_000, "events": 1},
    "ingest.http.batch.1": {"path": NATIVE, "clients": 1, "requests": 20, "events": 100},
    "ingest.http.batch.8": {"path": NATIVE, "clients": 8, "requests": 40, "events": 100},
    "ingest.http.batch": {"path": NATIVE, "clients": 64, "requests": 64, "events": 100},
    "ingest.http.openlineage": {"path": OPENLINEAGE, "clients": 64, "requests": 500, "events": 1, "kind": "airflow"},
}
STEADY, STEADY_SECONDS = 1_000, 3  # writes a second, each acknowledged; for how long


def main() -> None:
    """Measures ledger.record, HTTP and Kafka, native and OpenLineage."""
    collect_less()  # as the processes do that record
    with scratch_database({}) as database:
        bench = Bench("ingest", server_version(database))
        floor.make(database)
        _warm_up(database)
        _native(bench, database)
        _openlineage(bench, database)
        _over_the_wire(bench, database)
        print(f"{check(database):,} partitions stand as the recorded events say")


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


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[begin : begin + BATCH] for begin in range(0, len(items), BATCH))


def _bare(database: Database, bodies: Sequence[bytes]) -> None:
    for batch in _batches(bodies):
        floor.bare(database, batch)


def _record(database: Database, record: Callable[..., object], bodies: Sequence[bytes]) -> None:
    for batch in _batches(bodies):
        record(database, "dev", batch, NOTHING)


def _least(database: Database, batches: Sequence[Sequence[floor.Row]]) -> None:
    for batch in batches:
        floor.least(database, batch)


def _native(bench: Bench, database: Database) -> None:
    """The ledger in one process beside both floors."""
    rates: dict[str, list[float]] = {"ingest.floor.bare": [], "ingest.floor.least": [], "ingest.record": []}
    costs: list[tuple[float, float]] = []
    for part in _parts(workload.native(ROUNDS * 4_000, seed=7)):
        parsed = [floor.rows(batch) for batch in _batches(part)]
        copied = timed(partial(_bare, database, part))
        kept = timed(partial(_least, database, parsed))
        recorded = spent(database, partial(_record, database, record_native, part))
        costs.append((recorded.python / len(part), recorded.postgres / len(part)))
        for found, seconds in zip(rates.values(), (copied, kept, recorded.clock), strict=True):
            found.append(len(part) / seconds)
    bare, least, ours = (median(found[1:]) for found in rates.values())
    bench.rate("ingest.floor.bare", bare)
    bench.rate("ingest.floor.least", least, f"{floor.BARE} ({bare:,.0f}/s)", least / bare)
    bench.rate("ingest.record", ours, f"{floor.LEAST} ({least:,.0f}/s)", ours / least)
    bench.cost("ingest.record.python", median(cost for cost, _ in costs[1:]))
    bench.cost("ingest.record.postgres", median(cost for _, cost in costs[1:]))


def _openlineage(bench: Bench, database: Database) -> None:
    """The ledger with Airflow's events of 5 KB beside a bare COPY of them."""
    ours, floors = [], []
    for part in _parts(workload.airflow(ROUNDS * 500, seed=7)):
        floors.append(len(part) / timed(partial(_bare, database, part)))
        ours.append(len(part) / timed(partial(_record, database, record_openlineage, part)))
    value, least = median(ours[1:]), median(floors[1:])
    bench.rate("ingest.openlineage.large", value, f"{floor.BARE} ({least:,.0f}/s)", value / least)


def _over_the_wire(bench: Bench, database: Database) -> None:
    """Each way of sending in turn, beside the floor; then writes at a steady rate, and what lies in Kafka."""
    seeds, floors = count(1_000), list[float]()
    found: dict[str, list[Answered]] = {name: [] for name in WAYS}
    with served(database.url) as one:
        for _ in range(HTTP_ROUNDS):
            bodies = workload.native(2_000, seed=next(seeds))
            floors.append(len(bodies) / timed(partial(_bare, database, bodies)))
            for name, way in WAYS.items():
                found[name].append(measure(Load(port=one.port, seed=next(seeds), **way)))
        paced = Load(one.port, NATIVE, 64, STEADY * STEADY_SECONDS, 1, seed=next(seeds), rate=STEADY)
        steady = measure(paced)
    least = median(floors[1:])
    for name, answers in found.items():
        way = WAYS[name]
        value = median(way["requests"] * way["events"] / answer.seconds for answer in answers[1:])
        bench.rate(name, value, f"{floor.BARE} ({least:,.0f}/s)", value / least)
        bench.times(f"{name}.wait", [wait for answer in answers[1:] for wait in answer.waits])
    bench.times("write.p95", steady.waits)
    consumed.measure(bench, database, least, f"{floor.BARE} ({least:,.0f}/s)")
