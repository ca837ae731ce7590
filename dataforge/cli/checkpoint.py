"""`checkpoint`: keeps the state as it is now, signed, so that later nobody has to read all events again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from dataforge.cli.comparison import as_json, print_differences, print_refused, read
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened, shelf_of
from dataforge.cli.progress import Bar
from dataforge.cli.table import moment, show

if TYPE_CHECKING:
    from dataforge.ledger.checkpoint import Checkpoint, Refused, Shelf


@click.command()
@click.option("--list", "listed", is_flag=True, help="List the checkpoints instead, each checked; 1 where one is bad.")
@click.option("--public-key", is_flag=True, help="Print the public key instead, by which anybody can check them.")
@click.option("--json", "for_program", is_flag=True, help="Print JSON.")
@pass_invocation
def checkpoint(invocation: Invocation, listed: bool, public_key: bool, for_program: bool) -> None:
    """Verify the state, and keep it as a signed checkpoint to start from.

    It stands under DATAFORGE_HOME/checkpoints. `verify` and `replay` start from it, and bodies that it covers may be
    dropped (`dataforge bodies`): keep a copy of it elsewhere. Exits with 1, and keeps nothing, where the state is not
    what its events give.
    """
    from dataforge.storage.signing_key import public_pem, signing_key, trusted_key

    settings = invocation.settings
    keys = settings.home / "keys"
    if public_key:
        click.echo(public_pem(trusted_key(keys) or signing_key(keys).public), nl=False)
    elif listed:
        _list(shelf_of(settings), for_program)
    else:
        _make(invocation, for_program)


def _make(invocation: Invocation, for_program: bool) -> None:
    from dataforge.ingest.replay import checkpoint as keep
    from dataforge.storage.signing_key import signing_key

    settings = invocation.settings
    key = signing_key(settings.home / "keys")
    with opened(invocation) as database, Bar("reading events", None) as bar:
        made = keep(database, settings.environment, shelf_of(settings), key, datetime.now(UTC), bar.move)
    if for_program:
        kept = made.checkpoint.manifest if made.checkpoint else None
        click.echo(as_json(made.verified, kept=kept, folder=str(made.checkpoint.folder) if made.checkpoint else None))
    elif made.checkpoint is not None:
        print_refused(made.verified)
        manifest = made.checkpoint.manifest
        click.echo(f"kept: {manifest.events:,} events up to number {manifest.last.number:,}, digest {manifest.digest}")
        click.echo(str(made.checkpoint.folder))
    else:
        click.echo(
            f"not kept: {read(made.verified)} give another state than {settings.environment} has; replay it first"
        )
        print_differences(made.verified.found)
    if made.checkpoint is None:
        raise SystemExit(1)


def _list(shelf: Shelf, for_program: bool) -> None:
    from dataforge.ledger.checkpoint import Checkpoint

    found = list(shelf.all())
    good = [each for each in found if isinstance(each, Checkpoint)]
    if for_program:
        shown = {"good": [each.manifest for each in good], "refused": [each for each in found if each not in good]}
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        show(("CHECKPOINT", "EVENTS", "MADE", "RULES", "IS"), map(_line, found))
    if len(good) < len(found):
        raise SystemExit(1)


def _line(found: Checkpoint | Refused) -> Sequence[object]:
    from dataforge.ledger.checkpoint import Refused

    if isinstance(found, Refused):
        return found.name, None, None, None, f"refused: {found.reason}"
    manifest = found.manifest
    return found.folder.name, f"{manifest.events:,}", moment(manifest.made_at), manifest.rules[:8], "good"
