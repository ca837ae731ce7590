"""`bodies`: how long what events said is kept, and ending what is old."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import click

from dataforge.cli.fates import show_ended, show_fates
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import archive_of, opened, shelf_of


@click.command()
@click.option("--drop", is_flag=True, help="Export and drop the parts that may go.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def bodies(invocation: Invocation, drop: bool, for_program: bool) -> None:
    """List the parts that event bodies are kept in, a week each, and whether each may go.

    A part may go when all of it was recorded more than DATAFORGE_BODY_DAYS ago and good checkpoints cover it. It is
    exported to DATAFORGE_ARCHIVE before it is dropped, and read back from there. That events were recorded stays known,
    so that one that comes again is a duplicate.
    """
    from dataforge.ledger.bodies import end_old, fates

    settings = invocation.settings
    days, now = settings.body_days, datetime.now(UTC)
    shelves = partial(shelf_of, settings)
    with opened(invocation) as database:
        if drop:
            show_ended(end_old(database, shelves, days, now, archive_of(settings)), for_program=for_program)
        else:
            show_fates(fates(database, shelves, days, now), dropped=False, for_program=for_program)
