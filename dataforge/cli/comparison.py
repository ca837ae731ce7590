"""Where the live state parts from the rebuilt one, as `verify` and `replay` print it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dataforge.cli.table import show

if TYPE_CHECKING:
    from dataforge.ingest.rebuild import Verification
    from dataforge.ledger.verify import Comparison, Difference

_ABSENT = "(none)"


def read(found: Verification) -> str:
    """What was read again, in words."""
    begun = ""
    if found.checkpoint is not None:
        begun = f"the checkpoint {found.checkpoint} of {found.covered:,} events, "
    return f"{begun}{found.events:,} events and the definitions of {found.definitions:,} sources"


def print_refused(found: Verification) -> None:
    """Names the checkpoints that were not used, on standard error; and says where one rests on other rules."""
    for each in found.refused:
        click.echo(f"refused: the checkpoint {each.name}: {each.reason}", err=True)
    if found.other_rules:
        said = "keeps facts as other rules read them, from bodies that are gone"
        click.echo(f"note: the checkpoint {found.checkpoint} {said}", err=True)


def as_json(found: Verification, **more: object) -> str:
    """All of it, for a program."""
    shown = {
        "valid": found.found.agrees,
        "events": found.events,
        "definitions": found.definitions,
        "checkpoint": found.checkpoint,
        "covered": found.covered,
        "other_rules": found.other_rules,
        "refused": found.refused,
        "differences": found.found.counts,
        "first": found.found.first,
    }
    return msgspec.json.format(msgspec.json.encode(shown | more), indent=2).decode()


def print_differences(found: Comparison, sides: tuple[str, str] = ("LIVE", "REBUILT")) -> None:
    """How many rows differ of each table, and the first of them, column by column."""
    show(
        ("TABLE", "LACKING", "EXTRA", "OTHERWISE"),
        [(table, count.lacking, count.extra, count.changed) for table, count in found.counts.items()],
    )
    click.echo("first:")
    show(("TABLE", "ROW", "COLUMN", *sides), _lines(found.first))


def _lines(first: Iterable[Difference]) -> Iterable[tuple[object, ...]]:
    for each in first:
        row = " ".join(str(value) for value in each.row.values() if value != "")
        if each.live is None or each.rebuilt is None:
            yield each.table, row, "(whole row)", _side(each.live), _side(each.rebuilt)
            continue
        for column, value in each.live.items():
            yield each.table, row, column, _value(value), _value(each.rebuilt[column])


def _side(row: dict[str, Any] | None) -> str:
    return _ABSENT if row is None else str(row.get("status") or row.get("state") or "is there")


def _value(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
