"""`dataforge claim`: granted, refused with the reasons, and a command run under a lease."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

DAY = "2026-11-05"


@pytest.fixture(autouse=True)
def _declared(run: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "night.yaml"
    manifest.write_text(
        "tasks:\n- {namespace: shell, name: extract}\n"
        "- {namespace: shell, name: load, consumes: [{task: {namespace: shell, name: extract}}]}\n"
    )
    assert run("declare", str(manifest)).exit_code == 0


def _state(run: Run, name: str) -> list[str]:
    return [item["state"] for item in json.loads(run("runs", name, "--json").stdout)["items"]]


def test_a_claim_is_printed_and_completed(run: Run) -> None:
    granted = run("claim", "extract")
    assert (granted.exit_code, granted.stdout.split()[1:3]) == (0, ["attempt", "1,"])
    claim = granted.stdout.split()[0]
    assert run("claim", "--heartbeat", claim).exit_code == 0
    assert run("claim", "--complete", claim).exit_code == 0
    assert _state(run, "extract") == ["succeeded"]
    assert run("claim", "--fail", claim).exit_code == 1


def test_a_refused_claim_says_why_and_exits_with_1(run: Run) -> None:
    refused = run("claim", "load")
    assert refused.exit_code == 1
    assert "not granted: load may not run now: extract has not run yet" in refused.stderr
    assert "upstream" in refused.stdout.lower() or "missing" in refused.stdout


@pytest.mark.parametrize(("command", "code", "state"), [("true", 0, "succeeded"), ("sh -c 'exit 3'", 3, "failed")])
def test_a_command_is_run_under_a_claim(run: Run, command: str, code: int, state: str) -> None:
    assert run("claim", "extract", "--run", command).exit_code == code
    assert _state(run, "extract") == [state]


def test_a_command_that_cannot_be_run_gives_the_claim_back(run: Run) -> None:
    assert run("claim", "extract", "--run", "/no/such/program").exit_code == 2
    assert run("claim", "extract", "--run", "true").exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["load", "--complete", "x"], ["--complete", "x"], ["--run", "true"]])
def test_what_means_nothing_is_bad_use(run: Run, arguments: list[str]) -> None:
    assert run("claim", *arguments).exit_code == 2
