"""The command line on a real, migrated database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataforge.cli.main import cli

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    """Calls `dataforge` with these arguments, as a person or a script does."""
    environ = {"DATAFORGE_DATABASE_URL": database_url, "DATAFORGE_HOME": str(tmp_path)}

    def call(*arguments: str, input: bytes | None = None) -> Result:  # noqa: A002  # as CliRunner has it
        return CliRunner(env=environ).invoke(cli, arguments, input=input)

    return call
