"""The entry of the command line.

Guarantees a fast start, since a verb's module is imported only when that verb is used, and that a refusal
is one message on stderr with exit code 2, never a traceback.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import click

from dataforge import __version__
from dataforge.cli.invocation import Invocation
from dataforge.model.errors import DataForgeError, InvalidInput, NotFound


class Verb(NamedTuple):
    """Where a verb's command lives, and its line in `--help`, which must not cost an import."""

    target: str  # "module:function"
    summary: str


VERBS = {
    "up": Verb("dataforge.cli.process:up", "Start the database, the API and Dagster, and wait until they are healthy."),
    "down": Verb("dataforge.cli.process:down", "Stop what `up` started, and only that."),
    "status": Verb("dataforge.cli.process:status", "Say what runs, where, since when."),
    "declare": Verb("dataforge.cli.declare:declare", "Register the tasks, datasets and edges of one source."),
    "ingest": Verb("dataforge.cli.ingest:ingest", "Read OpenLineage or native events from files."),
    "consume": Verb("dataforge.cli.consume:consume", "Read events from Kafka until stopped."),
    "rejects": Verb("dataforge.cli.lists:rejects", "List the input that was refused, and why."),
    "why": Verb("dataforge.cli.why:why", "Say whether the task NAME may run for PARTITION, with every reason why not."),
    "graph": Verb("dataforge.cli.graph:graph", "Show what is upstream or downstream of a task or dataset."),
    "impact": Verb(
        "dataforge.cli.impact:impact", "Show what breaks if NAME changes: all that depends on it, by owner."
    ),
    "claim": Verb("dataforge.cli.claim:claim", "Take a partition of a task for a time, and say how its run ended."),
    "rerun": Verb("dataforge.cli.rerun:rerun", "Order that what is done is run again, with its reason."),
    "backfill": Verb("dataforge.cli.backfill:backfill", "Plan what must be rebuilt, begin it, and follow it."),
    "control": Verb("dataforge.cli.control:control", "Pause, approve, set facts, quarantine, mark and clear."),
    "keys": Verb("dataforge.cli.keys:keys", "List the keys of a dynamic set, or register some and take some off."),
    "runs": Verb("dataforge.cli.lists:runs", "List runs."),
    "shards": Verb("dataforge.cli.lists:shards", "List the shards of one run of the task NAME."),
    "partitions": Verb("dataforge.cli.lists:partitions", "List partitions of tasks and datasets, and their states."),
    "updates": Verb(
        "dataforge.cli.lists:updates", "List the dataset updates that a run of the triggered task NAME consumed."
    ),
    "tasks": Verb("dataforge.cli.lists:tasks", "List the tasks that were declared or seen."),
    "datasets": Verb("dataforge.cli.lists:datasets", "List datasets."),
    "window": Verb(
        "dataforge.cli.window:window",
        "Choose the part of the graph that Dagster shows, as a file that its code location loads.",
    ),
    "arrivals": Verb(
        "dataforge.cli.arrivals:arrivals",
        "Say which datasets come late, out of order or with other columns, or never came.",
    ),
    "findings": Verb("dataforge.cli.findings:findings", "Say what history shows to be wrong, the worst first."),
    "digest": Verb("dataforge.cli.digest:digest", "Print a SHA-256 over the derived state of the environment."),
    "verify": Verb(
        "dataforge.cli.verify:verify",
        "Rebuild the state from its events and definitions, beside the live one, and compare the two.",
    ),
    "checkpoint": Verb(
        "dataforge.cli.checkpoint:checkpoint", "Verify the state, and keep it as a signed checkpoint to start from."
    ),
    "bodies": Verb(
        "dataforge.cli.bodies:bodies",
        "List the parts that event bodies are kept in, a week each, and whether each may go.",
    ),
    "retention": Verb(
        "dataforge.cli.retention:retention",
        "List the parts of partition states, runs and known events, and whether each may go.",
    ),
    "dagster": Verb("dataforge.cli.dagster:dagster", "Take from Dagster's event log what is old and nobody needs."),
    "replay": Verb(
        "dataforge.cli.verify:replay", "Rebuild the state from its events and definitions, and make it the live one."
    ),
}


class Failure(click.ClickException):
    """A `DataForgeError` as the command line shows it."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {self.message}", err=True)


class LazyGroup(click.Group):
    """A group that knows its verbs by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        module, _, function = verb.target.partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DataForgeError as error:
            raise Failure("\n".join(_lines(error))) from error


def _lines(error: DataForgeError) -> list[str]:
    lines = [str(error)]
    if isinstance(error, InvalidInput):
        lines += [f"  {field}: {value!r}, expected {expected}" for field, value, expected in error.errors]
    if isinstance(error, NotFound):
        lines += [f"  did you mean {candidate}?" for candidate in error.candidates]
    return lines


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--environment", metavar="NAME", help="The environment (default: DATAFORGE_ENVIRONMENT, or dev).")
@click.version_option(__version__, package_name="dataforge", prog_name="dataforge")
@click.pass_context
def cli(ctx: click.Context, environment: str | None) -> None:
    """What may run, what is missing, and what breaks, across every data platform at once."""
    ctx.obj = Invocation(environment)


def main() -> None:
    """The console script `dataforge`."""
    cli(prog_name="dataforge")
