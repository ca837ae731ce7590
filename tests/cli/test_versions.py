"""`dataforge tasks NAME --versions`: what a task was, when, and what changed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Run:
    """The command line on a ledger with two versions of one task, the older one declared after the newer."""
    for owner, upstream, since in (("bob", "raw", "2026-11-03"), ("ann", "old", "2026-11-01")):
        task = {
            "namespace": "airflow",
            "name": "load",
            "owner": owner,
            "consumes": [{"dataset": {"namespace": "db", "name": upstream}}],
        }
        (tmp_path / "dags.json").write_text(json.dumps({"tasks": [task]}), encoding="utf-8")
        assert run("declare", str(tmp_path / "dags.json"), "--valid-from", since).exit_code == 0
    return run


def test_versions_are_a_table_with_what_changed(filled: Run) -> None:
    header, latest, first = filled("tasks", "load", "--versions").stdout.splitlines()
    assert header.split() == ["FROM", "(UTC)", "TO", "(UTC)", "VERSION", "DECLARED", "BY", "CHANGED"]
    assert latest.startswith("2026-11-03 00:00:00  now ")
    assert latest.endswith(" dags         - consumes dataset db/old; + consumes dataset db/raw; owner: ann -> bob")
    assert first.split()[:4] == ["2026-11-01", "00:00:00", "2026-11-03", "00:00:00"]


def test_a_definition_is_printed_as_a_manifest_has_it(filled: Run) -> None:
    latest = json.loads(filled("tasks", "load", "--versions", "--json").stdout)["items"][0]
    printed = filled("tasks", "--definition", latest["version"][:12]).stdout
    assert printed.startswith(f"# task version {latest['version']}\n")
    assert yaml.safe_load(printed) == latest["definition"]
    assert json.loads(filled("tasks", "--definition", latest["version"], "--json").stdout)["name"] == "load"


def test_a_late_declaration_says_that_it_is_of_the_past(filled: Run, tmp_path: Path) -> None:
    said = filled("declare", str(tmp_path / "dags.json"), "--valid-from", "2026-11-02").stdout
    counts, past = said.split("unchanged 1")
    assert counts == "dags: created 0, changed 0, retired 0, "
    assert past == ", in the past until 2026-11-03 00:00:00 UTC; graph version 1\n"


def test_what_has_no_versions_says_so(filled: Run) -> None:
    assert filled("tasks", "--versions").exit_code == 2
    assert filled("tasks", "--definition", "xyz").exit_code == 2
    assert filled("tasks", "nothing", "--versions").exit_code == 2
    assert "no time" in filled("declare", __file__, "--valid-from", "soon").stderr
