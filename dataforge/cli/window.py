"""`dataforge window`: which part of the graph Dagster shows, as a file that its code location loads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataforge.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from dataforge.model.asset import Difference, Snapshot

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_LONGEST = 60  # characters of a value in the table


@click.group()
def window() -> None:
    """Choose the part of the graph that Dagster shows, as a file that its code location loads.

    A window is a YAML file that says which domains, owners, tags, namespaces and names it shows, and which products
    with all that they are made from. What the ledger holds of it is written beside it, to a snapshot of the same name
    that ends in .json: Dagster reads that alone.
    """


@window.command()
@click.argument("file", type=_FILE)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="The snapshot (default: FILE, as .json)."
)
@pass_invocation
def build(invocation: Invocation, /, file: Path, output: Path | None) -> None:
    """Write the snapshot of the window FILE, as the ledger has it now."""
    from dataforge.model import asset

    place, now = output or file.with_suffix(".json"), _now(invocation, file)
    before = _held(place) if place.exists() else None
    _write(place, asset.write(now))
    changes = len(asset.differences(before, now)) if before else None
    news = "" if changes is None else f", {changes:,} {'difference' if changes == 1 else 'differences'} to before"
    click.echo(f"{place}: {len(now.assets):,} {'asset' if len(now.assets) == 1 else 'assets'}{news}")


@window.command()
@click.argument("file", type=_FILE)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="The snapshot (default: FILE, as .json)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def diff(invocation: Invocation, /, file: Path, output: Path | None, *, as_json: bool) -> None:
    """Say what building the window FILE anew would change in its snapshot. Exits with 1 where it would anything."""
    import msgspec

    from dataforge.model import asset

    place = output or file.with_suffix(".json")
    found = asset.differences(_held(place), _now(invocation, file))
    if as_json:
        click.echo(msgspec.json.encode({"items": found}))
    elif found:
        _show(found)
    else:
        click.echo(f"{place} is as the ledger has it")
    click.get_current_context().exit(1 if found else 0)


def _now(invocation: Invocation, file: Path) -> Snapshot:
    from dataforge.cli.opened import opened
    from dataforge.ledger.asset import snapshot
    from dataforge.model import decoding, selection

    wanted = selection.parse(decoding.of_yaml(file.read_bytes()))
    with opened(invocation) as database:
        return snapshot(database, invocation.settings.environment, wanted)


def _held(place: Path) -> Snapshot:
    from dataforge.model import asset
    from dataforge.model.errors import NotFound

    remedy = "`dataforge window build` writes it anew"
    try:
        return asset.read(place.read_bytes(), str(place), remedy)
    except FileNotFoundError:
        raise NotFound(f"there is no snapshot {place}: {remedy}") from None


def _write(place: Path, text: bytes) -> None:
    """Puts the file in place as a whole: whoever loads it meanwhile reads the old one or the new one."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    beside.write_bytes(text)
    beside.replace(place)


def _show(found: list[Difference]) -> None:
    from dataforge.cli import table

    table.show(
        ("ASSET", "WHAT", "IN THE SNAPSHOT", "IN THE LEDGER"),
        [(each.asset, each.what, _short(each.before), _short(each.now)) for each in found],
    )


def _short(value: Any) -> str | None:
    import msgspec

    text = value if isinstance(value, str) or value is None else msgspec.json.encode(value).decode()
    return text if text is None or len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
