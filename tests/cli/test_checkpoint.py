"""`checkpoint`, and what `verify` and `replay` say of the one they start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database
from tests.cli.conftest import Run


@pytest.fixture
def recorded(database: Database) -> Database:
    record_native(database, "dev", workload.native(50), NOTHING)
    return database


@pytest.mark.usefixtures("recorded")
def test_verifying_starts_from_the_checkpoint_unless_told_otherwise(run: Run) -> None:
    kept = json.loads(run("checkpoint", "--json").stdout)
    name = Path(kept["folder"]).name
    assert kept["kept"]["events"] == 50
    assert f"valid: the checkpoint {name} of 50 events, 0 events and" in run("verify").stdout
    assert "valid: 50 events and" in run("verify", "--from-start").stdout
    assert f"nothing changed: the checkpoint {name}" in run("replay").stdout
    assert "good" in run("checkpoint", "--list").stdout
    assert run("checkpoint", "--public-key").stdout.startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.usefixtures("recorded")
def test_a_changed_checkpoint_is_named_and_all_is_read(run: Run, tmp_path: Path) -> None:
    run("checkpoint")
    (state,) = tmp_path.glob("checkpoints/dev/*/state.zst")
    state.write_bytes(state.read_bytes() + b"x")
    done = run("verify")
    assert (done.exit_code, done.stdout[:16]) == (0, "valid: 50 events")
    assert f"refused: the checkpoint {state.parent.name}: state.zst was changed" in done.stderr
    listed = run("checkpoint", "--list")
    assert listed.exit_code == 1
    assert "refused: state.zst was changed" in listed.stdout


def test_a_wrong_state_is_not_kept(recorded: Database, run: Run) -> None:
    with recorded.transaction() as connection:
        connection.execute("update partition_state set version = 'x'")
    done = run("checkpoint")
    assert done.exit_code == 1
    assert done.stdout.startswith("not kept: ")
