"""`dataforge backfill`: planned, begun, followed and steered from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataforge.dispatch.release import tend
from dataforge.storage.database import Database
from tests.cli.conftest import Run

DAYS = ("2026-11-01", "2026-11-02")
RANGE = ("--from", DAYS[0], "--to", DAYS[1])


@pytest.fixture(autouse=True)
def _declared(run: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "night.yaml"
    daily = "partitioning: {kind: daily, start: 2026-01-01}"
    manifest.write_text(
        f"tasks:\n- {{namespace: shell, name: extract, cost: 3, {daily}}}\n"
        f"- {{namespace: shell, name: load, {daily}, consumes: [{{task: {{namespace: shell, name: extract}}}}]}}\n"
    )
    assert run("declare", str(manifest)).exit_code == 0


def _begun(run: Run) -> str:
    done = run("backfill", "start", "extract", *RANGE, "--direction", "downstream", "--reason", "a late file", "--json")
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["id"])


def test_a_plan_says_what_would_be_built_and_changes_nothing(run: Run) -> None:
    done = run("backfill", "plan", "extract", *RANGE, "--direction", "downstream", "--cap", "task=1", "--budget", "100")
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "4 partitions to build in 2 waves, 0 left as they are"
    assert "limited by" in done.output
    assert "it is missing" in done.output
    assert run("backfill", "list").output == "there is no backfill\n"


def test_nothing_to_build_is_a_no(run: Run) -> None:
    assert run("claim", "extract", DAYS[0], "--run", "true").exit_code == 0
    done = run("backfill", "plan", "extract", "--partition", DAYS[0])
    assert done.exit_code == 1
    assert "it is good" in done.output


def test_a_proposal_waits_until_it_is_resumed(run: Run) -> None:
    begun = run("backfill", "start", "extract", *RANGE, "--reason", "a late file", "--propose", "--json")
    backfill = str(json.loads(begun.stdout)["id"])
    shown = json.loads(run("backfill", "show", backfill, "--json").stdout)
    assert (shown["state"], shown["log"][0]["reason"]) == ("paused", "it is a proposal")
    assert run("backfill", "resume", backfill).exit_code == 0


def test_one_that_is_begun_is_listed_shown_and_steered(run: Run, database_url: str) -> None:
    backfill = _begun(run)
    assert backfill in run("backfill", "list").output
    assert run("backfill", "show", backfill).exit_code == 0
    database = Database(database_url, max_size=1)
    tend(database, "dev", datetime.now(UTC))
    assert run("claim", "extract", DAYS[0], "--run", "false").exit_code == 1
    tend(database, "dev", datetime.now(UTC) + timedelta(seconds=1))
    database.close()
    shown = run("backfill", "show", backfill)
    assert shown.exit_code == 1
    assert "1 failed" in shown.output
    listed = json.loads(run("backfill", "partitions", backfill, "--state", "blocked", "--json").stdout)["items"]
    assert [(item["task"]["name"], item["partition"]) for item in listed] == [("load", DAYS[0])]
    assert "is running" in run("backfill", "retry", backfill, "--reason", "mended").output
    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "canceled")):
        assert f"is {state}" in run("backfill", verb, backfill, "--reason", "x").output
    assert run("backfill", "resume", backfill).exit_code == 2
    log: list[dict[str, Any]] = json.loads(run("backfill", "show", backfill, "--json").stdout)["log"]
    assert [each["what"] for each in log] == ["canceled", "resumed", "paused", "retried", "began"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "nobody", *RANGE],
        ["plan", "extract"],
        ["plan", "extract", *RANGE, "--cap", "warehouse=4"],
        ["plan", "extract", *RANGE, "--cap", "all=0"],
        ["plan", "extract", *RANGE, "--hours", "22:00"],
        ["plan", "extract", *RANGE, "--hours", "22:00-25:00"],
        ["plan", "extract", *RANGE, "--budget", "0"],
        ["start", "extract", *RANGE],
        ["start", "extract", *RANGE, "--reason", " "],
        ["show", "018f4b52-6d5e-7c3f-8a4b-0123456789ab"],
        ["pause", "17"],
    ],
)
def test_what_means_nothing_is_refused(run: Run, arguments: list[str]) -> None:
    assert run("backfill", *arguments).exit_code == 2
