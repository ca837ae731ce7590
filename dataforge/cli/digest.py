"""`digest`: the derived state of an environment as one number."""

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened


@click.command()
@pass_invocation
def digest(invocation: Invocation) -> None:
    """Print a SHA-256 over the derived state of the environment.

    The same events and definitions give the same digest in any database, whatever their order.
    """
    from dataforge.ledger import verify

    with opened(invocation, patient=False) as database:
        click.echo(verify.digest(database, invocation.settings.environment))
