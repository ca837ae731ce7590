"""`dataforge tasks NAME --versions` and `--definition HASH`: what a task was defined as, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from dataforge.cli import table
from dataforge.cli.opened import opened

if TYPE_CHECKING:
    from dataforge.cli.invocation import Invocation
    from dataforge.model.history import History, VersionChange, VersionSpan

_DIGITS = 12  # of a hash: enough to find the definition by
_MOST_CHANGES = 3  # of one version, in a line of the table
_LONGEST_VALUE = 60


def show_versions(
    invocation: Invocation, reference: tuple[str | None, str], limit: int, cursor: str | None, *, as_json: bool
) -> None:
    """Prints a task's versions, the latest first."""
    from dataforge.ledger.version import versions

    with opened(invocation, patient=False) as database:
        found = versions(database, invocation.settings.environment, reference, limit, cursor)
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif found.items:
        _print(found)
    else:
        click.echo("no source has ever declared it", err=True)


def show_definition(invocation: Invocation, version: str, *, as_json: bool) -> None:
    """Prints the definition of a hash, as a manifest would have it."""
    from dataforge.ledger.version import definition

    with opened(invocation, patient=False) as database:
        found = definition(database, invocation.settings.environment, version)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    import yaml

    click.echo(f"# {found.kind} version {found.version}")
    named = {"namespace": found.namespace, "name": found.name}
    click.echo(yaml.safe_dump({**named, **found.definition}, sort_keys=False, allow_unicode=True), nl=False)


def _print(found: History) -> None:
    table.show(("FROM (UTC)", "TO (UTC)", "VERSION", "DECLARED BY", "CHANGED"), map(_row, found.items))
    if found.next_cursor is not None:
        click.echo("there is more: raise --limit, or go on from the cursor that --json prints", err=True)


def _row(item: VersionSpan) -> Sequence[object]:
    end = table.moment(item.valid_to) or "now"
    return table.moment(item.valid_from), end, item.version[:_DIGITS], item.source, _changes(item.changed)


def _changes(changed: Sequence[VersionChange]) -> str:
    said = [_change(each) for each in changed[:_MOST_CHANGES]]
    more = [f"{len(changed) - _MOST_CHANGES} more"] if len(changed) > _MOST_CHANGES else []
    return "; ".join([*said, *more])


def _change(change: VersionChange) -> str:
    """`owner: ann -> bob`; of an edge `+ consumes dataset s3://lake/orders`."""
    if change.field.startswith(("consumes ", "produces ")):
        sign = "+" if change.before is None else "-" if change.after is None else "~"
        return f"{sign} {change.field}"
    return f"{change.field}: {_value(change.before)} -> {_value(change.after)}"


def _value(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return _shortened(_pairs(value.items()))
    return _shortened(str(value))


def _pairs(pairs: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs)


def _shortened(text: str) -> str:
    return f"{text[:_LONGEST_VALUE]}…" if len(text) > _LONGEST_VALUE else text
