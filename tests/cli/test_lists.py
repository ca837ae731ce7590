"""Lists on the command line: tables for people, JSON for machines, the same filters as over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import Result

from dataforge.cli import table

Run = Callable[..., Result]


@pytest.fixture
def filled(run: Run) -> Run:
    """The command line on a ledger that holds a few runs."""
    events: list[dict[str, Any]] = [
        {"time": "2026-11-01T06:00:00Z", "state": "running", "run": "a", "partition": "p1"},
        {"time": "2026-11-01T06:01:30Z", "state": "succeeded", "run": "a", "partition": "p1"},
        {"time": "2026-11-01T07:00:00Z", "state": "running", "run": "b", "partition": "p2"},
        {"time": "2026-11-01T09:05:00Z", "state": "failed", "run": "b", "partition": "p2", "error": "no"},
    ]
    for event in events:
        event["task"] = {"namespace": "shell", "name": "orders.load"}
        event["outputs"] = [{"namespace": "s3://lake", "name": "orders", "partition": event["partition"]}]
    assert run("ingest", "-", input=json.dumps(events).encode()).exit_code == 0
    return run


def _json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_runs_are_a_table_with_times_in_utc(filled: Run) -> None:
    header, latest, first = filled("runs").stdout.splitlines()
    assert header.split() == ["TASK", "PARTITION", "STATE", "TRY", "STARTED", "(UTC)", "TOOK", "EVIDENCE", "VERSION"]
    assert latest.split() == [
        "orders.load",
        "p2",
        "failed",
        "1",
        "2026-11-01",
        "07:00:00",
        "2h",
        "05m",
        "reported",
        "-",
    ]
    assert first.split() == [
        "orders.load",
        "p1",
        "succeeded",
        "1",
        "2026-11-01",
        "06:00:00",
        "1m",
        "30s",
        "reported",
        "-",
    ]


@pytest.mark.parametrize("verb", ["runs", "partitions", "tasks", "datasets", "rejects"])
def test_json_is_one_document(filled: Run, verb: str) -> None:
    assert set(_json(filled(verb, "--json"))) == {"items", "next_cursor"}


@pytest.mark.parametrize("verb", ["runs", "partitions", "tasks", "datasets"])
def test_every_noun_has_a_table(filled: Run, verb: str) -> None:
    done = filled(verb)
    assert done.exit_code == 0
    assert "orders" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--state", "failed"], ["b"]),
        (["orders.load"], ["b", "a"]),
        (["orders.load", "p1"], ["a"]),
        (["--since", "2026-11-01T06:30:00Z"], ["b"]),
        (["--until", "2026-11-01T06:30:00Z"], ["a"]),
        (["--since", "2026-11-02"], []),
        (["--limit", "1"], ["b"]),
        (["--namespace", "shell", "--kind", "task"], ["b", "a"]),
        (["--attempts", "--state", "failed"], ["b"]),
    ],
)
def test_each_filter_narrows_the_list(filled: Run, arguments: list[str], found: list[str]) -> None:
    assert [item["run"] for item in _json(filled("runs", "--json", *arguments))["items"]] == found


def test_a_cursor_goes_on_behind_the_page_before(filled: Run) -> None:
    first = _json(filled("runs", "--json", "--limit", "1"))
    rest = _json(filled("runs", "--json", "--cursor", first["next_cursor"]))
    assert [item["run"] for item in rest["items"]] == ["a"]
    assert rest["next_cursor"] is None


def test_nothing_found_says_so_and_is_no_failure(filled: Run) -> None:
    done = filled("runs", "--platform", "spark")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "nothing matches\n")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["runs", "--state", "broken"], "up_for_retry"),
        (["runs", "--since", "yesterday"], "2026-11-01T06:00:00Z"),
        (["runs", "--limit", "0"], "1<=x<=1000"),
        (["runs", "--cursor", "x"], "next_cursor"),
        (["runs", "orders.lod"], "orders.load"),
        (["datasets", "order"], "orders"),
    ],
)
def test_bad_use_says_what_would_be_right(filled: Run, arguments: list[str], word: str) -> None:
    done = filled(*arguments)
    assert done.exit_code == 2
    assert word in done.stderr


def test_a_name_cannot_steer_the_terminal(run: Run) -> None:
    event = {
        "time": "2026-11-01T06:00:00Z",
        "task": {"namespace": "shell", "name": "evil\x1b[2J\nname [red]"},
        "state": "succeeded",
    }
    run("ingest", "-", input=json.dumps(event).encode())
    done = run("tasks")
    assert "\x1b" not in done.stdout
    assert "evil\ufffd[2J\ufffdname [red]" in done.stdout


def test_times_and_durations_are_short() -> None:
    start = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)
    assert table.moment(start) == "2026-11-01 06:00:00"
    assert table.duration(start, None) is None
    assert table.duration(start, datetime(2026, 11, 1, 6, 0, 59, tzinfo=UTC)) == "59s"
    assert table.duration(start, datetime(2026, 11, 1, 6, 1, 5, tzinfo=UTC)) == "1m 05s"
    assert table.duration(start, datetime(2026, 11, 2, 7, 1, 5, tzinfo=UTC)) == "25h 01m"
    assert (table.several([]), table.several(["a"]), table.several(["a", "b", "c"])) == (None, "a", "a +2")


def test_the_shards_of_a_run_are_counted_and_listed(run: Run) -> None:
    event = {
        "time": "2026-11-01T06:00:00Z",
        "task": {"namespace": "shell", "name": "files.load"},
        "run": "r",
        "state": "succeeded",
        "shards": [{"key": "a.json", "state": "succeeded", "rows": 12}, {"key": "b.json", "state": "failed"}],
    }
    assert run("ingest", "-", input=json.dumps(event).encode()).exit_code == 0
    assert "failed, 1 of 2 shards" in run("runs").stdout
    header, first, second = run("shards", "files.load", "--run", "r").stdout.splitlines()
    assert header.split() == ["SHARD", "STATE", "ENDED", "(UTC)", "ROWS"]
    assert first.split() == ["a.json", "succeeded", "2026-11-01", "06:00:00", "12"]
    assert second.split() == ["b.json", "failed", "2026-11-01", "06:00:00", "-"]
    only = _json(run("shards", "files.load", "--run", "r", "--state", "failed", "--json"))
    assert [each["key"] for each in only["items"]] == ["b.json"]
    without = run("shards", "files.load")
    assert (without.exit_code, "--run" in without.stderr) == (2, True)
