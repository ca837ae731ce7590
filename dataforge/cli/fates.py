"""What becomes of the parts of a table that is cut by time, as a table or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from dataforge.cli.table import show

if TYPE_CHECKING:
    from dataforge.ledger.bodies import Ended, Fate
    from dataforge.ledger.export import Exported


def show_fates(judged: Sequence[Fate], *, dropped: bool, for_program: bool, held: str = "EVENTS") -> None:
    """Prints them, with how many rows they hold: those that may go, or that were `dropped`, and why others stay."""
    if for_program:
        click.echo(msgspec.json.format(msgspec.json.encode(judged), indent=2).decode())
        return
    gone = "dropped" if dropped else "may go"
    show(("PART", "FROM", "UNTIL", "MB", held, ""), [_line(fate, gone) for fate in judged])


def show_ended(ended: Ended, *, for_program: bool) -> None:
    """Prints what became of the parts, and the files that hold what has gone."""
    if for_program:
        click.echo(msgspec.json.format(msgspec.json.encode(ended), indent=2).decode())
        return
    show_fates(ended.fates, dropped=True, for_program=False)
    show_exported(ended.files, "event")


def show_exported(files: Sequence[Exported], what: str) -> None:
    """Prints a line for each file that was written."""
    for each in files:
        number = f"{each.rows:,} {what}{'' if each.rows == 1 else 's'}"
        click.echo(f"exported, and read back: {each.file} ({number}, {each.size / 1e3:,.1f} KB)")


def _line(fate: Fate, gone: str) -> tuple[object, ...]:
    part = fate.part
    begins, ends = (f"{at:%Y-%m-%d}" if at else None for at in (part.begins, part.ends))
    return part.name, begins, ends, f"{part.size / 1e6:,.1f}", fate.events, fate.stays or gone
