"""`retention`: how long it is known which events were recorded, and ending what is old."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from dataforge.cli.fates import show_fates
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened, shelf_of


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Drop the months that may go.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def retention(invocation: Invocation, apply_: bool, for_program: bool) -> None:
    """List the months for which it is known which events were recorded, and whether each may go.

    A month may go when all of it occurred and was recorded more than DATAFORGE_EVENT_DAYS ago. From then on what
    occurred no later than the last of it is refused, since a repeat could not be told from news.
    """
    from dataforge.ledger.retention import end_old, fates

    settings = invocation.settings
    days, now = settings.event_days, datetime.now(UTC)
    with opened(invocation) as database:
        judged = (end_old if apply_ else fates)(database, lambda name: shelf_of(settings, name), days, now)
    show_fates(judged, dropped=apply_, for_program=for_program)
