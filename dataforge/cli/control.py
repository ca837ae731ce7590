"""`dataforge control`: pause and resume, approve and refuse, set facts, quarantine and release, mark and clear."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser
from typing import Any

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.moment import moment

VERBS = ["pause", "cancel", "resume", "approve", "refuse", "set", "quarantine", "release", "not_before"]
MARKS = ["mark", "clear"]  # of a run


@click.command()
@click.argument("verb", type=click.Choice([*VERBS, *MARKS]), metavar="VERB")
@click.argument("name", required=False)
@click.argument("partition", required=False)
@click.option("--namespace", help="The namespace of NAME; may be left out where the name is unique.")
@click.option("--domain", help="With pause, cancel and resume: a whole domain.")
@click.option("--environment-wide", is_flag=True, help="With pause, cancel and resume: the whole environment.")
@click.option("--dataset", is_flag=True, help="With quarantine and release: NAME is a dataset.")
@click.option("--gate", help="With approve and refuse: which gate.")
@click.option("--fact", help="With set: which fact.")
@click.option("--value", default="true", show_default=True, help="With set: its value, as JSON.")
@click.option("--until", callback=moment, metavar="TIME", help="With not_before: from when on it may run.")
@click.option("--state", type=click.Choice(["succeeded", "failed", "skipped"]), help="With mark: how the run counts.")
@click.option("--run", help="With mark and clear: which run; without it the one that decides the PARTITION.")
@click.option("--by", help="Who orders it; the account that runs this by default.")
@click.option("--reason", help="Why; kept with the order.")
@pass_invocation
def control(invocation: Invocation, /, verb: str, name: str | None, partition: str | None, **options: Any) -> None:
    """Pause, approve, set facts, quarantine, mark and clear.

    VERB is pause, cancel, resume, approve, refuse, set, quarantine, release, not_before, mark (how the run counts until
    a later try begins) or clear (it is to be run again). It is about the task NAME and its PARTITION, or all of its
    partitions where none is named; or about what an option names. Each order is kept for good, with who gave it; the
    latest one stands.
    """
    wide = [options["domain"], options["fact"], options["environment_wide"] or None]
    if (name is not None) + sum(each is not None for each in wide) != 1:
        raise click.UsageError("name a task or dataset, or one of --domain, --fact and --environment-wide")
    document = {"control": verb, "by": options["by"] or getuser(), **_said(verb, options)}
    if partition is not None:
        document["partition"] = partition
    _record(invocation, document, name, options)
    click.echo(f"{verb}: recorded")


def _said(verb: str, options: dict[str, Any]) -> dict[str, Any]:
    import msgspec

    until: datetime | None = options["until"]
    said = {
        key: options[key] for key in ("domain", "fact", "gate", "reason", "run", "state") if options[key] is not None
    }
    if until is not None:
        said["until"] = until.isoformat()
    if verb == "set":
        try:
            said["value"] = msgspec.json.decode(options["value"])
        except msgspec.DecodeError:
            raise click.BadParameter(
                f"{options['value']!r} is no JSON: write text in quotes", param_hint="--value"
            ) from None
    return said


def _record(invocation: Invocation, document: dict[str, Any], name: str | None, options: dict[str, Any]) -> None:
    from datetime import UTC

    from dataforge.ingest import redaction
    from dataforge.ingest.batch import record_native
    from dataforge.local.postgres import database_url
    from dataforge.model.errors import InvalidInput
    from dataforge.storage import environment as environments
    from dataforge.storage import mark, reference
    from dataforge.storage.database import Database

    settings = invocation.settings
    database = Database(database_url(settings), max_size=1)
    try:
        if name is not None:
            resolve = reference.resolve_dataset if options["dataset"] else reference.resolve_task
            with database.transaction() as connection:
                here = environments.find(connection, settings.environment)
                ref = resolve(connection, here.id, options["namespace"], name)
                if document["control"] in MARKS and "run" not in document:
                    decides = mark.deciding(connection, here.id, ref.id, document.get("partition", ""))
                    document |= {"run": decides} if decides else {}
            document["dataset" if options["dataset"] else "task"] = {"namespace": ref.namespace, "name": ref.name}
        document["time"] = datetime.now(UTC).isoformat()
        rules = redaction.load(settings.redaction)
        for refused in record_native(database, settings.environment, [document], rules).rejected:
            first = refused.errors[0]
            raise InvalidInput(f"{first.field} is {first.value!r}: expected {first.expected}", refused.errors)
    finally:
        database.close()
