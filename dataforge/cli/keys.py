"""`dataforge keys`: the keys of a dynamic set, and registering more or taking some off."""

from __future__ import annotations

from getpass import getuser
from typing import TYPE_CHECKING

import click

from dataforge.cli import table
from dataforge.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from dataforge.model.listing import Page
    from dataforge.model.partition_set import Registered, SetKey

_TITLES = ("KEY", "HELD", "OBSERVED", "ORDERED (UTC)", "BY", "REASON")


@click.command()
@click.argument("name", metavar="SET")
@click.option("--register", multiple=True, metavar="KEY", help="Register this key; may be given several times.")
@click.option("--delist", multiple=True, metavar="KEY", help="Take this key off; its history stays. Needs --reason.")
@click.option("--reason", help="Why; kept with the order.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="How many keys at most.")
@click.option("--cursor", help="The next_cursor of the page before.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def keys(
    invocation: Invocation,
    /,
    name: str,
    register: tuple[str, ...],
    delist: tuple[str, ...],
    reason: str | None,
    limit: int,
    cursor: str | None,
    *,
    as_json: bool,
) -> None:
    """List the keys of a dynamic set, or register some and take some off.

    A set holds what was registered and what was observed, without what was taken off since. Exits with 1 where it has
    no key at all.
    """
    import msgspec

    if register or delist:
        done = _register(invocation, name, register, delist, reason)
        said = f"{name}: {done.registered} registered, {done.delisted} taken off"
        click.echo(msgspec.json.encode(done) if as_json else said)
        return
    page = _page(invocation, name, limit, cursor)
    if as_json:
        click.echo(msgspec.json.encode(page))
    elif page.items:
        table.show(_TITLES, [_row(key) for key in page.items])
    if not page.items:
        click.echo(f"nobody has registered or observed a key of {name}", err=True)
        raise click.exceptions.Exit(1)
    if page.next_cursor is not None and not as_json:
        click.echo("there is more: raise --limit, or go on from the cursor that --json prints", err=True)


def _row(key: SetKey) -> tuple[object, ...]:
    held, observed = ("yes" if each else "no" for each in (key.listed, key.observed))
    return key.key, held, observed, table.moment(key.since), key.by, key.reason


def _page(invocation: Invocation, name: str, limit: int, cursor: str | None) -> Page[SetKey]:
    from dataforge.cli.opened import opened
    from dataforge.ledger import partition_set
    from dataforge.model.partition_set import KeyFilter

    with opened(invocation) as database:
        wanted = KeyFilter(limit=limit, cursor=cursor)
        return partition_set.keys(database, invocation.settings.environment, name, wanted)


def _register(
    invocation: Invocation, name: str, register: tuple[str, ...], delist: tuple[str, ...], reason: str | None
) -> Registered:
    from datetime import UTC, datetime

    from dataforge.cli.opened import opened
    from dataforge.dispatch import partition_set
    from dataforge.ingest import redaction
    from dataforge.model.partition_set import Registering

    wanted = Registering(register, delist, getuser(), reason)
    rules, environment = redaction.load(invocation.settings.redaction), invocation.settings.environment
    with opened(invocation) as database:
        return partition_set.register(database, environment, name, wanted, datetime.now(UTC), redaction=rules)
