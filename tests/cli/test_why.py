"""`dataforge why`: one sentence that says it all, a table of what is missing, an exit code for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
DAY = "2026-11-01"


def _event(name: str, state: str, partition: str = DAY, **more: Any) -> dict[str, Any]:
    task = {"namespace": "shell", "name": name}
    return {"time": "2026-11-02T00:10:00Z", "task": task, "partition": partition, "state": state, **more}


def _dataset(name: str, partition: str) -> dict[str, str]:
    return {"namespace": "s3://lake", "name": name, "partition": partition}


@pytest.fixture
def filled(run: Run) -> Run:
    """A ledger in which orders.load reads what orders.extract and orders.rates write."""
    inputs = [_dataset("orders", "2026-10-31"), _dataset("rates", "2026-10-31")]
    events = [
        _event("orders.load", "succeeded", "2026-10-31", inputs=inputs),
        _event("orders.extract", "failed", outputs=[_dataset("orders", DAY)]),
        _event("orders.extract", "succeeded", "2026-11-02", outputs=[_dataset("orders", "2026-11-02")]),
        _event("orders.rates", "running", outputs=[_dataset("rates", DAY)]),
        _event("orders.rates", "succeeded", "2026-11-02", outputs=[_dataset("rates", "2026-11-02")]),
    ]
    assert run("ingest", "-", input=json.dumps(events).encode()).exit_code == 0
    return run


def test_what_is_missing_comes_first_in_a_sentence_and_then_in_a_table(filled: Run) -> None:
    done = filled("why", "orders.load", DAY)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "orders.load for 2026-11-01 cannot run until somebody acts: orders for 2026-11-01 failed (and 1 more)."
    )
    assert lines[2].split() == [
        "WHY",
        "NOT",
        "NAME",
        "PARTITION",
        "STATE",
        "SINCE",
        "(UTC)",
        "OWNER",
        "EXPECTED",
        "(UTC)",
    ]
    assert lines[3].split() == ["failed", "orders", DAY, "failed", "2026-11-02", "00:10:00", "-", "-"]
    assert lines[4].split() == ["running", "rates", DAY, "running", "2026-11-02", "00:10:00", "-", "-"]
    assert lines[-1] == (
        "Rests on what was observed, which nobody has declared. Events seen: shell up to 2026-11-02 00:10:00 UTC."
    )


def test_what_may_run_says_so_and_exits_with_zero(filled: Run) -> None:
    done = filled("why", "orders.load", "2026-11-02", "--namespace", "shell")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "orders.load for 2026-11-02 may run now."


def test_what_is_done_says_since_when(filled: Run) -> None:
    done = filled("why", "orders.load", "2026-10-31")
    assert done.exit_code == 1
    assert done.stdout.startswith(
        "orders.load for 2026-10-31 need not run: it has succeeded (since 2026-11-02 00:10:00 UTC) (and 2 more)."
    )


def test_what_is_done_and_stale_says_what_is_newer(filled: Run) -> None:
    """What it was built from was written a week later."""
    late = {"time": "2026-11-09T06:02:00Z", "run": "again", "outputs": [_dataset("orders", "2026-10-31")]}
    event = {**_event("orders.extract", "succeeded", "2026-10-31"), **late}
    assert filled("ingest", "-", input=json.dumps([event]).encode()).exit_code == 0
    done = filled("why", "orders.load", "2026-10-31")
    assert done.exit_code == 1
    assert done.stdout.startswith(
        "orders.load for 2026-10-31 need not run: it has succeeded, though what it was built from has changed since"
        " (built 2026-11-02 00:10:00 UTC)"
    )
    assert (
        "\nGood to know:\n  s3://lake/orders for 2026-10-31 was written again at 2026-11-09 06:02 UTC, after this was"
        " built (2026-11-02 00:10 UTC)\n"
    ) in done.stdout


def test_every_reason_without_an_upstream_is_printed(filled: Run) -> None:
    done = filled("why", "orders.extract", "2026-11-02")
    assert "\nAlso: nobody knows what it depends on; declare it." in done.stdout


def test_json_is_the_verdict(filled: Run) -> None:
    done = filled("why", "orders.load", DAY, "--json")
    assert done.exit_code == 1
    verdict = json.loads(done.stdout)
    assert [reason["code"] for reason in verdict["reasons"]] == ["upstream_failed", "upstream_running"]
    assert verdict["runnable"] is False


@pytest.mark.parametrize("arguments", [("orders",), ("orders.load", DAY, "--namespace", "x"), (), ("a", "b", "c")])
def test_a_name_that_nobody_knows_and_bad_use_exit_with_two(filled: Run, arguments: tuple[str, ...]) -> None:
    assert filled("why", *arguments).exit_code == 2


def test_an_unknown_name_gets_suggestions(filled: Run) -> None:
    assert "did you mean shell/orders.load?" in filled("why", "orders").stderr


def test_what_a_check_refused_is_told_with_the_command_that_releases_it(filled: Run) -> None:
    checks = [{"name": "unique_id", "success": False, "severity": "error"}]
    inputs = [{**_dataset("rates", "2026-10-31"), "checks": checks}]
    made = _event("orders.rates", "succeeded", "2026-10-31", outputs=[_dataset("rates", "2026-10-31")])
    report = _event("report", "succeeded", "2026-10-30", inputs=[_dataset("rates", "2026-10-30")])
    failed = _event("check", "failed", "2026-10-31", inputs=inputs, error="3 rates come twice")
    assert filled("ingest", "-", input=json.dumps([made, report, failed]).encode()).exit_code == 0
    said = filled("why", "report", "2026-10-31")
    assert said.exit_code == 1
    assert said.stdout.splitlines()[0] == (
        "report for 2026-10-31 cannot run until somebody acts: rates for 2026-10-31 is quarantined, because the check"
        " unique_id failed with severity error (by check, run 2026-10-31): 3 rates come twice; run it again, or release"
        " it: dataforge control release --dataset rates 2026-10-31 --reason ..."
        "."
    )
    release = ["control", "release", "--dataset", "rates", "2026-10-31", "--reason", "looked at"]
    assert filled(*release).exit_code == 0
    assert filled("why", "report", "2026-10-31").exit_code == 0


def test_a_reason_says_by_which_edge_where_that_is_not_a_plain_one(filled: Run, tmp_path: Path) -> None:
    edges = [
        {
            "dataset": {"namespace": "s3://lake", "name": "rates"},
            "mapping": {"kind": "window", "from": -1, "to": 0},
            "condition": {"where": {"field": "rows", "op": ">", "value": 0}},
        },
        {"task": {"namespace": "shell", "name": "orders.rates"}, "condition": {"kind": "failed"}},
        {"dataset": {"namespace": "s3://lake", "name": "orders"}},
    ]
    daily = {"kind": "daily", "start": "2026-01-01"}
    task = {"namespace": "shell", "name": "trend", "partitioning": daily, "consumes": edges}
    (tmp_path / "trend.json").write_text(json.dumps({"source": "trend", "tasks": [task]}))
    assert filled("declare", str(tmp_path / "trend.json")).exit_code == 0
    reasons = json.loads(filled("why", "trend", DAY, "--json").stdout)["reasons"]
    said = {(reason["upstream"]["name"], reason.get("mapping"), reason.get("condition")) for reason in reasons}
    assert ("rates", "{kind: window, from: -1}", "rows > 0") in said
    assert ("orders.rates", None, "failed") in said
    assert ("orders", None, None) in said
    assert "mapping {kind: window, from: -1}, condition rows > 0" in filled("why", "trend", DAY).stdout
