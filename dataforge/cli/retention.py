"""`retention`: how long partitions have states and events are known, and when runs are exported."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click
import msgspec

from dataforge.cli.fates import show_exported, show_fates
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import archive_of, opened, shelf_of

if TYPE_CHECKING:
    from dataforge.ledger.bodies import Ended, Fate
    from dataforge.ledger.export import Exported


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Export what is due, and drop the months that may go.")
@click.option(
    "--run-days",
    type=click.IntRange(1, 36_500),
    help="Set after how many days a month of this environment's runs is exported.",
)
@click.option(
    "--detail-days",
    type=click.IntRange(1, 36_500),
    help="Set for how many days after a window's end this environment keeps how its partition stands.",
)
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def retention(
    invocation: Invocation, apply_: bool, run_days: int | None, detail_days: int | None, for_program: bool
) -> None:
    """List the months of partition states, and of events that are known, and whether each may go.

    A month of states may go when all windows that begin in it have been over for longer than every environment says (90
    days), and nobody works on one. It is exported to DATAFORGE_ARCHIVE, read back and dropped; from then on questions
    about these windows answer that their detail has ended.

    A month of events may go when all of it occurred and was recorded more than DATAFORGE_EVENT_DAYS ago. From then on
    what occurred no later than the last of it is refused, since a repeat could not be told from news.

    Months of runs that have been over for longer than their environment says (400 days) are exported to
    DATAFORGE_ARCHIVE; `dataforge runs --since` reads them where the database does not have them.
    """
    from dataforge.ledger import detail, run_export
    from dataforge.ledger.bodies import Ended
    from dataforge.ledger.retention import end_old, fates

    settings, now = invocation.settings, datetime.now(UTC)
    archive, shelves = archive_of(settings), partial(shelf_of, settings)
    with opened(invocation) as database:
        if run_days is not None:
            run_export.set_days(database, settings.environment, run_days)
        if detail_days is not None:
            detail.set_days(database, settings.environment, detail_days)
        states = detail.end_old(database, now, archive) if apply_ else Ended(detail.fates(database, now), [])
        files = run_export.export_old(database, now, archive) if apply_ and archive is not None else []
        due = run_export.due(database, now) if archive is not None else []
        judged = (end_old if apply_ else fates)(database, shelves, settings.event_days, now)
    _show(states, judged, files, [each.stem for each in due], dropped=apply_, for_program=for_program)


def _show(
    states: Ended, judged: list[Fate], files: list[Exported], due: list[str], *, dropped: bool, for_program: bool
) -> None:
    if for_program:
        told = {"states": states, "fates": judged, "files": files, "due": due}
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
        return
    show_fates(states.fates, dropped=dropped, for_program=False, held="PARTITIONS")
    show_exported(states.files, "partition")
    click.echo()
    show_fates(judged, dropped=dropped, for_program=False)
    show_exported(files, "run")
    for stem in due:
        click.echo(f"runs to export: {stem}")
