"""`dataforge arrivals`: which datasets come late, out of order, with other columns than before, or never came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened

if TYPE_CHECKING:
    from dataforge.model.arrival import Arrival, ArrivalQuestion
    from dataforge.storage.database import Database

_AT_ONCE = 1_000


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--namespace", help="Of the names, where they are not unique.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, of what comes as it should too.")
@pass_invocation
def arrivals(invocation: Invocation, names: Sequence[str], namespace: str | None, *, as_json: bool) -> None:
    """Say which datasets come late, out of order or with other columns, or never came.

    All of them where no NAME is given. Exits with 0 when all come as they should, and with 1 when one does not.
    """
    from dataforge.model.arrival_sentence import amiss

    now = datetime.now(UTC)
    with opened(invocation, patient=False) as database:
        found = list(_asked(database, invocation.settings.environment, names, namespace, now))
    wrong = [(each, what, said) for each in found for what, said in amiss(each, now).items()]
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"items": found, "decided_at": now}))
    else:
        _print(wrong, len(found))
    click.get_current_context().exit(1 if wrong else 0)


def _asked(
    database: Database, environment: str, names: Sequence[str], namespace: str | None, now: datetime
) -> Iterator[Arrival]:
    from dataforge.ledger.arrival import arrivals as answered
    from dataforge.model.arrival import ArrivalQuestion
    from dataforge.model.errors import NotFound

    given = [ArrivalQuestion(name=name, namespace=namespace) for name in names]
    questions = given or list(_every(database, environment, namespace))
    for begin in range(0, len(questions), _AT_ONCE):
        for item in answered(database, environment, questions[begin : begin + _AT_ONCE], now).items:
            if given and not (item.declared or item.observed):
                within = f" in the namespace {namespace!r}" if namespace else ", or there are several: give --namespace"
                raise NotFound(f"there is no dataset named {item.node.name!r}{within}; `dataforge datasets` lists them")
            yield item


def _every(database: Database, environment: str, namespace: str | None) -> Iterator[ArrivalQuestion]:
    from dataforge.ledger.catalog import datasets
    from dataforge.model.arrival import ArrivalQuestion
    from dataforge.model.filter import DatasetFilter

    cursor: str | None = None
    while True:
        page = datasets(database, environment, DatasetFilter(namespace=namespace, limit=_AT_ONCE, cursor=cursor))
        yield from (ArrivalQuestion(name=each.name, namespace=each.namespace) for each in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


def _print(wrong: Sequence[tuple[Arrival, str, str]], asked: int) -> None:
    from dataforge.cli import table

    if not wrong:
        come = "1 dataset comes as it should" if asked == 1 else f"{asked:,} datasets come as they should"
        click.echo(f"{come}." if asked else "there is no dataset", err=True)
        return
    rows = [(f"{each.node.namespace}/{each.node.name}", what, each.owner) for each, what, _ in wrong]
    table.show(("DATASET", "WHAT", "OWNER"), rows)
    click.echo()
    for each, _, said in wrong:
        click.echo(f"{table.printable(each.node.name)}: {table.printable(said)}")
