"""Where the live state parts from the rebuilt one, as `verify` and `replay` print it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dataforge.cli.table import show

if TYPE_CHECKING:
    from dataforge.ingest.rebuild import Verification
    from dataforge.ingest.replay import Tried
    from dataforge.ledger.scope import Compared
    from dataforge.ledger.verify import Comparison, Difference

_ABSENT = "(none)"


def read(found: Verification) -> str:
    """What was read again, in words."""
    begun = ""
    if found.checkpoint is not None:
        begun = f"the checkpoint {found.checkpoint} of {found.covered:,} events, "
    again = f"{found.events:,} events and the definitions of {found.definitions:,} sources"
    return begun + again + _compared(found.compared)


def _compared(part: Compared | None) -> str:
    """What was looked at, where that was not all."""
    if part is None:
        return ""
    tasks = f"{part.tasks:,} tasks with their edges, " if part.tasks is not None else ""
    return f" (of {tasks}{part.runs:,} runs and the {part.partitions:,} partitions they claim, and of nothing else)"


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
        "compared": found.compared,
        "differences": found.found.counts,
        "first": found.found.first,
    }
    return msgspec.json.format(msgspec.json.encode(shown | more), indent=2).decode()


def print_tried(tried: Tried, environment: str, for_program: bool) -> None:
    """What rules would change: how much of each kind, and the first partitions and runs."""
    if for_program:
        click.echo(as_json(tried.verified, rules=tried.rules, kinds=tried.kinds, changes=tried.changes))
        return
    said = f"the rules {tried.rules}, by {read(tried.verified)},"
    if tried.verified.found.agrees:
        click.echo(f"{said} change nothing of {environment}")
        return
    click.echo(f"{said} would change what {environment} has")
    show(("OF", "BEFORE", "AFTER", "ROWS"), [(each.of, each.before, each.after, each.rows) for each in tried.kinds])
    click.echo("first:")
    show(
        ("OF", "NAME", "PARTITION OR RUN", "BEFORE", "AFTER"),
        [(each.of, each.name, each.which, each.before, each.after) for each in tried.changes],
    )


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
