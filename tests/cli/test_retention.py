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
    assert not any(fate["events"] for fate in told["fates"] if not fate["stays"])
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


def test_old_runs_are_exported_by_apply_and_found_in_their_file_where_the_database_has_them_not(
    database: Database, run: Run
) -> None:
    record_native(database, "dev", [workload.encode(each) for each in (_BEGUN, _ENDED)], NOTHING)
    assert "runs to export: dev/runs/2025-01\n" in run("retention", "--run-days", "300").stdout
    assert "exported, and read back: dev/runs/2025-01-" in run("retention", "--apply").stdout
    asked = ("runs", "load", "--since", "2025-01-01")
    assert run(*asked).stdout.splitlines()[1].split()[-1] == "database"
    with database.transaction() as connection:
        connection.execute("delete from run")
        connection.execute("delete from archived")
    file = run(*asked).stdout.splitlines()[1].split()[-1]
    assert file.startswith("dev/runs/2025-01-")
    (item,) = json.loads(run(*asked, "--json").stdout)["items"]
    assert (item["origin"], item["state"], item["ended_at"]) == (file, "succeeded", "2025-01-04T05:16:07Z")
    assert (item["inputs"], item["outputs"]) == (None, None)
    assert run("runs", "lod", "--since", "2025-01-01").exit_code == 2


_TOLD = {"task": {"namespace": "n", "name": "load"}, "run": "one", "partition": "2025-01-03"}
_BEGUN = {**_TOLD, "time": "2025-01-04T05:06:07Z", "state": "running"}
_ENDED = {**_TOLD, "time": "2025-01-04T05:16:07Z", "state": "succeeded"}
_OLD = {"time": "2021-03-04T05:06:07Z", "task": {"namespace": "n", "name": "load"}, "state": "succeeded"}
