"""`dataforge rerun` and `dataforge control`: what is ordered is said, and what means nothing is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def _declared(run: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "night.yaml"
    manifest.write_text(
        "tasks:\n- {namespace: shell, name: extract, domain: sales, gates: [review]}\n"
        "- {namespace: shell, name: load, consumes: [{task: {namespace: shell, name: extract}}]}\n"
    )
    assert run("declare", str(manifest)).exit_code == 0


def _codes(run: Run, name: str) -> list[str]:
    return [reason["code"] for reason in json.loads(run("why", name, "--json").stdout)["reasons"]]


def test_a_rerun_is_said_and_carried_out_by_the_next_claim(run: Run) -> None:
    assert run("control", "approve", "extract", "--gate", "review").exit_code == 0
    assert run("claim", "extract", "--run", "true").exit_code == 0
    assert run("rerun", "load", "--reason", "late").exit_code == 2
    assert _codes(run, "extract") == ["already_done"]
    ordered = run("rerun", "extract", "--reason", "a late file", "--downstream", "all")
    assert (ordered.exit_code, ordered.output) == (0, "1 partition may run again:\n  extract\n")
    assert run("claim", "extract", "--run", "true").exit_code == 0
    assert _codes(run, "extract") == ["already_done"]


def test_orders_hold_and_let_go(run: Run) -> None:
    assert _codes(run, "extract") == ["gate_pending"]
    assert run("control", "approve", "extract", "--gate", "review").exit_code == 0
    assert run("control", "pause", "--domain", "sales", "--reason", "stocktaking").exit_code == 0
    assert _codes(run, "extract") == ["paused"]
    assert "stocktaking" in run("why", "extract").output
    assert run("control", "resume", "--domain", "sales").exit_code == 0
    assert run("why", "extract").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause"],
        ["pause", "extract", "--domain", "sales"],
        ["stop", "extract"],
        ["cancel", "extract"],
        ["approve", "extract"],
        ["set", "--fact", "closed", "--value", "{"],
        ["pause", "nobody"],
    ],
)
def test_an_order_that_means_nothing_is_refused(run: Run, arguments: list[str]) -> None:
    assert run("control", *arguments).exit_code == 2
