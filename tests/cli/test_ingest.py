"""`dataforge ingest`: what it reads, what it counts, what it says of what it refuses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataforge.ingest.event_file import NumberedEvent, batches

Run = Callable[..., Result]


def _native(number: int = 0, **changes: Any) -> dict[str, Any]:
    task = {"namespace": "shell", "name": "orders.load"}
    return {"time": "2026-11-01T06:10:00Z", "task": task, "state": "succeeded", "run": f"r{number}", **changes}


def _openlineage() -> dict[str, Any]:
    run = {"runId": "0190c3f5-0000-7000-8000-000000000001"}
    job = {"namespace": "shell", "name": "orders.export"}
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-01T06:10:00Z",
        "producer": "https://example.com",
        "run": run,
        "job": job,
    }


def _lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


_FORMS = [
    pytest.param(_lines(_native(), _openlineage()), id="lines"),
    pytest.param(b"\n" + _lines(_native()) + b"\n\n" + _lines(_openlineage()).strip(), id="blank lines"),
    pytest.param(json.dumps([_native(), _openlineage()]).encode(), id="an array"),
    pytest.param(json.dumps([_native(), _openlineage()], indent=2).encode(), id="an indented array"),
    pytest.param(b"\xef\xbb\xbf" + _lines(_native(), _openlineage()), id="with a byte order mark"),
    pytest.param(gzip.compress(_lines(_native(), _openlineage())), id="gzipped"),
]


@pytest.mark.parametrize("content", _FORMS)
def test_both_kinds_of_events_are_read_in_every_form(run: Run, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "events"
    file.write_bytes(content)
    done = run("ingest", str(file))
    assert (done.exit_code, done.stdout) == (0, "received 2, applied 2, duplicates 0, rejected 0\n")


def test_one_indented_event_is_read(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(_openlineage(), indent=2))
    assert "applied 1" in run("ingest", str(file)).stdout


def test_a_file_read_again_changes_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(_lines(_native(), _native(1)))
    run("ingest", str(file))
    assert run("ingest", str(file)).stdout == "received 2, applied 0, duplicates 2, rejected 0\n"


def test_standard_input_is_read(run: Run) -> None:
    assert "applied 1" in run("ingest", "-", input=_lines(_native())).stdout
    assert "duplicates 1" in run("ingest", "-", input=gzip.compress(_lines(_native()))).stdout


def test_a_refused_event_is_named_by_its_line_and_kept(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(_lines(_native()) + b"\n{broken\n" + _lines(_native(state="done"), _native(1)))
    done = run("ingest", str(file))
    assert done.exit_code == 1
    assert done.stdout == "received 4, applied 2, duplicates 0, rejected 2\n"
    first, second = done.stderr.splitlines()
    assert first.startswith(f"{file}:3: $: expected JSON in UTF-8 (")
    assert second.startswith(f"{file}:4: state: expected")
    assert len(json.loads(run("rejects", "--json").stdout)["items"]) == 2


def test_several_files_are_counted_together(run: Run, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_bytes(_lines(_native(number)))
    done = run("ingest", *(str(path) for path in sorted(tmp_path.glob("*.jsonl"))))
    assert done.stdout == "received 3, applied 3, duplicates 0, rejected 0\n"


def test_an_empty_file_is_fine(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = run("ingest", str(tmp_path / "empty"))
    assert (done.exit_code, done.stdout) == (0, "received 0, applied 0, duplicates 0, rejected 0\n")


def test_what_stands_before_a_break_in_a_gzip_file_is_recorded(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.gz"
    file.write_bytes(gzip.compress(_lines(*(_native(n) for n in range(600))))[:-8])
    done = run("ingest", str(file))
    assert done.exit_code == 2
    assert "broken" in done.stderr
    assert "applied 500" in done.stdout


def test_an_unknown_environment_is_a_bad_use(run: Run) -> None:
    done = run("--environment", "nowhere", "ingest", "-", input=_lines(_native()))
    assert done.exit_code == 2
    assert "staging" in done.stderr


def test_a_missing_file_is_a_bad_use(run: Run, tmp_path: Path) -> None:
    assert run("ingest", str(tmp_path / "nothing")).exit_code == 2


def test_a_batch_is_bounded_in_number_and_in_bytes() -> None:
    small = [NumberedEvent(n, b"x") for n in range(5)]
    assert [len(batch) for batch in batches(small, 2)] == [2, 2, 1]
    large = [NumberedEvent(n, b"x" * (40 * 2**20)) for n in range(3)]
    assert [len(batch) for batch in batches(large, 2)] == [1, 1, 1]
