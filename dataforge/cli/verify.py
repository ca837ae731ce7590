"""`verify`: whether the live state is the one that the recorded events give."""

import click

from dataforge.cli.invocation import Invocation, pass_invocation


@click.command()
@pass_invocation
def verify(invocation: Invocation) -> None:
    """Rebuild the state from its events and definitions, beside the live one, and compare the two.

    Exits with 0 where they agree, and with 1 where they do not, showing the first difference.
    """
    from dataforge.ingest.replay import verify as rebuild
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    database = Database(database_url(invocation.settings), max_size=1, statement_timeout_ms=0)
    try:
        found = rebuild(database, invocation.settings.environment)
    finally:
        database.close()
    read = f"{found.events:,} events and the definitions of {found.definitions} sources"
    if found.difference is None:
        click.echo(f"valid: {read} give the state of {invocation.settings.environment}")
        return
    click.echo(f"not valid: {read} give another state than {invocation.settings.environment} has; first")
    for side, row in (("live", found.difference.live), ("rebuilt", found.difference.rebuilt)):
        click.echo(f"  {side:<8} {' '.join(row) if row else 'nothing more'}")
    raise SystemExit(1)
