"""`up`, `down` and `status`: the processes of this installation."""

from __future__ import annotations

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.settings import Settings

QUESTIONS = (
    "dataforge why extract_orders.publish_raw 2026-06-05",
    "dataforge graph s3://dataforge-raw/orders --downstream",
    "dataforge runs --state failed",
)


@click.command()
@pass_invocation
def up(invocation: Invocation) -> None:
    """Start the database and the API, and wait until they are healthy.

    Loads the captured history into the environment unless DATAFORGE_EXAMPLE is 0. May be repeated.
    """
    from dataforge.local import processes

    processes.up(invocation.settings, _load_history)
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
    """Say what runs, where, since when; exit with 1 where something is stopped."""
    from dataforge.local import processes

    settings = invocation.settings
    states = processes.status(settings)
    click.echo(f"home      {settings.home}")
    for state in states:
        since = f"since {state.since:%Y-%m-%d %H:%M:%S} UTC" if state.since and state.is_up else ""
        pid = f"pid {state.pid}" if state.pid else ""
        place = _place(settings, state.name) if state.is_up else f"log {state.log}"
        click.echo(f"{state.name:<9} {state.state.lower():<9} {pid:<12} {since:<30} {place}".rstrip())
    if settings.database_url:
        click.echo("database  named by DATAFORGE_DATABASE_URL")
    click.get_current_context().exit(0 if all(state.is_up for state in states) else 1)


def _load_history(url: str, environment: str) -> None:
    from dataforge.cli.example import load

    load(url, environment)


def _place(settings: Settings, name: str) -> str:
    from dataforge.local.layout import Layout

    return _base(settings) if name == "api" else f"socket in {Layout(settings.home).postgres_sockets}"


def _welcome(settings: Settings) -> str:
    base = _base(settings)
    pages = (f"{base}/docs  (the API, to read and to try)", f"{base}/openapi.json", f"{base}/ready")
    lines = ["DataForge is up.", "", "Open:", *(f"  {page}" for page in pages)]
    if settings.example:
        lines += ["", "Ask:", *(f"  .venv/bin/{question}" for question in QUESTIONS)]
    return "\n".join(lines)


def _base(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"
