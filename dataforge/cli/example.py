"""The recorded shop of `examples/shop`: what `up` loads, so that the first question has an answer."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from dataforge.dispatch.backfill import begin
from dataforge.ingest.batch import record_any
from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.backfill import Backfilling, Target
from dataforge.model.errors import StartupError
from dataforge.storage.database import Database

SHOP = Path(__file__).parents[2] / "examples" / "shop"
# What was built from the day that was written again, the week behind it last.
PROPOSAL = Backfilling(
    targets=(Target(name="model.shop.stg_orders", namespace="shop-dbt", partitions=("2026-11-05",)),),
    direction="downstream",
    overwrite="stale",
    reason="the enriched orders of 5 November were written again",
    by="team-data@shop.example",
    proposed=True,
    id="5b0b7f0e-0c0d-4d6a-9d2e-2f0f9a3c1105",
)
DBT = ("shop-dbt", "duckdb://shop.duckdb")  # the namespaces of dbt's jobs and of its relations


def load(url: str, environment: str, *, events: bool = True) -> None:
    """Declares the shop's definitions and dbt's, and if wanted records its events and proposes the backfill that they
    call for; a second time changes nothing."""
    import yaml

    database = Database(url, max_size=1)
    try:
        definitions = yaml.safe_load((SHOP / "definitions.yaml").read_text(encoding="utf-8"))
        declare(database, environment, definition.parse(definitions))
        manifest = SHOP / "dbt" / "manifest.json"
        declare(database, environment, from_dbt(manifest.read_bytes(), *DBT))
        if events:
            for recorded in sorted((SHOP / "events").glob("*.jsonl")):
                record_any(database, environment, recorded.read_bytes().splitlines(), NOTHING)
            begin(database, environment, PROPOSAL, datetime.now(UTC))
    finally:
        database.close()


def open_shop(state: Path) -> None:
    """Fills this folder with the shop's lake and the warehouse that dbt builds on it; a second time changes nothing.

    A process of its own: dbt sets logging, signals and the environment of the whole process as it likes.
    """
    command = [sys.executable, str(SHOP / "open_shop.py"), str(state)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartupError(f"the example's warehouse could not be built: {done.stderr.strip()[-2000:]}")
