"""Times as options take them: RFC 3339, or a date, UTC where no zone stands; and spans of time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from dataforge.model import filter as filters

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def span(text: str) -> timedelta | None:
    """So many minutes, hours, days or weeks, such as 7d; None for what is no span."""
    read = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    return int(read[1]) * _UNITS[read[2]] if read else None


def moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """The callback of an option: a time, or a usage error that says what one looks like."""
    try:
        return None if value is None else filters.moment(value)
    except (ValueError, OverflowError):
        expected = "a time such as 2026-11-01T06:00:00Z, or a date"
        raise click.BadParameter(f"{value!r} is no time: expected {expected}") from None
