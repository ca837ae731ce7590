"""`verify` and `replay`: whether the live state is the one that the recorded events give, and making it that one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from dataforge.cli.comparison import as_json, print_differences, print_refused, print_tried, read
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened, shelf_of
from dataforge.cli.progress import Bar

if TYPE_CHECKING:
    from dataforge.ingest.rebuild import Verification
    from dataforge.ledger.checkpoint import Shelf
    from dataforge.ledger.scope import Part


_FROM_START = click.option("--from-start", is_flag=True, help="Read every event, also those a checkpoint covers.")
_DAY = click.DateTime(["%Y-%m-%d"])
_Command = Callable[..., None]


def _of_a_part(command: _Command) -> _Command:
    """Adds the options that name a part of the state."""
    for option in (
        click.option("--to", "last", type=_DAY, metavar="DAY", help="Only runs that started until this day, in UTC."),
        click.option(
            "--from", "first", type=_DAY, metavar="DAY", help="Only runs that started from this day on, in UTC."
        ),
        click.option("--domain", metavar="NAME", help="Only the tasks of this domain, with their edges and runs."),
    ):
        command = option(command)
    return command


def _part(domain: str | None, first: datetime | None, last: datetime | None) -> Part:
    from dataforge.ledger.scope import Part

    if first and last and last < first:
        raise click.BadParameter("it lies before --from", param_hint="--to")
    since = first.replace(tzinfo=UTC) if first else None
    return Part(domain, since, last.replace(tzinfo=UTC) + timedelta(days=1) if last else None)


@click.command()
@_of_a_part
@_FROM_START
@click.option("--rules", is_flag=True, help="Say what the rules of this version would change, before it is deployed.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def verify(
    invocation: Invocation,
    domain: str | None,
    first: datetime | None,
    last: datetime | None,
    from_start: bool,
    rules: bool,
    for_program: bool,
) -> None:
    """Rebuild the state from its events and definitions, beside the live one, and compare the two.

    Starts from the last checkpoint that is good, where there is one. Exits with 0 where they agree, and with 1 where
    they do not, showing what differs. With --rules as many events are read as have their bodies; run it from a checkout
    of the new version, where the deployed one finds the state valid, so that the rules alone can be the cause.
    """
    from dataforge.ingest.replay import verify as rebuild

    environment, part = invocation.settings.environment, _part(domain, first, last)
    shelf = None if from_start else shelf_of(invocation.settings)
    if rules:
        _try_rules(invocation, shelf, part, for_program)
        return
    with opened(invocation) as database, Bar("reading events", None) as bar:
        found = rebuild(database, environment, bar.move, shelf=shelf, part=part)
    _print_verified(found, environment, for_program)


def _try_rules(invocation: Invocation, shelf: Shelf | None, part: Part, for_program: bool) -> None:
    from dataforge.ingest.replay import try_rules

    environment = invocation.settings.environment
    with opened(invocation) as database, Bar("reading events", None) as bar:
        tried = try_rules(database, environment, bar.move, shelf=shelf, part=part)
    print_refused(tried.verified)
    print_tried(tried, environment, for_program)
    if not tried.verified.found.agrees:
        raise SystemExit(1)


def _print_verified(found: Verification, environment: str, for_program: bool) -> None:
    print_refused(found)
    if for_program:
        click.echo(as_json(found))
    elif found.found.agrees:
        click.echo(f"valid: {read(found)} give the state of {environment}")
    else:
        click.echo(f"not valid: {read(found)} give another state than {environment} has")
        print_differences(found.found)
    if not found.found.agrees:
        raise SystemExit(1)


@click.command()
@_of_a_part
@_FROM_START
@click.option("--dry-run", is_flag=True, help="Only say what would change: the same as `verify`.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def replay(
    invocation: Invocation,
    domain: str | None,
    first: datetime | None,
    last: datetime | None,
    from_start: bool,
    dry_run: bool,
    for_program: bool,
) -> None:
    """Rebuild the state from its events and definitions, and make it the live one.

    Prints what changed. Readers see the state before or the state after. Writers wait at the end while the two are
    compared and what differs is written; who has to wait longer than a statement may take is told to try again.
    """
    from dataforge.ingest.replay import replay as rebuild
    from dataforge.ingest.replay import verify as compare

    environment, part = invocation.settings.environment, _part(domain, first, last)
    shelf = None if from_start else shelf_of(invocation.settings)
    with opened(invocation) as database, Bar("reading events", None) as bar:
        found = (compare if dry_run else rebuild)(database, environment, bar.move, shelf=shelf, part=part)
    if dry_run:
        _print_verified(found, environment, for_program)
        return
    print_refused(found)
    if for_program:
        click.echo(as_json(found))
    elif found.found.agrees:
        click.echo(f"nothing changed: {read(found)} give the state that {environment} had")
    else:
        click.echo(f"replayed: {read(found)} give the state that {environment} has now; of what it had before")
        print_differences(found.found, ("BEFORE", "AFTER"))
