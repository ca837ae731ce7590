"""`verify` and `replay`: whether the live state is the one that the recorded events give, and making it that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataforge.cli.comparison import as_json, print_differences, print_refused, read
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened, shelf_of
from dataforge.cli.progress import Bar

if TYPE_CHECKING:
    from dataforge.ingest.rebuild import Verification


_FROM_START = click.option("--from-start", is_flag=True, help="Read every event, also those a checkpoint covers.")


@click.command()
@_FROM_START
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def verify(invocation: Invocation, from_start: bool, for_program: bool) -> None:
    """Rebuild the state from its events and definitions, beside the live one, and compare the two.

    Starts from the last checkpoint that is good, where there is one. Exits with 0 where they agree, and with 1 where
    they do not, showing what differs.
    """
    from dataforge.ingest.replay import verify as rebuild

    environment = invocation.settings.environment
    with opened(invocation) as database, Bar("reading events", None) as bar:
        found = rebuild(database, environment, bar.move, shelf=None if from_start else shelf_of(invocation.settings))
    _print_verified(found, environment, for_program)


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
@_FROM_START
@click.option("--dry-run", is_flag=True, help="Only say what would change: the same as `verify`.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def replay(invocation: Invocation, from_start: bool, dry_run: bool, for_program: bool) -> None:
    """Rebuild the state from its events and definitions, and make it the live one.

    Prints what changed. Readers see the state before or the state after. Writers wait at the end while the two are
    compared and what differs is written; who has to wait longer than a statement may take is told to try again.
    """
    from dataforge.ingest.replay import replay as rebuild
    from dataforge.ingest.replay import verify as compare

    environment = invocation.settings.environment
    with opened(invocation) as database, Bar("reading events", None) as bar:
        shelf = None if from_start else shelf_of(invocation.settings)
        found = (compare if dry_run else rebuild)(database, environment, bar.move, shelf=shelf)
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
