"""`bodies`: how long what events said is kept, and ending what is old."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from dataforge.cli.fates import show_fates
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened, shelf_of


@click.command()
@click.option("--drop", is_flag=True, help="Drop the parts that may go.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def bodies(invocation: Invocation, drop: bool, for_program: bool) -> None:
    """List the parts that event bodies are kept in, a week each, and whether each may go.

    A part may go when all of it was recorded more than DATAFORGE_BODY_DAYS ago and good checkpoints cover it. That
    events were recorded stays known, so that one that comes again is a duplicate.
    """
    from dataforge.ledger.bodies import drop_old, fates

    settings = invocation.settings
    days, now = settings.body_days, datetime.now(UTC)
    with opened(invocation) as database:
        judged = (drop_old if drop else fates)(database, lambda name: shelf_of(settings, name), days, now)
    show_fates(judged, dropped=drop, for_program=for_program)
