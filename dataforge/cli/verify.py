"""`verify` and `replay`: whether the live state is the one that the recorded events give, and making it that one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dataforge.cli.comparison import as_json, print_differences, read
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.progress import Bar

if TYPE_CHECKING:
    from dataforge.ingest.replay import Verification
    from dataforge.storage.database import Database


@click.command()
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def verify(invocation: Invocation, for_program: bool) -> None:
    """Rebuild the state from its events and definitions, beside the live one, and compare the two.

    Exits with 0 where they agree, and with 1 where they do not, showing what differs.
    """
    from dataforge.ingest.replay import verify as rebuild

    environment = invocation.settings.environment
    with opened(invocation) as database, Bar("reading events", None) as bar:
        found = rebuild(database, environment, bar.move)
    _print_verified(found, environment, for_program)


def _print_verified(found: Verification, environment: str, for_program: bool) -> None:
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
@click.option("--dry-run", is_flag=True, help="Only say what would change: the same as `verify`.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def replay(invocation: Invocation, dry_run: bool, for_program: bool) -> None:
    """Rebuild the state from its events and definitions, and make it the live one.

    Prints what changed. Readers see the state before or the state after. Writers wait at the end while the two are
    compared and what differs is written; who has to wait longer than a statement may take is told to try again.
    """
    from dataforge.ingest.replay import replay as rebuild
    from dataforge.ingest.replay import verify as compare

    environment = invocation.settings.environment
    with opened(invocation) as database, Bar("reading events", None) as bar:
        found = (compare if dry_run else rebuild)(database, environment, bar.move)
    if dry_run:
        _print_verified(found, environment, for_program)
    elif for_program:
        click.echo(as_json(found))
    elif found.found.agrees:
        click.echo(f"nothing changed: {read(found)} give the state that {environment} had")
    else:
        click.echo(f"replayed: {read(found)} give the state that {environment} has now; of what it had before")
        print_differences(found.found, ("BEFORE", "AFTER"))


@contextmanager
def opened(invocation: Invocation) -> Iterator[Database]:
    """The installation's database, whose statements may take as long as they need."""
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    database = Database(database_url(invocation.settings), max_size=1, statement_timeout_ms=0)
    try:
        yield database
    finally:
        database.close()
