"""`dataforge findings`: the worst first, with what was built from it; 0 for nothing, 1 for something, 2 for bad use."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

Run = Callable[..., Result]


def _event(minute: int, task: str, state: str, output: str) -> dict[str, object]:
    return {
        "time": f"2026-11-02T06:{minute:02}:00Z",
        "task": {"namespace": "shell", "name": task},
        "partition": "2026-11-01",
        "state": state,
        "inputs": [{"namespace": "s3://lake", "name": "orders", "partition": "2026-11-01"}] if task == "report" else [],
        "outputs": [{"namespace": "s3://lake", "name": output, "partition": "2026-11-01"}],
    }


@pytest.fixture
def early(run: Run) -> Run:
    """The command line on a ledger in which a report did not wait for the orders."""
    events = [
        _event(0, "load", "running", "orders"),
        _event(20, "load", "succeeded", "orders"),
        _event(5, "report", "running", "sales"),
        _event(30, "report", "succeeded", "sales"),
    ]
    assert run("ingest", "-", input=json.dumps(events).encode()).exit_code == 0
    return run


def test_what_is_found_is_a_table_and_a_sentence_each(early: Run) -> None:
    done = early("findings", "--since", "2026-11-01")
    assert done.exit_code == 1
    assert [line.split()[:4] for line in done.stdout.splitlines()[1:2]] == [["medium", "started", "too", "early"]]
    assert (
        "1. report for 2026-11-01 started at 2026-11-02 06:05:00 UTC, 15 min before s3://lake/orders for 2026-11-01 was"
        " ready (2026-11-02 06:20:00 UTC).\n   It wrote sales 2026-11-01.\n"
    ) in done.stdout


def test_json_is_one_document_with_the_number_of_all(early: Run) -> None:
    done = early("findings", "--since", "2026-11-01", "--json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["found"], [item["run"] for item in answer["items"]]) == (1, 1, ["2026-11-01"])


@pytest.mark.parametrize(
    "narrowed",
    [["--since", "1h"], ["--code", "source_silent"], ["--owner", "nobody"], ["--since", "2026-11-02T06:06Z"]],
)
def test_nothing_found_is_exit_code_0(early: Run, narrowed: list[str]) -> None:
    since = [] if "--since" in narrowed else ["--since", "2026-11-01"]
    done = early("findings", *since, *narrowed)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Nothing is found to be wrong since ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--since", "yesterday"], "7d or 12h"),
        (["--since", "7 days"], "7d or 12h"),
        (["--code", "wrong"], "started_too_early"),
        (["--limit", "0"], "1<=x<=1000"),
    ],
)
def test_bad_use_says_what_would_be_right(run: Run, arguments: list[str], word: str) -> None:
    done = run("findings", *arguments)
    assert done.exit_code == 2
    assert word in done.stderr
