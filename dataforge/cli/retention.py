"""`retention`: how long partitions have states, runs are kept and events are known."""

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


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Export what is due, and drop the months that may go.")
@click.option(
    "--run-days",
    type=click.IntRange(1, 36_500),
    help="Set for how many days after its last word this environment keeps a run.",
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
    """List the parts of partition states, runs and known events, and whether each may go.

    A month of states may go when all windows that begin in it have been over for longer than every environment says (90
    days), and nobody works on one. It is exported to DATAFORGE_ARCHIVE, read back and dropped; from then on questions
    about these windows answer that their detail has ended.

    A month of events may go when all of it occurred and was recorded more than DATAFORGE_EVENT_DAYS ago. From then on
    what occurred no later than the last of it is refused, since a repeat could not be told from news.

    A half-year of runs may go when it has been over for longer than every environment says (400 days). Those of which
    something was told since then, or that go on, stay. The others are exported to DATAFORGE_ARCHIVE, read back and
    dropped; `dataforge runs --since` lists them from there.
    """
    from dataforge.ledger import detail, run_end
    from dataforge.ledger.bodies import Ended
    from dataforge.ledger.retention import end_old, fates

    settings, now = invocation.settings, datetime.now(UTC)
    archive, shelves = archive_of(settings), partial(shelf_of, settings)
    with opened(invocation) as database:
        if run_days is not None:
            run_end.set_days(database, settings.environment, run_days)
        if detail_days is not None:
            detail.set_days(database, settings.environment, detail_days)
        states = detail.end_old(database, now, archive) if apply_ else Ended(detail.fates(database, now), [])
        runs = run_end.end_old(database, now, archive) if apply_ else Ended(run_end.fates(database, now), [])
        judged = (end_old if apply_ else fates)(database, shelves, settings.event_days, now)
    _show(states, runs, judged, dropped=apply_, for_program=for_program)


def _show(states: Ended, runs: Ended, judged: list[Fate], *, dropped: bool, for_program: bool) -> None:
    if for_program:
        told = {"states": states, "runs": runs, "fates": judged}
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
        return
    for ended, held, what in ((states, "PARTITIONS", "partition"), (runs, "RUNS", "run")):
        show_fates(ended.fates, dropped=dropped, for_program=False, held=held)
        show_exported(ended.files, what)
        click.echo()
    show_fates(judged, dropped=dropped, for_program=False)
