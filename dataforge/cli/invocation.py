"""What every command is given: the settings, with the options that stand before the verb applied.

Guarantees that settings are read only when a command asks for them, so that `--help` works even where a
setting is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import click

from dataforge import settings as installation
from dataforge.settings import Settings


class Invocation:
    """One call of the command line; commands take it by the `pass_invocation` decorator."""

    def __init__(self, environment: str | None) -> None:
        self._environment = environment

    @cached_property
    def settings(self) -> Settings:
        """The installation's settings, with `--environment` in place of the environment's default."""
        settings = installation.current()
        if self._environment is None:
            return settings
        return replace(settings, environment=installation.environment_name(self._environment, "--environment"))


pass_invocation = click.make_pass_decorator(Invocation)
