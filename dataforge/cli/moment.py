"""Times as options take them: RFC 3339, or a date; UTC where no zone stands."""

from __future__ import annotations

from datetime import datetime

import click

from dataforge.model import filter as filters


def moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """The callback of an option: a time, or a usage error that says what one looks like."""
    try:
        return None if value is None else filters.moment(value)
    except (ValueError, OverflowError):
        expected = "a time such as 2026-11-01T06:00:00Z, or a date"
        raise click.BadParameter(f"{value!r} is no time: expected {expected}") from None
