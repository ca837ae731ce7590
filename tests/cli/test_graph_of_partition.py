"""`dataforge graph` of a partition and of a run, read aloud."""

from __future__ import annotations

import json

from tests.cli.conftest import Run

EVENT = {
    "time": "2026-11-06T05:00:00Z",
    "task": {"namespace": "ns", "name": "report"},
    "partition": "2026-11-05",
    "run": "r1",
    "state": "succeeded",
    "inputs": [{"namespace": "s3://lake", "name": "orders", "partition": "2026-11-01"}],
}


def test_a_partition_and_a_run_are_shown(run: Run) -> None:
    assert run("ingest", "-", input=json.dumps(EVENT).encode()).exit_code == 0
    shown = run("graph", "report", "2026-11-05")
    assert "upstream of report 2026-11-05  task · ready" in shown.output
    assert "orders 2026-11-01  dataset · missing" in shown.output
    assert run("graph", "report", "2026-11-05", "--kind", "task").exit_code == 2
    assert json.loads(run("graph", "report", "2026-11-05", "--json").output)["truncated"] is False
    assert run("graph", "report", "--run", "r1").output == "report r1: succeeded\n"
    assert run("graph", "report", "--run", "r2").exit_code == 2
