"""`make score`: every capture into an environment of its own, each against what really happened."""

import json
import sys
from pathlib import Path

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
    return 0 if all(score.held == len(score.checks) for score in scores) else 1


def _scores(database: Database, captures: Path) -> list[Score]:
    _record(database, "dev", captures / "airflow" / "events.jsonl")
    manifest = json.loads((captures / "dbt" / "manifest.json").read_bytes())
    declare(database, "dev", from_dbt(manifest, "prod-dbt", "duckdb://shop.duckdb"))
    _record(database, "dev", captures / "dbt" / "events.jsonl")
    for mode in ("artifact_mode", "structured_logs"):
        _record(database, "dev", captures / "dbt_http" / f"dbt_duckdb_build_{mode}.json")
    _record(database, "staging", captures / "spark" / "events.jsonl")
    alone = spark.score_events_alone(database, "staging", captures / "spark")
    record_any(database, "staging", spark.parents_outcomes(captures / "spark", "airflow-prod"), NOTHING)
    return [
        airflow.score(database, "dev", captures / "airflow"),
        dbt.score(database, "dev", captures / "dbt", "prod-dbt"),
        dbt.score_modes(database, "dev", "dbt-ns"),
        alone,
        spark.score_with_parents(database, "staging", captures / "spark"),
    ]


def _record(database: Database, environment: str, path: Path) -> None:
    body = path.read_bytes()
    record_any(database, environment, json.loads(body) if path.suffix == ".json" else body.splitlines(), NOTHING)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CAPTURES))
