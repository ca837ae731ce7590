"""Size: what an event costs on disk, its body and all that follows from it, beside its bytes as they came."""

from benchmarks import workload
from benchmarks.figure import Bench
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database

COUNT = 4_000
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
