"""`dataforge findings`: what history alone shows to be wrong, and what was built from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.moment import span
from dataforge.cli.opened import opened
from dataforge.cli.progress import Bar
from dataforge.model import filter as filters
from dataforge.model.filter import FindingFilter
from dataforge.model.finding import FindingCode

if TYPE_CHECKING:
    from dataforge.model.finding import Finding

_EXPECTED = "a span back from now such as 7d or 12h, or a time such as 2026-11-01T06:00:00Z, or a date"
_TITLES = ("SEVERITY", "FINDING", "WHAT", "PARTITION", "OWNER", "SINCE (UTC)", "BUILT FROM IT")
_PAGE = 1_000


def _since(_: click.Context, __: click.Parameter, value: str) -> datetime:
    """A time, or so long before now."""
    try:
        back = span(value)
        return filters.moment(value) if back is None else datetime.now(UTC) - back
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is no time: expected {_EXPECTED}") from None


@click.command()
@click.option("--since", default="7d", show_default=True, callback=_since, help=f"From when on: {_EXPECTED}.")
@click.option("--code", type=click.Choice([code.value for code in FindingCode]), help="Only findings of this kind.")
@click.option("--owner", help="Only findings of this owner.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="How many to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def findings(
    invocation: Invocation, since: datetime, code: str | None, owner: str | None, limit: int, *, as_json: bool
) -> None:
    """Say what history shows to be wrong, the worst first.

    Runs that began before what they need was ready or while it was quarantined, or whose inputs changed under them;
    edges that were never observed, or never declared; sources that have gone silent. Exits with 0 when there is
    nothing, and with 1 when there is.
    """
    wanted = FindingFilter(since=since, code=FindingCode(code) if code else None, owner=owner, limit=_PAGE)
    found = _collect(invocation, wanted)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"items": found[:limit], "found": len(found)}))
    else:
        _print(found, limit, since)
    click.get_current_context().exit(1 if found else 0)


def _collect(invocation: Invocation, wanted: FindingFilter) -> list[Finding]:
    """All of them, the worst first: pages are worst first only within themselves."""
    from msgspec.structs import replace

    from dataforge.ledger.findings import findings

    environment, found = invocation.settings.environment, []
    with opened(invocation, patient=False) as database, Bar("looking through the runs", None) as bar:
        while True:
            page = findings(database, environment, wanted, datetime.now(UTC))
            found += page.items
            bar.move(len(found))
            if page.next_cursor is None:
                return sorted(found, key=lambda finding: finding.order)
            wanted = replace(wanted, cursor=page.next_cursor)


def _print(found: list[Finding], limit: int, since: datetime) -> None:
    from dataforge.cli import table

    if not found:
        click.echo(f"Nothing is found to be wrong since {table.moment(since)} UTC.", err=True)
        return
    table.show(_TITLES, [_row(finding) for finding in found[:limit]])
    click.echo()
    for place, finding in enumerate(found[:limit], 1):
        click.echo(f"{place}. {table.printable(finding.message)}.")
        if built := _built(finding):
            click.echo(f"   {table.printable(built)}")
    if len(found) > limit:
        click.echo(f"and {len(found) - limit} more: raise --limit, or filter", err=True)


def _row(finding: Finding) -> tuple[object, ...]:
    from dataforge.cli import table

    what = finding.node.name if finding.node else finding.source
    more = "" if finding.built_from_it.complete else "+"
    built = f"{finding.built_from_it.count}{more}" if finding.run is not None else None
    partitions = table.several(finding.partitions)
    return (
        finding.severity,
        finding.code.replace("_", " "),
        what,
        partitions,
        finding.owner,
        table.moment(finding.since),
        built,
    )


def _built(finding: Finding) -> str | None:
    """What was made of it, in a sentence; None where nothing was."""
    made = [_label(each.name, each.partition) for each in finding.made]
    below = [_label(each.name, each.partition) for each in finding.built_from_it.items]
    rest = finding.built_from_it.count - len(below)
    parts = [f"It wrote {', '.join(made)}."] if made else []
    if below:
        least = "" if finding.built_from_it.complete else "at least "
        more = f" and {least}{rest} more" if rest or least else ""
        parts.append(f"Built from that, and not anew since: {', '.join(below)}{more}.")
    return " ".join(parts) or None


def _label(name: str, partition: str | None) -> str:
    return f"{name} {partition}" if partition else name
