"""`make score`: every capture into an environment of its own, each against what really happened."""

import json
import sys
from pathlib import Path

from msgspec.structs import replace

from benchmarks.scratch import scratch_database
from benchmarks.truth import airflow, dbt, spark
from benchmarks.truth.score import Score
from dataforge.ingest.batch import record_any
from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.storage.database import Database

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"


def main(captures: Path) -> int:
    """Prints a line a score, and below it what does not hold; 0 when all holds."""
    with scratch_database() as database:
        scores = list(_scores(database, captures))
    for score in scores:
        print(score.line())
        for failure in score.failures:
            print(f"    {failure}")
    return 1 if any(score.failures for score in scores) else 0


def _scores(database: Database, captures: Path) -> list[Score]:
    _record(database, "dev", captures / "airflow" / "events.jsonl")
    manifest = json.loads((captures / "dbt" / "manifest.json").read_bytes())
    declare(database, "dev", from_dbt(manifest, "prod-dbt", "duckdb://shop.duckdb"))
    _record(database, "dev", captures / "dbt" / "events.jsonl")
    for mode in ("artifact_mode", "structured_logs"):
        _record(database, "dev", captures / "dbt_http" / f"dbt_duckdb_build_{mode}.json")
    edge = captures / "dbt_edge"
    declare(database, "prod", from_dbt((edge / "manifest.json").read_bytes(), "prod-dbt", "duckdb://test.duckdb"))
    for path in sorted(edge.glob("*/events.jsonl")):
        _record(database, "prod", path)
    return [
        airflow.score(database, "dev", captures / "airflow"),
        _airflow_edge(database, captures / "airflow_edge"),
        dbt.score(database, "dev", captures / "dbt", "prod-dbt"),
        dbt.score_modes(database, "dev", "dbt-ns"),
        dbt.score_edge(database, "prod", edge, "prod-dbt"),
        *_spark_scores(database, "staging", captures / "spark"),
        *_spark_scores(database, "spark-edge", captures / "spark_edge", of=" (edge cases)"),
    ]


def _airflow_edge(database: Database, capture: Path) -> Score:
    _create(database, "airflow-edge")
    _record(database, "airflow-edge", capture / "events.jsonl")
    found = airflow.score(database, "airflow-edge", capture, airflow.UNTOLD)
    return replace(found, title="Airflow: clears, branches, marks, timeouts, deletions")


def _create(database: Database, environment: str) -> None:
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s) on conflict do nothing", [environment])


def _spark_scores(database: Database, environment: str, capture: Path, of: str = "") -> tuple[Score, Score]:
    _create(database, environment)
    _record(database, environment, capture / "events.jsonl")
    alone = spark.score_events_alone(database, environment, capture)
    record_any(database, environment, spark.parents_outcomes(capture, "airflow-prod"), NOTHING)
    together = spark.score_with_parents(database, environment, capture)
    return replace(alone, title=f"Spark{of}, from the events alone"), replace(
        together, title=f"Spark{of}, with the outcomes of the parents"
    )


def _record(database: Database, environment: str, path: Path) -> None:
    body = path.read_bytes()
    record_any(database, environment, json.loads(body) if path.suffix == ".json" else body.splitlines(), NOTHING)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CAPTURES))
