"""`dataforge ingest`: events from files into the ledger.

Guarantees that what is printed as applied is durable, and that a file can be ingested again without harm.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.progress import Bar

if TYPE_CHECKING:
    from dataforge.ingest.batch import BatchResult
    from dataforge.ingest.event_file import NumberedEvent

_BATCH = 500
_MOST_SHOWN = 100  # refused events; `dataforge rejects` lists them all


class Tally:
    """What became of all events so far."""

    def __init__(self) -> None:
        self.received = self.applied = self.duplicates = self.rejected = 0

    def add(self, name: str, batch: list[NumberedEvent], result: BatchResult) -> None:
        """Counts a batch, and says which of its events were refused, and why."""
        self.received += result.received
        self.applied += result.applied
        self.duplicates += result.duplicates
        for refused in result.rejected:
            self.rejected += 1
            reason = "; ".join(f"{error.field}: expected {error.expected}" for error in refused.errors)
            if self.rejected <= _MOST_SHOWN:
                click.echo(f"{name}:{batch[refused.index].number}: {reason}", err=True)

    def close(self) -> None:
        """Prints the counts."""
        if self.rejected > _MOST_SHOWN:
            click.echo(f"and {self.rejected - _MOST_SHOWN} more: see `dataforge rejects`", err=True)
        click.echo(
            f"received {self.received}, applied {self.applied}, duplicates {self.duplicates}, rejected {self.rejected}"
        )


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="FILE..."
)
@pass_invocation
def ingest(invocation: Invocation, files: tuple[str, ...]) -> None:
    """Read OpenLineage or native events from files: one a line, or a JSON array; gzipped or not; - for stdin.

    Exits with 1 when any event was refused. Refused events are kept: see `dataforge rejects`.
    """
    from dataforge.ingest import redaction
    from dataforge.ingest.batch import record_any
    from dataforge.ingest.event_file import batches, events
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    settings, tally = invocation.settings, Tally()
    rules = redaction.load(settings.redaction)
    database = Database(database_url(settings), max_size=1)
    try:
        for name in files:
            with _opened(name) as stream, Bar(name, _size(name)) as bar:
                for batch in batches(events(stream, name), _BATCH):
                    bodies = [event.body for event in batch]
                    tally.add(name, batch, record_any(database, settings.environment, bodies, rules))
                    bar.move(stream.tell() if stream.seekable() else tally.received)
    finally:
        database.close()
        tally.close()
    if tally.rejected:
        sys.exit(1)


@contextmanager
def _opened(name: str) -> Iterator[BufferedReader[Any]]:
    if name == "-":
        reader = BufferedReader(cast(Any, sys.stdin.buffer))
        try:
            yield reader
        finally:
            reader.detach()  # standard input is not ours to close
        return
    with Path(name).open("rb") as stream:
        yield stream


def _size(name: str) -> int | None:
    return None if name == "-" else Path(name).stat().st_size
