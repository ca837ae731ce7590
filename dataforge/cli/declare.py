"""`dataforge declare`: what a file says its source consists of becomes what is true."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataforge.cli import table
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.moment import moment
from dataforge.cli.opened import opened

if TYPE_CHECKING:
    from dataforge.model.manifest import Manifest


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE...")
@click.option(
    "--dbt",
    "dbt_manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PATH",
    help="A dbt project's target/manifest.json.",
)
@click.option("--namespace", help="With --dbt: the namespace of its jobs (OPENLINEAGE_NAMESPACE).")
@click.option("--dataset-namespace", help="With --dbt: that of its warehouse, such as postgres://db:5432.")
@click.option("--source", help="With --dbt: the name of the source (default: dbt:NAMESPACE/PROJECT).")
@click.option(
    "--valid-from",
    callback=moment,
    metavar="TIME",
    help="From when on they hold, where they do not say it themselves: of history that is declared after the fact.",
)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for each source, one a line.")
@pass_invocation
def declare(
    invocation: Invocation,
    /,
    files: tuple[Path, ...],
    dbt_manifest: Path | None,
    valid_from: datetime | None,
    *,
    dry_run: bool,
    as_json: bool,
    **dbt: str | None,
) -> None:
    """Register the tasks, datasets and edges of one source, or of several, each a YAML or JSON file.

    Each file is all that its source declares: what it no longer names is retired. All of a file is registered or
    nothing of it; the first file that is refused ends the command.
    """
    manifests = [_of_file(path) for path in files]
    namespace, dataset_namespace, source = dbt["namespace"], dbt["dataset_namespace"], dbt["source"]
    if dbt_manifest is not None:
        if not namespace or not dataset_namespace:
            raise click.UsageError("--dbt needs --namespace and --dataset-namespace: a manifest names neither")
        manifests.append(_of_dbt(dbt_manifest, namespace, dataset_namespace, source))
    elif namespace or dataset_namespace or source:
        raise click.UsageError("--namespace, --dataset-namespace and --source go with --dbt")
    if not manifests:
        raise click.UsageError("name a FILE, or a dbt manifest by --dbt")
    if valid_from is not None:
        manifests = [_dated(manifest, valid_from) for manifest in manifests]
    _declare(invocation, manifests, dry_run=dry_run, as_json=as_json)


def _of_file(path: Path) -> Manifest:
    """A manifest that names no source is that of its file."""
    from dataforge.model import decoding, definition

    body = path.read_bytes()
    document = body if path.suffix.lower() == ".json" else decoding.of_yaml(body)
    return definition.parse(document, path.stem)


def _dated(manifest: Manifest, valid_from: datetime) -> Manifest:
    from dataforge.model import definition

    return definition.dated(manifest, valid_from)


def _of_dbt(path: Path, namespace: str, dataset_namespace: str, source: str | None) -> Manifest:
    from dataforge.ingest.dbt_manifest import from_dbt

    return from_dbt(path.read_bytes(), namespace, dataset_namespace, source)


def _declare(invocation: Invocation, manifests: list[Manifest], *, dry_run: bool, as_json: bool) -> None:
    import msgspec

    from dataforge.ledger import declare as ledger

    with opened(invocation, patient=False) as database:
        for manifest in manifests:
            found = ledger.declare(database, invocation.settings.environment, manifest, dry_run=dry_run)
            if as_json:
                click.echo(json.dumps({"source": manifest.source, **msgspec.to_builtins(found)}))
                continue
            would = "would be " if dry_run else ""
            past = f", in the past until {table.moment(found.valid_to)} UTC" if found.valid_to else ""
            counts = f"created {found.created}, changed {found.changed}, retired {found.retired}"
            click.echo(
                f"{manifest.source}: {would}{counts}, unchanged {found.unchanged}{past};"
                f" graph version {found.graph_version}"
            )
