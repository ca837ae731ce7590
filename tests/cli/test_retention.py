"""`retention` says of each part whether it may go and why it stays, and ends nothing unasked."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database
from tests.cli.conftest import Run
from tests.ingest.ended import cut


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


def test_old_runs_end_by_apply_and_are_found_in_their_file(database: Database, run: Run) -> None:
    cut(database, datetime(2025, 1, 1, tzinfo=UTC), datetime.now(UTC))
    record_native(database, "dev", [workload.encode(each) for each in (_BEGUN, _ENDED, *_LATER)], NOTHING)
    for days, said in ((10_000, "younger than 10000 days, which dev keeps"), (300, "may go")):
        told = run("retention", "--run-days", str(days)).stdout.splitlines()
        assert said in next(line for line in told if line.startswith("run_2025h1"))
    assert "exported, and read back: dev/runs/2025-01-" in run("retention", "--apply").stdout
    asked = ("runs", "load", "--since", "2025-01-01")
    later, file = (line.split()[-1] for line in run(*asked).stdout.splitlines()[1:])
    assert (later, file[:17]) == ("database", "dev/runs/2025-01-")
    (item,) = [each for each in json.loads(run(*asked, "--json").stdout)["items"] if each["run"] == "one"]
    assert (item["origin"], item["state"], item["ended_at"]) == (file, "succeeded", "2025-01-04T05:16:07Z")
    assert (item["inputs"], item["outputs"]) == (None, None)
    assert run("runs", "lod", "--since", "2025-01-01").exit_code == 2


_TOLD = {"task": {"namespace": "n", "name": "load"}, "run": "one", "partition": "2025-01-03"}
_BEGUN = {**_TOLD, "time": "2025-01-04T05:06:07Z", "state": "running"}
_ENDED = {**_TOLD, "time": "2025-01-04T05:16:07Z", "state": "succeeded"}
_LATER = [{**each, "run": "two", "time": f"2026{str(each['time'])[4:]}"} for each in (_BEGUN, _ENDED)]
_OLD = {"time": "2021-03-04T05:06:07Z", "task": {"namespace": "n", "name": "load"}, "state": "succeeded"}
