"""Size: what an event costs on disk and in the server's log, its body and all that follows from it, beside its bytes as
they came, and in which tables and indexes it lies; and what a run and a body cost in the files of the archive."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import workload
from benchmarks.figure import Bench
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from benchmarks.size_by_part import parts, shown
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import run_end
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database

COUNT = 4_000
APART = 16_000  # events, of which a run's end comes up to 3,000 after its begin
LEAST = 20  # bytes: what takes less of an event is not told of by itself
RUNS = 40_000  # events
TOTAL = """
select sum(pg_total_relation_size(c.oid)) from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
"""
BODIES = "select sum(octet_length(body)) from event_body e join environment n on n.id = e.environment where n.name = %s"


def main() -> None:
    """Measures native events and Airflow's, each in an environment of its own."""
    with scratch_database({}) as database:
        bench = Bench("size", server_version(database))
        for name, environment, bodies, record in (
            ("native", "staging", workload.native(COUNT), record_native),
            ("airflow", "prod", workload.airflow(COUNT), record_openlineage),
        ):
            before, logged = total(database), _logged(database)
            for begin in range(0, COUNT, 500):
                record(database, environment, bodies[begin : begin + 500], NOTHING)
            came = sum(map(len, bodies)) / COUNT
            whole, body = (total(database) - before) / COUNT, _bodies(database, environment) / COUNT
            figure = "size.event" if name == "airflow" else f"size.event.{name}"
            bench.size(figure, whole, f"the event as it came ({came:,.0f} bytes)", whole / came)
            wal = (_logged(database) - logged) / COUNT
            bench.size(f"size.wal.{name}", wal, f"the event as it came ({came:,.0f} bytes)", wal / came)
            bench.size(f"size.body.{name}", body, f"the event as it came ({came:,.0f} bytes)", body / came)
        _exported(bench)
        for name, bodies, record in (
            ("native", workload.apart(workload.native(APART), 3_000), record_native),
            ("airflow", workload.airflow(COUNT), record_openlineage),
        ):
            _by_part(bench, name, bodies, record)


def _by_part(bench: Bench, name: str, bodies: list[bytes], record: Callable[..., object]) -> None:
    """What an event costs where runs begin and end in different batches, by tables and indexes; what vacuum has not
    given back yet is counted."""
    with scratch_database({"autovacuum": "off"}) as database:
        before, logged = parts(database), _logged(database)
        for begin in range(0, len(bodies), 500):
            record(database, "prod", bodies[begin : begin + 500], NOTHING)
        wal = (_logged(database) - logged) / len(bodies)
        grown = {table: part.grown(before.get(table), len(bodies)) for table, part in parts(database).items()}
    whole = sum(part.whole for part in grown.values())
    for table, part in sorted(grown.items()):
        if part.whole >= LEAST:
            floor = (
                f"all of an event ({whole:,.0f} bytes); {part.inserted:.2f} rows, indexes {part.whole - part.rows:.0f}"
            )
            bench.size(f"size.{name}.{table}", part.whole, floor, part.whole / whole)
    if name == "native":
        bench.size("size.event.apart", whole)
        bench.size("size.wal.apart", wal)
    sys.stdout.write(shown(grown, LEAST) + "\n")


def _exported(bench: Bench) -> None:
    """Runs in files: many native ones in a month, and Airflow's as they came."""
    far = datetime(2100, 1, 1, tzinfo=UTC)
    for name, bodies, record in (
        ("native", workload.native(RUNS), record_native),
        ("airflow", workload.airflow(RUNS), record_openlineage),
    ):
        with scratch_database({}) as database, TemporaryDirectory() as folder:
            for begin in range(0, RUNS, 500):
                record(database, "dev", bodies[begin : begin + 500], NOTHING)
            with database.transaction() as connection:
                connection.execute("select premake_run_parts(%s)", [far])  # so that what is there is not in the last
            files = run_end.end_old(database, far, Archive(str(Path(folder)))).files
            runs, size = sum(each.rows for each in files), sum(each.size for each in files)
            bench.size(f"size.run.file.{name}", size / runs, f"the bound of 25 bytes ({runs:,} runs)", size / runs / 25)


def total(database: Database) -> float:
    """What all tables hold, with their indexes, in bytes."""
    with database.transaction() as connection:
        row = connection.execute(TOTAL.encode()).fetchone()
    return float(row[0]) if row else 0.0


def _logged(database: Database) -> float:
    """How much the server has written to its log, in bytes."""
    with database.transaction() as connection:
        row = connection.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    return float(row[0]) if row else 0.0


def _bodies(database: Database, environment: str) -> float:
    with database.transaction() as connection:
        row = connection.execute(BODIES, [environment]).fetchone()
    return float(row[0]) if row else 0.0
