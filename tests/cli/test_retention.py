"""`retention` says of each month whether it may be forgotten what was recorded in it, and forgets nothing unasked."""

from __future__ import annotations

import json

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database
from tests.cli.conftest import Run


def test_this_month_is_listed_as_young_and_stays(database: Database, run: Run) -> None:
    events = workload.native(10)
    record_native(database, "dev", events, NOTHING)
    assert "younger than 400 days" in run("retention").stdout
    told = json.loads(run("retention", "--apply", "--json").stdout)
    assert not any(fate["events"] for fate in told if not fate["stays"])
    assert record_native(database, "dev", events, NOTHING).duplicates == 10


def test_an_old_month_is_listed_and_only_dropped_when_asked_to(database: Database, run: Run) -> None:
    record_native(database, "dev", [workload.encode(_OLD)], NOTHING)
    with database.transaction() as connection:
        connection.execute("alter table event disable trigger event_is_append_only")
        connection.execute("update event set recorded_at = recorded_at - interval '500 days'")
    for asked, said in ((), "may go"), (("--apply",), "dropped"):
        (line,) = [each for each in run("retention", *asked).stdout.splitlines() if each.startswith("event_rest")]
        assert said in line
    (refused,) = record_native(database, "dev", [workload.encode(_OLD)], NOTHING).rejected
    assert refused.errors[0].field == "time"


_OLD = {"time": "2021-03-04T05:06:07Z", "task": {"namespace": "n", "name": "load"}, "state": "succeeded"}
