"""The live state is what its recorded events and definitions give, and a state that is not is found out."""

import json
from pathlib import Path

import pytest

from dataforge.cli.example import load
from dataforge.ingest.batch import record_openlineage
from dataforge.ingest.redaction import NOTHING, Redaction, Rule
from dataforge.ingest.replay import verify
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.storage.database import Database

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"


@pytest.mark.parametrize("capture", ["airflow", "dbt", "spark"])
def test_every_capture_is_valid(database: Database, capture: str) -> None:
    bodies = (CAPTURES / capture / "events.jsonl").read_bytes().splitlines()
    assert record_openlineage(database, "dev", bodies, NOTHING).applied == len(bodies)
    found = verify(database, "dev")
    assert (found.difference, found.events) == (None, len(bodies))


def test_redacted_events_are_valid(database: Database) -> None:
    bodies = (CAPTURES / "airflow" / "events.jsonl").read_bytes().splitlines()
    rules = Redaction((Rule("run.facets.errorMessage", "drop"), Rule("job.facets.sourceCode.*", "hash")))
    assert record_openlineage(database, "dev", bodies, rules).applied == 70
    assert verify(database, "dev").difference is None


def test_a_tampered_state_is_found(database: Database) -> None:
    load(database.url, "dev")
    with database.transaction() as connection:
        connection.execute("update partition_state set status = 'failed' where status = 'ready' and partition <> ''")
    difference = verify(database, "dev").difference
    assert difference is not None
    assert difference.live is not None
    assert difference.live[0] == "partition_state"
    assert "failed" in json.loads(difference.live[1])


def test_verifying_leaves_nothing_behind(database: Database) -> None:
    load(database.url, "dev")
    verify(database, "dev")
    with database.transaction() as connection:
        names = [name for (name,) in connection.execute("select name from environment order by id")]
    assert names == ["dev", "staging", "prod"]


def test_a_retired_definition_leaves_nothing_of_itself(database: Database) -> None:
    load(database.url, "dev")
    before = digest(database, "dev")
    said = {"platform": "other", "owner": "x", "domain": "y"}
    task = {"namespace": "shop-airflow", "name": "shop_daily", **said}
    declare(database, "dev", definition.parse({"source": "brief", "tasks": [task]}))
    assert digest(database, "dev") != before
    declare(database, "dev", definition.parse({"source": "brief", "tasks": []}))
    assert digest(database, "dev") == before
    assert verify(database, "dev").difference is None
