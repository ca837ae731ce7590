"""The captured history as an example: what `up` loads, so that the first question has an answer."""

import json
from pathlib import Path

from dataforge.ingest.batch import record_any
from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.storage.database import Database

EXAMPLES = Path(__file__).parents[2] / "examples"
CAPTURES = (
    "airflow/events.jsonl",
    "dbt/events.jsonl",
    "dbt_http/dbt_duckdb_build_artifact_mode.json",
    "dbt_http/dbt_duckdb_build_structured_logs.json",
    "spark/events.jsonl",
)


def load(url: str, environment: str) -> None:
    """Declares the example's definitions and records its events; a second time changes nothing."""
    import yaml

    database = Database(url, max_size=1)
    try:
        manifest = json.loads((EXAMPLES / "captures" / "dbt" / "manifest.json").read_bytes())
        declare(database, environment, from_dbt(manifest, "prod-dbt", "duckdb://shop.duckdb"))
        shop = yaml.safe_load((EXAMPLES / "definitions.yaml").read_text(encoding="utf-8"))
        declare(database, environment, definition.parse(shop))
        for capture in CAPTURES:
            body = (EXAMPLES / "captures" / capture).read_bytes()
            events = json.loads(body) if capture.endswith(".json") else body.splitlines()
            record_any(database, environment, events, NOTHING)
    finally:
        database.close()
