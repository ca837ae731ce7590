"""`dataforge graph NAME --run RUN`: what one run consisted of, as a table or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataforge.cli import table
from dataforge.cli.invocation import Invocation

if TYPE_CHECKING:
    from dataforge.model.run_graph import Instance, Link, RunGraph

_TITLES = ("NAME", "MAP INDEX", "STATE", "TRY", "STARTED (UTC)", "TOOK", "AFTER")


def show_run(invocation: Invocation, name: tuple[str | None, str], run: str, *, as_json: bool) -> None:
    """Prints the expanded graph of one run."""
    from datetime import UTC, datetime

    import msgspec

    from dataforge.cli.opened import opened
    from dataforge.ledger.run_graph import run_graph

    with opened(invocation) as database:
        found = run_graph(database, invocation.settings.environment, name, run, datetime.now(UTC))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    click.echo(f"{found.run.name} {found.run.run}: {found.run.state}")
    if found.instances:
        table.show(_TITLES, [_row(found, each) for each in found.instances])
    for link in found.links:
        click.echo(_said(link))
    if found.truncated:
        click.echo("... and more than one answer holds", err=True)


def _row(found: RunGraph, each: Instance) -> tuple[object, ...]:
    after = sorted({edge.from_.name for edge in found.edges if (edge.to.namespace, edge.to.name) == _name(each)})
    took = table.duration(each.started_at, each.ended_at)
    index = "" if each.map_index < 0 else each.map_index
    return each.name, index, each.state, each.attempt, table.moment(each.started_at), took, table.several(after)


def _name(each: Instance) -> tuple[str, str]:
    return (each.namespace, each.name)


def _said(link: Link) -> str:
    verb = {"triggered": "triggered", "dataset": "triggered, by what it wrote,", "ran": "ran"}[link.kind]
    return f"{link.from_.name} {link.from_.run} {verb} {link.to.name} {link.to.run}"
