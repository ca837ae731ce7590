"""The command line's entry: a refusal is one message, and help costs no import."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from dataforge.cli import main
from dataforge.model.errors import FieldError, InvalidInput, NotFound, SettingsError


def _refusing(error: Exception) -> click.Command:
    def refuse() -> None:
        raise error

    return click.Command("refuse", callback=refuse)


@pytest.mark.parametrize(
    ("error", "stderr"),
    [
        (SettingsError("DATAFORGE_PORT", "x", "a port"), "error: DATAFORGE_PORT is 'x': expected a port\n"),
        (SettingsError("DATAFORGE_X", None, "brokers"), "error: DATAFORGE_X is not set: expected brokers\n"),
        (NotFound("no task a", ["b"]), "error: no task a\n  did you mean b?\n"),
        (
            InvalidInput("bad event", [FieldError("run.runId", 5, "a string")]),
            "error: bad event\n  run.runId: 5, expected a string\n",
        ),
    ],
)
def test_a_refusal_is_a_message_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, error: Exception, stderr: str
) -> None:
    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: _refusing(error))
    result = CliRunner().invoke(main.cli, ["refuse"])
    assert (result.exit_code, result.stderr) == (2, stderr)


def test_a_bad_environment_is_refused_by_its_option() -> None:
    result = CliRunner().invoke(main.cli, ["--environment", "No!", "status"])
    assert result.exit_code == 2
    assert "--environment is 'No!'" in result.stderr


def test_an_unknown_verb_is_bad_use() -> None:
    assert CliRunner().invoke(main.cli, ["whence"]).exit_code == 2


@pytest.mark.parametrize("name", sorted(main.VERBS))
def test_help_says_of_each_verb_what_the_verb_says_itself(name: str) -> None:
    module, _, function = main.VERBS[name].target.partition(":")
    command: click.Command = getattr(import_module(module), function)
    assert command.name == name
    assert (command.help or "").startswith(main.VERBS[name].summary.rstrip("."))


def test_help_imports_no_verb_and_nothing_heavy() -> None:
    program = (
        "import sys; from dataforge.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "heavy = {'psycopg', 'litestar', 'numpy', 'yoyo', 'dataforge.cli.process'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_client_brings_nothing_that_only_the_graph_needs() -> None:
    """Every process of Dagster imports it, for each of its runs anew."""
    program = "import sys; import dataforge.client; print(sorted({'numpy', 'scipy', 'litestar'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
