"""`dataforge rerun`: order that what is done is run again, with its reason."""

from __future__ import annotations

from getpass import getuser
from typing import TYPE_CHECKING, cast

import click

from dataforge.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from dataforge.model.rerun import Downstream, Rerunning, Reruns


@click.command()
@click.argument("name")
@click.argument("partition", required=False)
@click.option("--namespace", help="The task's namespace; may be left out where the name is unique.")
@click.option("--reason", required=True, help="Why; kept with the order.")
@click.option(
    "--downstream",
    type=click.Choice(["none", "direct", "all"]),
    default="none",
    show_default=True,
    help="What was built from it too: in one step, or in any number.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be run again, and order nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def rerun(
    invocation: Invocation,
    /,
    name: str,
    partition: str | None,
    reason: str,
    *,
    dry_run: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Order that what is done is run again, with its reason.

    Nothing is run by this: whoever claims next, a worker or Dagster, runs it as the next attempt. Exits with 2 where it
    is not done.
    """
    import msgspec

    from dataforge.model.rerun import Rerunning

    wanted = Rerunning(
        name=name,
        namespace=options["namespace"],
        partition=partition or "",
        reason=reason,
        downstream=cast("Downstream", options["downstream"]),  # click has checked it
        by=getuser(),
    )
    found = _order(invocation, wanted, dry_run=dry_run)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    count = len(found.items)
    click.echo(f"{count} {'partition' if count == 1 else 'partitions'} {'would' if dry_run else 'may'} run again:")
    for item in found.items:
        click.echo(f"  {item.task.name} {item.partition or ''}".rstrip())


def _order(invocation: Invocation, wanted: Rerunning, *, dry_run: bool) -> Reruns:
    from datetime import UTC, datetime

    from dataforge.dispatch import rerun as dispatch
    from dataforge.ingest import redaction
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    settings = invocation.settings
    database = Database(database_url(settings), max_size=1)
    try:
        rules, now = redaction.load(settings.redaction), datetime.now(UTC)
        return dispatch.rerun(database, settings.environment, wanted, now, redaction=rules, dry_run=dry_run)
    finally:
        database.close()
