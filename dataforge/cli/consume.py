"""`dataforge consume`: events from Kafka into the ledger, and how far they are read.

Guarantees that a stop by SIGTERM or an interrupt ends with what was in hand committed, and that where a partition goes
on after messages were lost is decided by a person, who says why.
"""

from __future__ import annotations

import getpass
import logging
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Literal, cast

import click
import msgspec

from dataforge.cli import table
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.model.errors import SettingsError
from dataforge.settings import Settings

if TYPE_CHECKING:
    from dataforge.ingest.kafka_log import Broker, Lag


@click.command()
@click.option("--lag", "only_lag", is_flag=True, help="Show how far each partition is read, and consume nothing.")
@click.option(
    "--reset",
    "to",
    type=click.Choice(["beginning", "end"]),
    help="Let the partitions that stand still go on at the beginning or the end of their logs.",
)
@click.option("--reason", help="Why: kept with the decision that --reset is.")
@click.option("--by", help="Who decides (default: the account).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, of --lag or --reset.")
@pass_invocation
def consume(
    invocation: Invocation, only_lag: bool, to: str | None, reason: str | None, by: str | None, as_json: bool
) -> None:
    """Read events from Kafka until stopped: OpenLineage and native ones, each message once, whatever is killed.

    DATAFORGE_KAFKA_BOOTSTRAP names the brokers, DATAFORGE_KAFKA_TOPICS the topics (openlineage.events). Consumers of
    one DATAFORGE_KAFKA_GROUP (dataforge) share the work. What is no event goes to the rejects. `up` starts one.

    With --lag, exits with 1 where a partition stands still: its topic was made anew, or messages are gone before they
    were read. --reset lets those go on, and no others.
    """
    if (to is None) != (not reason) or (by and to is None):
        raise click.UsageError("--reset needs a --reason, and nothing else takes one, or --by")
    if as_json and to is None and not only_lag:
        raise click.UsageError("--json goes with --lag or --reset: without these it reads until it is stopped")
    settings = invocation.settings
    broker = _broker(settings)
    if to is None and not only_lag:
        _run(settings, broker)
        return
    found = _decide(settings, broker, to, (by or getpass.getuser(), reason or "")) if to else _lags(settings, broker)
    if to and not found and not as_json:
        click.echo("no partition stands still: nothing is decided")
    elif as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show(found)
    click.get_current_context().exit(1 if any(each.trouble for each in found) else 0)


def _broker(settings: Settings) -> Broker:
    if settings.kafka_bootstrap is None:
        raise SettingsError("DATAFORGE_KAFKA_BOOTSTRAP", None, "the brokers to consume from, such as 127.0.0.1:9092")
    try:
        from dataforge.ingest.kafka_log import Broker, read_properties
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        raise click.ClickException("the extra `kafka` is not installed: pip install 'dataforge[kafka]'") from None
    properties = read_properties(settings.kafka_properties) if settings.kafka_properties else ()
    return Broker(settings.kafka_bootstrap, settings.kafka_topics, settings.kafka_group, properties)


def _run(settings: Settings, broker: Broker) -> None:
    from dataforge.ingest import redaction
    from dataforge.ingest.garbage import collect_less
    from dataforge.ingest.kafka import Reader, consume
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(asctime)s %(name)s %(message)s")
    collect_less()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(database_url(settings), max_size=1)
    try:
        consume(Reader(database, settings.environment, redaction.load(settings.redaction)), broker, stop)
    finally:
        database.close()


def _lags(settings: Settings, broker: Broker) -> list[Lag]:
    from dataforge.ingest.kafka_log import lags
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    database = Database(database_url(settings), max_size=1)
    try:
        return lags(database, settings.environment, broker)
    finally:
        database.close()


def _decide(settings: Settings, broker: Broker, to: str, said: tuple[str, str]) -> list[Lag]:
    from dataforge.ingest.kafka_log import reset
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    database, where = Database(database_url(settings), max_size=1), cast(Literal["beginning", "end"], to)
    try:
        return reset(database, settings.environment, broker, where, (*said, datetime.now(UTC)))
    finally:
        database.close()


def _show(found: Sequence[Lag]) -> None:
    titles = ("TOPIC", "PARTITION", "READ TO", "ENDS AT", "LAG", "")
    table.show(titles, [(e.topic, e.partition, e.offset, e.end, e.lag, e.trouble or "") for e in found])
