"""`bodies` says of each week whether what was said in it may go, and drops nothing unasked."""

from __future__ import annotations

import json

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database
from tests.cli.conftest import Run


def test_this_week_is_listed_as_young_and_stays(database: Database, run: Run) -> None:
    record_native(database, "dev", workload.native(10), NOTHING)
    run("checkpoint")
    assert "younger than 90 days" in run("bodies").stdout
    told = json.loads(run("bodies", "--drop", "--json").stdout)
    assert all(fate["stays"] for fate in told["fates"])
    assert "valid: 10 events" in run("verify", "--from-start").stdout
