"""`digest`: the derived state of an environment as one number."""

import click

from dataforge.cli.invocation import Invocation, pass_invocation


@click.command()
@pass_invocation
def digest(invocation: Invocation) -> None:
    """Print a SHA-256 over the derived state of the environment.

    The same events and definitions give the same digest in any database, whatever their order.
    """
    from dataforge.ledger import verify
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    database = Database(database_url(invocation.settings), max_size=1)
    try:
        click.echo(verify.digest(database, invocation.settings.environment))
    finally:
        database.close()
