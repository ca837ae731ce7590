"""`dataforge control mark` and `clear`: who said what of a run is shown where the run is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
DAY = "2026-11-01"


@pytest.fixture
def failed(run: Run) -> Run:
    """A ledger in which a load has failed under the id that its platform gave it."""
    event: dict[str, Any] = {"task": {"namespace": "ns", "name": "load"}, "partition": DAY, "run": "scheduled__1"}
    events = [
        event | {"time": "2026-11-02T00:10:00Z", "state": "running"},
        event | {"time": "2026-11-02T00:12:00Z", "state": "failed", "error": "boom"},
    ]
    assert run("ingest", "-", input=json.dumps(events).encode()).exit_code == 0
    return run


def test_a_mark_is_of_the_run_that_decides_the_partition(failed: Run) -> None:
    said = failed("control", "mark", "load", DAY, "--state", "succeeded", "--by", "anna", "--reason", "checked by hand")
    assert (said.exit_code, said.stdout) == (0, "mark: recorded\n")
    [item] = json.loads(failed("runs", "load", "--json").stdout)["items"]
    assert (item["run"], item["state"], item["evidence"]) == ("scheduled__1", "succeeded", "operator")
    assert (item["marked"]["by"], item["marked"]["cleared"]) == ("anna", False)
    assert item["marked"]["reason"] == "checked by hand"
    assert "marked by anna at " in failed("runs", "load").stdout
    why = failed("why", "load", DAY)
    assert why.exit_code == 1
    assert "its run was marked succeeded by anna: checked by hand (owner: anna" in why.stdout


def test_a_cleared_run_may_run_again(failed: Run) -> None:
    assert failed("control", "clear", "load", DAY, "--by", "anna", "--reason", "a new file").exit_code == 0
    [item] = json.loads(failed("runs", "load", "--json").stdout)["items"]
    assert (item["state"], item["marked"]["cleared"]) == ("queued", True)
    assert "cleared by anna at " in failed("runs", "load").stdout
    why = failed("why", "load", DAY, "--json")
    assert [warning["code"] for warning in json.loads(why.stdout)["warnings"]] == ["marked"]


def test_a_mark_without_a_state_or_a_reason_is_refused(failed: Run) -> None:
    for options in (["--reason", "r"], ["--state", "failed"]):
        refused = failed("control", "mark", "load", DAY, *options)
        assert refused.exit_code == 2, refused.stdout
    assert failed("control", "clear", "load", DAY, "--state", "failed", "--reason", "r").exit_code == 2
