"""`dataforge backfill`: plan what must be rebuilt, begin it, follow it, pause, resume, cancel and retry it."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getuser
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from dataforge.cli import table
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.lists import filtered_by, print_page
from dataforge.model.backfill import BackfillFilter, ItemFilter

if TYPE_CHECKING:
    from dataforge.model.backfill import (
        BackfillDetail,
        Backfilling,
        BackfillItem,
        Cap,
        Deadlines,
        Hours,
        Plan,
        PlanItem,
        Verb,
    )

_DEADLINES = 20  # shown; --json has the first 1,000
_SCOPES = ("all", "task", "dataset", "pool", "domain")


@click.group()
def backfill() -> None:
    """Plan what must be rebuilt, begin it, and follow it.

    A plan says which partitions are built, in which order, which are left as they are and why, how long it takes and
    what it costs. One that is begun lets its partitions be claimed, each when what it needs has been made, as far as
    its caps, budget and hours allow; whoever claims, a worker, Airflow or Dagster, runs them.
    """


def _asked(command: Callable[..., None]) -> Callable[..., None]:
    """The options by which a backfill is asked for."""
    for option in reversed(
        (
            click.argument("names", nargs=-1, required=True, metavar="NAME..."),
            click.option("--namespace", help="The namespace of NAME; may be left out where the name is unique."),
            click.option("--from", "first", metavar="KEY", help="The first of a range of time windows."),
            click.option("--to", "last", metavar="KEY", help="The last of it; without, the last that has ended."),
            click.option("--missed", is_flag=True, help="In place of a range: every window since it starts."),
            click.option(
                "--partition", "keys", multiple=True, metavar="KEY", help="This one; several times for several."
            ),
            click.option(
                "--direction",
                type=click.Choice(["none", "upstream", "downstream", "both"]),
                default="none",
                show_default=True,
                help="What else: what they need and is not good, what depends on them, both, or none of it.",
            ),
            click.option(
                "--overwrite",
                type=click.Choice(["never", "stale", "always"]),
                default="never",
                show_default=True,
                help="Build what is missing or failed; also what is stale, or becomes so; or all.",
            ),
            click.option(
                "--cap",
                "caps",
                multiple=True,
                metavar="SCOPE[:NAME]=N",
                help="At most N at once, of all or of a task, dataset, pool or domain; of each one, without NAME.",
            ),
            click.option("--budget", type=click.FloatRange(0, min_open=True), help="The most cost units an hour."),
            click.option("--hours", metavar="FROM-TO", help="When it works, such as 22:00-06:00."),
            click.option("--time-zone", default="UTC", show_default=True, help="Of the hours."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        )
    ):
        command = option(command)
    return command


@backfill.command()
@_asked
@pass_invocation
def plan(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """Say what a backfill of the tasks or datasets NAME would build, and change nothing.

    Exits with 1 where there is nothing to build.
    """
    from datetime import UTC, datetime

    from dataforge.cli.opened import opened
    from dataforge.dispatch import backfill as dispatch

    wanted = _wanted(given)
    with opened(invocation) as database:
        found = dispatch.preview(database, invocation.settings.environment, wanted, datetime.now(UTC))
    _show_plan(found, as_json=as_json)
    if not found.planned:
        raise click.exceptions.Exit(1)


@backfill.command()
@_asked
@click.option("--reason", required=True, help="Why; kept with the backfill.")
@click.option("--propose", is_flag=True, help="Begin it paused: nothing is released before somebody resumes it.")
@click.option("--id", "name", type=click.UUID, help="An id of your own: begun again under it, nothing is begun twice.")
@pass_invocation
def start(
    invocation: Invocation, /, reason: str, propose: bool, name: UUID | None, as_json: bool, **given: Any
) -> None:
    """Begin a backfill of the tasks or datasets NAME, and print its id and its plan."""
    from datetime import UTC, datetime

    from dataforge.cli.opened import opened
    from dataforge.dispatch import backfill as dispatch

    wanted = _wanted(given, reason=reason, by=getuser(), proposed=propose, id=str(name) if name else None)
    with opened(invocation) as database:
        found = dispatch.begin(database, invocation.settings.environment, wanted, datetime.now(UTC))
    _show_plan(found, as_json=as_json)


def _wanted(given: dict[str, Any], **more: Any) -> Backfilling:
    from dataforge.model.backfill import Backfilling, Target

    targets = tuple(
        Target(
            name=name,
            namespace=given["namespace"],
            partitions=given["keys"],
            first=given["first"],
            last=given["last"],
            missed=given["missed"],
        )
        for name in given["names"]
    )
    return Backfilling(
        targets=targets,
        direction=given["direction"],
        overwrite=given["overwrite"],
        caps=tuple(map(_cap, given["caps"])),
        budget=given["budget"],
        hours=_hours(given["hours"], given["time_zone"]),
        **more,
    )


def _cap(text: str) -> Cap:
    from dataforge.model.backfill import MOST_AT_ONCE, Cap

    what, _, number = text.rpartition("=")
    scope, _, name = what.partition(":")
    if scope not in _SCOPES or not number.isdecimal() or not 1 <= int(number) <= MOST_AT_ONCE:
        expected = f"SCOPE[:NAME]=N, of the scopes {', '.join(_SCOPES)}, with N from 1 to {MOST_AT_ONCE:,}"
        raise click.BadParameter(f"{text!r}: expected {expected}", param_hint="--cap")
    return Cap(scope, int(number), name or None)  # type: ignore[arg-type]  # it is one of the scopes


def _hours(text: str | None, time_zone: str) -> Hours | None:
    from dataforge.model.backfill import Hours

    if text is None:
        return None
    begin, dash, end = text.partition("-")
    if not dash:
        raise click.BadParameter(f"{text!r}: expected two times of day, as 22:00-06:00", param_hint="--hours")
    return Hours(begin=begin, end=end, time_zone=time_zone)


def _show_plan(found: Plan, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    if found.id:
        click.echo(f"backfill {found.id}")
    waves = f" in {len(found.waves)} {'wave' if len(found.waves) == 1 else 'waves'}" if found.waves else ""
    click.echo(f"{_partitions(found.planned)} to build{waves}, {found.skipped:,} left as they are")
    if found.waiting:
        click.echo(f"{found.waiting:,} of these wait for what is not there and not in the plan")
    if not found.all_compared:
        click.echo("more lies above than can be compared: there may be more that is stale in turn", err=True)
    if found.planned:
        _show_estimate(found)
    _show_deadlines(found.deadlines)
    titles = ("TASK", "BUILD", "LEAVE", "FIRST", "LAST", "TAKES", "COST")
    table.show(
        titles,
        [
            (
                part.task.name,
                part.planned,
                part.skipped,
                part.first,
                part.last,
                table.span(part.seconds),
                f"{part.cost:g}",
            )
            for part in found.tasks
        ],
    )
    reasons = _reasons(found.items)
    if reasons:
        click.echo()
        table.show(("WHY", "PARTITIONS", "SUCH AS"), reasons)
    if found.truncated:
        click.echo("there is more than is shown here", err=True)


def _partitions(number: int) -> str:
    return f"{number:,} {'partition' if number == 1 else 'partitions'}"


def _show_estimate(found: Plan) -> None:
    estimate = found.estimate
    limits = {"order": "their order", "caps": "the caps", "budget": "the budget", "nothing": "nothing"}
    click.echo(
        f"it takes about {table.span(estimate.seconds)}, limited by {limits[estimate.limited_by]}, and costs"
        f" {estimate.cost:,.4g} units; begun now it ends about {table.moment(estimate.ends_at)} UTC"
    )
    if estimate.without_history:
        have = "task has" if estimate.without_history == 1 else "tasks have"
        click.echo(f"{estimate.without_history:,} {have} no history: a run is taken for 60 s")


def _show_deadlines(found: Deadlines) -> None:
    if not found.all_seen:
        click.echo("more waits for it than can be looked at: there may be more deadlines that it endangers", err=True)
    if not found.endangered:
        return
    click.echo()
    click.echo(f"{found.endangered:,} {'deadline' if found.endangered == 1 else 'deadlines'} would be missed:")
    rows = [
        (each.node.name, each.partition, table.moment(each.due_at), table.moment(each.expected_at), each.owner)
        for each in found.first[:_DEADLINES]
    ]
    table.show(("TASK OR DATASET", "PARTITION", "DUE (UTC)", "EXPECTED (UTC)", "OWNER"), rows)
    click.echo()


def _reasons(items: tuple[PlanItem, ...]) -> list[tuple[object, ...]]:
    found: dict[str, list[PlanItem]] = {}
    for item in items:
        found.setdefault(item.reason, []).append(item)
    most = sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))[:20]
    return [(reason, len(of), f"{of[0].task.name} {of[0].partition or ''}".rstrip()) for reason, of in most]


@backfill.command("list")
@filtered_by(BackfillFilter)
@pass_invocation
def list_(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """List backfills, the latest first."""
    from dataforge.cli.opened import opened
    from dataforge.ledger.backfill_list import backfills

    with opened(invocation) as database:
        page = backfills(database, invocation.settings.environment, BackfillFilter(**given))
    titles = ("ID", "STATE", "BUILT", "OF", "FAILED", "BEGAN (UTC)", "BY", "REASON")
    print_page(page, titles, _line, as_json=as_json, nothing="there is no backfill")


def _line(each: BackfillItem) -> tuple[object, ...]:
    return each.id, each.state, *_progress(each.counts), table.moment(each.began_at), each.by, each.reason


def _progress(counts: dict[str, int]) -> tuple[int, int, int]:
    total = sum(number for state, number in counts.items() if state != "skipped")
    return counts.get("succeeded", 0), total, counts.get("failed", 0) + counts.get("blocked", 0)


@backfill.command()
@click.argument("name", type=click.UUID, metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def show(invocation: Invocation, /, name: UUID, *, as_json: bool) -> None:
    """Show how far a backfill has come, by interval. Exits with 1 where something of it has failed."""
    from datetime import UTC, datetime

    from dataforge.cli.opened import opened
    from dataforge.ledger.backfill_list import detail

    with opened(invocation) as database:
        found = detail(database, invocation.settings.environment, name, datetime.now(UTC))
    _show(found, as_json=as_json)
    if _progress(found.counts)[2]:
        raise click.exceptions.Exit(1)


def _show(found: BackfillDetail, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    counts = ", ".join(f"{number:,} {state}" for state, number in sorted(found.counts.items()))
    click.echo(f"backfill {found.id} is {found.state}: {counts}")
    if found.ends_at:
        click.echo(f"at its pace it ends about {table.moment(found.ends_at)} UTC")
    rows = [(each.partition, each.succeeded, each.total, each.failed) for each in found.intervals]
    table.show(("PARTITION", "BUILT", "OF", "FAILED"), rows)
    click.echo()
    table.show(
        ("WHEN (UTC)", "WHAT", "BY", "REASON"),
        [(table.moment(each.at), each.what, each.by, each.reason) for each in found.log],
    )


@backfill.command()
@click.argument("name", type=click.UUID, metavar="ID")
@filtered_by(ItemFilter)
@pass_invocation
def partitions(invocation: Invocation, /, name: UUID, as_json: bool, **given: Any) -> None:
    """List the partitions of a backfill in the order of its plan, each with why, or what it waits for."""
    from dataforge.cli.opened import opened
    from dataforge.ledger.backfill_list import items

    with opened(invocation) as database:
        page = items(database, invocation.settings.environment, name, ItemFilter(**given))
    print_page(page, ("WAVE", "TASK", "PARTITION", "STATE", "RELEASED (UTC)", "REASON"), _item, as_json=as_json)


def _item(each: PlanItem) -> tuple[object, ...]:
    return each.wave, each.task.name, each.partition, each.state, table.moment(each.released_at), each.reason


def _verb(verb: Verb, said: str) -> None:
    """A command that changes a backfill."""

    @backfill.command(verb, help=said)
    @click.argument("name", type=click.UUID, metavar="ID")
    @click.option("--reason", default="", help="Why; kept with the backfill.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @pass_invocation
    def command(invocation: Invocation, /, name: UUID, reason: str, *, as_json: bool) -> None:
        _show(_changed(invocation, name, verb, reason), as_json=as_json)


def _changed(invocation: Invocation, name: UUID, verb: Verb, reason: str) -> BackfillDetail:
    from datetime import UTC, datetime

    from dataforge.cli.opened import opened
    from dataforge.dispatch import backfill as dispatch
    from dataforge.ingest import redaction

    rules, now = redaction.load(invocation.settings.redaction), datetime.now(UTC)
    environment = invocation.settings.environment
    with opened(invocation) as database:
        return dispatch.change(database, environment, name, verb, now, by=getuser(), reason=reason, redaction=rules)


_verb("pause", "Release nothing more; what has been released may still be claimed.")
_verb("resume", "Go on where it was paused.")
_verb("cancel", "Give up what has not begun, and withdraw the orders to run it again.")
_verb("retry", "Build what failed once more, and then what stands behind it.")
