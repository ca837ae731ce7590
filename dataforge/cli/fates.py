"""What becomes of the parts of a table that is cut by time, as a table or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from dataforge.cli.table import show

if TYPE_CHECKING:
    from dataforge.ledger.bodies import Fate


def show_fates(judged: Sequence[Fate], *, dropped: bool, for_program: bool) -> None:
    """Prints them: those that may go, or that were `dropped`, and why others stay."""
    if for_program:
        click.echo(msgspec.json.format(msgspec.json.encode(judged), indent=2).decode())
        return
    gone = "dropped" if dropped else "may go"
    show(("PART", "FROM", "UNTIL", "MB", "EVENTS", ""), [_line(fate, gone) for fate in judged])


def _line(fate: Fate, gone: str) -> tuple[object, ...]:
    part = fate.part
    begins, ends = (f"{at:%Y-%m-%d}" if at else None for at in (part.begins, part.ends))
    return part.name, begins, ends, f"{part.size / 1e6:,.1f}", fate.events, fate.stays or gone
