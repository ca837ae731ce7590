"""`up`, `down` and `status`: the processes of this installation."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.model.errors import DatabaseUnavailable, DataForgeError, DefinitionsError
from dataforge.settings import Settings

QUESTIONS = (
    "dataforge why model.shop.stg_payments 2026-11-12",
    "dataforge graph s3://shop-lake/payments --downstream",
    "dataforge runs --state failed",
    "dataforge backfill list",
)


@click.command()
@pass_invocation
def up(invocation: Invocation) -> None:
    """Start the database, the API and Dagster, and wait until they are healthy.

    Loads the example, a recorded fortnight of a small shop, into the environment unless DATAFORGE_EXAMPLE is 0. May be
    repeated. Exits with 1 where Dagster's definitions cannot be loaded.
    """
    from dataforge.local import processes

    try:
        processes.up(invocation.settings, partial(_load_shop, invocation.settings))
    except DefinitionsError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error
    click.echo(_welcome(invocation.settings))


@click.command()
@pass_invocation
def down(invocation: Invocation) -> None:
    """Stop what `up` started, and only that."""
    from dataforge.local import processes

    stopped = processes.down(invocation.settings)
    click.echo("stopped" if stopped else "nothing was running")


@click.command()
@pass_invocation
def status(invocation: Invocation) -> None:
    """Say what runs, where, since when; exit with 1 where something is stopped, or runs on a database that is lost."""
    from dataforge.local import processes

    settings = invocation.settings
    states = processes.status(settings)
    width = max(len(name) for name in ("database", *(state.name for state in states)))
    click.echo(f"{'home':<{width}} {settings.home}")
    for state in states:
        since = f"since {state.since:%Y-%m-%d %H:%M:%S} UTC" if state.since and state.is_up else ""
        pid = f"pid {state.pid}" if state.pid else ""
        place = _place(settings, state.name) if state.is_up else f"log {state.log}"
        click.echo(f"{state.name:<{width}} {state.state.lower():<9} {pid:<12} {since:<30} {place}".rstrip())
    if settings.database_url:
        click.echo(f"{'database':<{width}} named by DATAFORGE_DATABASE_URL")
    running = all(state.is_up for state in states)
    for line in _mirrors(invocation) if running else ():
        click.echo(line)
    trouble = _trouble(settings) if running else None
    if trouble:
        click.echo(f"trouble: {trouble}")
    click.get_current_context().exit(0 if running and not trouble else 1)


def _mirrors(invocation: Invocation) -> list[str]:
    """How far behind each is that shows the ledger's states elsewhere."""
    from dataforge.cli.opened import opened
    from dataforge.cli.table import span
    from dataforge.ledger.mirror import mirrors
    from dataforge.storage import schema

    try:
        with opened(invocation) as database:
            schema.require_newest(database)
            found = mirrors(database, invocation.settings.environment, datetime.now(UTC)).items
    except DataForgeError as error:
        return [f"mirrors: {error}"]
    return [f"mirror {each.name}: {span(each.lag_seconds)} behind, {each.waiting:,} changes wait" for each in found]


def _trouble(settings: Settings) -> str | None:
    from dataforge.local import processes

    try:
        return processes.trouble(settings)
    except DatabaseUnavailable as error:
        return str(error)


def _load_shop(settings: Settings, url: str, environment: str) -> None:
    from dataforge.cli.example import load, open_shop

    load(url, environment)
    if settings.dagster:  # dbt is run by Dagster alone
        open_shop(settings.home / "shop")


def _place(settings: Settings, name: str) -> str:
    from dataforge.local.layout import Layout

    places = {
        "api": _base(settings, settings.port),
        "postgres": f"socket in {Layout(settings.home).postgres_sockets}",
        "dagster-webserver": _base(settings, settings.dagster_port),
    }
    return places.get(name, "")


def _welcome(settings: Settings) -> str:
    base = _base(settings, settings.port)
    pages = [f"{base}/docs  (the API, to read and to try)", f"{base}/openapi.json", f"{base}/ready"]
    if settings.dagster:
        # Its root leads to the timeline of its own runs, on which there is nothing yet.
        pages.insert(0, f"{_base(settings, settings.dagster_port)}/asset-groups  (Dagster: assets, partitions, checks)")
    lines = ["DataForge is up.", "", "Open:", *(f"  {page}" for page in pages)]
    if settings.example:
        lines += ["", "Ask:", *(f"  .venv/bin/{question}" for question in QUESTIONS)]
    return "\n".join(lines)


def _base(settings: Settings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"
