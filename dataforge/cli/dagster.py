"""`dagster`: keeping this installation's Dagster small, whose event log is never pruned by itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.moment import span


class Age(click.ParamType[timedelta]):
    """So many days or weeks."""

    name = "age"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """What was written, such as 30d or 8w."""
        if isinstance(value, timedelta):
            return value
        read = span(value) if re.fullmatch(r"[1-9]\d{0,3}[dw]", value) else None
        if read is None:
            self.fail(f"{value!r} is no age: expected a number of days or weeks, such as 30d or 8w", param, ctx)
        return read


@click.group()
def dagster() -> None:
    """Take from Dagster's event log what is old and nobody needs."""


@dagster.command()
@click.option("--older-than", type=Age(), default="30d", show_default=True, metavar="AGE", help="Such as 30d or 8w.")
@click.option("--apply", "apply_", is_flag=True, help="Delete it; otherwise only say what would go.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def prune(invocation: Invocation, older_than: timedelta, apply_: bool, for_program: bool) -> None:
    """Say which old events Dagster could do without, or delete them.

    What Dagster shows stays, however old: the last event of each kind of each partition, and the last result of each
    check. So does all of a run that goes on, and what a sensor has not read yet. May run beside everything else.
    PostgreSQL gives the room to what Dagster writes next; `vacuum full` gives it back to the disk.
    """
    import msgspec

    from dataforge.local.dagster import pruned

    found = pruned(invocation.settings, datetime.now(UTC) - older_than, apply=apply_)
    if for_program:
        click.echo(msgspec.json.format(found, indent=2).decode())
    else:
        _show(msgspec.json.decode(found), applied=apply_)


def _show(found: dict[str, object], *, applied: bool) -> None:
    from dataforge.cli.table import show

    freed, kept = found["freed"], found["kept"]
    assert isinstance(freed, list)
    assert isinstance(kept, dict)
    if freed:
        rows_of = [(each["kind"], f"{each['rows']:,}", _megabytes(each["bytes"])) for each in freed]
        show(("EVENTS", "ROWS", "MB"), rows_of)
    rows, size = (sum(each[name] for each in freed) for name in ("rows", "bytes"))
    click.echo(
        f"{rows:,} rows of {_megabytes(size)} MB {'are deleted' if applied else 'may go: --apply deletes them'}."
    )
    for why, number in kept.items():
        click.echo(f"{number:,} old rows stay: {why}.")
    click.echo(f"What {found['held_by']} has not read yet stays too.")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"
