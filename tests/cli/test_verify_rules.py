"""What other rules would change is known before they are deployed: one is broken on purpose in a copy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dataforge
from dataforge.cli.example import load
from dataforge.ledger.rules import rules_version
from dataforge.ledger.verify import digest
from dataforge.storage.database import Database
from tests.cli.conftest import Run

PACKAGE = Path(dataforge.__file__).parent
RULE = ("RunState.FAILED: PartitionStatus.FAILED", "RunState.FAILED: PartitionStatus.SKIPPED")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a package of the same rules."""
    shutil.copytree(PACKAGE, tmp_path / "dataforge", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def tried(copy: Path, database: Database, *options: str) -> subprocess.CompletedProcess[str]:
    """`verify --rules` as the package of this folder has them."""
    command = [sys.executable, "-c", "from dataforge.cli.main import main; main()", "verify", "--rules", *options]
    ours = {"DATAFORGE_DATABASE_URL": database.url, "DATAFORGE_HOME": str(copy / "home"), "PYTHONPATH": str(copy)}
    return subprocess.run(command, env={**os.environ, **ours}, capture_output=True, text=True, check=False, cwd=copy)


def test_a_broken_rule_is_told_by_kind_and_partition_and_changes_nothing(database: Database, copy: Path) -> None:
    load(database.url, "dev")
    before = digest(database, "dev")
    assert tried(copy, database).returncode == 0
    edit(copy / "dataforge" / "model" / "run.py", *RULE)
    done = tried(copy, database, "--json")
    assert (done.returncode, digest(database, "dev")) == (1, before)
    told = json.loads(done.stdout)
    assert told["rules"] != rules_version()
    kinds = {(kind["of"], kind["before"], kind["after"]) for kind in told["kinds"]}
    assert kinds == {("partition", "failed", "skipped"), ("write", None, None)}
    assert {(each["before"], each["after"]) for each in told["changes"]} == {("failed", "skipped")}
    assert all(each["name"] and each["which"] for each in told["changes"])
    told_people = tried(copy, database)
    assert told_people.returncode == 1
    assert "would change what dev has" in told_people.stdout


def test_the_rules_of_the_state_change_nothing(database: Database, run: Run) -> None:
    load(database.url, "dev")
    done = run("verify", "--rules")
    assert (done.exit_code, done.stdout.split()[:3]) == (0, ["the", "rules", rules_version() + ","])


@pytest.mark.parametrize(
    "module", ["model/state.py", "ingest/spark.py", "ledger/settle_runs.py", "storage/partition.py"]
)
def test_a_changed_rule_is_another_version(copy: Path, module: str) -> None:
    command = [sys.executable, "-c", "from dataforge.ledger.rules import rules_version; print(rules_version())"]

    def version() -> str:
        environ = {**os.environ, "PYTHONPATH": str(copy)}
        return subprocess.check_output(command, env=environ, text=True, cwd=copy).strip()

    assert version() == rules_version()
    (copy / "dataforge" / "cli" / "verify.py").write_bytes(b"")
    assert version() == rules_version()
    path = copy / "dataforge" / module
    path.write_bytes(path.read_bytes() + b"\n")
    assert version() != rules_version()
