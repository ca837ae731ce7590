"""`tasks`, `datasets`, `runs`, `shards`, `partitions`, `updates`, `rejects`: what the ledger holds, as tables or JSON.

Guarantees that a list takes the very filters that the API takes, since the options are made from the same types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from dataforge.cli import table
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.moment import moment
from dataforge.cli.opened import archive_of, opened
from dataforge.model import filter as filters
from dataforge.model.filter import (
    DatasetFilter,
    FilterField,
    Paging,
    PartitionFilter,
    RejectFilter,
    RunFilter,
    ShardFilter,
    TaskFilter,
    UpdateFilter,
)
from dataforge.model.listing import Page

if TYPE_CHECKING:
    from dataforge.model.catalog import DatasetItem, PartitionItem, RejectItem, RunItem, ShardItem, TaskItem, UpdateItem

_Filter = TypeVar("_Filter", bound=Paging)
_Item = TypeVar("_Item")
_ARGUMENTS = ("name", "partition")  # given by place, as everywhere on the command line
_LONGEST_REASON = 200
_DIGITS = 12  # of a version: enough to find its definition by


def filtered_by(shape: type[Paging]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The fields of a filter as arguments and options, and `--json`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)
        for field in reversed(filters.fields(shape)):
            command = _parameter(field)(command)
        return command

    return decorate


def _parameter(field: FilterField) -> Callable[[Callable[..., None]], Callable[..., None]]:
    if field.name in _ARGUMENTS:
        return click.argument(field.name, required=field.required)
    if field.kind == "boolean":
        return click.option(f"--{field.name}", is_flag=True, help=field.description)
    kind: click.ParamType[Any] | None = click.Choice(field.choices) if field.choices else None
    if field.kind == "integer":
        kind = click.IntRange(field.minimum, field.maximum)
    return click.option(
        f"--{field.name}",
        type=kind,
        required=field.required,
        **({} if field.required else {"default": field.default}),
        show_default=field.default is not None,
        callback=moment if field.kind == "date-time" else None,
        help=field.description,
    )


RUN_TITLES = ("TASK", "PARTITION", "STATE", "TRY", "STARTED (UTC)", "TOOK", "EVIDENCE", "VERSION")


@click.command()
@filtered_by(RunFilter)
@pass_invocation
def runs(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """List runs, the latest start first.

    With --since also those that only files of the archive have, each with where it was found.
    """
    wanted = _read(RunFilter, given)
    if wanted.since is not None and not wanted.attempts and (archive := archive_of(invocation.settings)) is not None:
        from dataforge.cli.history import show_history

        show_history(invocation, wanted, archive, as_json=as_json)
        return
    print_page(_collect(invocation, "runs", wanted), RUN_TITLES, run_row, as_json=as_json)


def run_row(run: RunItem) -> Sequence[object]:
    took = table.duration(run.started_at, run.ended_at)
    partitions = table.several(run.partitions)
    started, version = table.moment(run.started_at), run.version and run.version[:_DIGITS]
    return run.name, partitions, _state(run), run.attempt, started, took, _evidence(run), version


def _state(run: RunItem) -> str:
    """How it stands, and how many of its shards are done where it has any."""
    counts = run.shards
    if counts is None:
        return run.state
    return f"{run.state}, {counts.succeeded + counts.skipped:,} of {counts.total:,} shards"


def _evidence(run: RunItem) -> str:
    """What its state rests on: of a mark who set it, when and why."""
    mark = run.marked
    if mark is None:
        return run.evidence
    why = f": {mark.reason}" if mark.reason else ""
    return f"{'cleared' if mark.cleared else 'marked'} by {mark.by} at {table.moment(mark.at)}{why}"


@click.command()
@filtered_by(ShardFilter)
@pass_invocation
def shards(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """List the shards of one run of the task NAME: its files, customers or other parts, by their keys."""
    titles = ("SHARD", "STATE", "ENDED (UTC)", "ROWS")
    print_page(_collect(invocation, "shards", _read(ShardFilter, given)), titles, _shard, as_json=as_json)


def _shard(item: ShardItem) -> Sequence[object]:
    return item.key, item.state, table.moment(item.ended_at), item.rows


@click.command()
@filtered_by(PartitionFilter)
@pass_invocation
def partitions(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """List partitions of tasks and datasets, and their states."""
    titles = ("KIND", "NAME", "PARTITION", "STATE", "SINCE (UTC)", "EVIDENCE", "VERSION", "REASON")
    found = _collect(invocation, "partitions", _read(PartitionFilter, given), now=datetime.now(UTC))
    print_page(found, titles, _partition, as_json=as_json)
    if found.known_from is not None and not as_json:
        click.echo(f"the detail of windows before {found.known_from} has ended", err=True)


def _partition(item: PartitionItem) -> Sequence[object]:
    since, why = table.moment(item.since), item.reason and item.reason[:_LONGEST_REASON]
    return item.kind, item.name, item.partition, item.state, since, item.evidence, item.version, why


@click.command()
@filtered_by(TaskFilter)
@click.option("--versions", is_flag=True, help="List the versions of the task NAME: when each held, and what changed.")
@click.option("--definition", metavar="HASH", help="Print the definition of this hash, as it was declared.")
@pass_invocation
def tasks(invocation: Invocation, /, as_json: bool, versions: bool, definition: str | None, **given: Any) -> None:
    """List the tasks that were declared or seen, or the versions of one."""
    if versions or definition:
        _versions(invocation, definition, _read(TaskFilter, given), as_json=as_json)
        return
    titles = ("NAMESPACE", "NAME", "PLATFORM", "OWNER", "PARTITIONING", "DECLARED BY")
    print_page(_collect(invocation, "tasks", _read(TaskFilter, given)), titles, _task, as_json=as_json)


def _versions(invocation: Invocation, definition: str | None, wanted: TaskFilter, *, as_json: bool) -> None:
    from dataforge.cli.versions import show_definition, show_versions

    if definition is not None:
        show_definition(invocation, definition, as_json=as_json)
    elif wanted.name is None:
        raise click.UsageError("--versions needs the NAME of a task")
    else:
        reference = (wanted.namespace, wanted.name)
        show_versions(invocation, reference, wanted.limit, wanted.cursor, as_json=as_json)


def _task(task: TaskItem) -> Sequence[object]:
    cut = f"{task.partitioning.get('kind')} ({task.partitioning_origin})"
    return task.namespace, task.name, task.platform, task.owner, cut, task.declared_by


@click.command()
@filtered_by(DatasetFilter)
@pass_invocation
def datasets(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """List datasets, each once, under its canonical name."""
    titles = ("NAMESPACE", "NAME", "OWNER", "ALSO KNOWN AS")
    print_page(_collect(invocation, "datasets", _read(DatasetFilter, given)), titles, _dataset, as_json=as_json)


def _dataset(dataset: DatasetItem) -> Sequence[object]:
    return dataset.namespace, dataset.name, dataset.owner, table.several([alias.name for alias in dataset.aliases])


@click.command()
@filtered_by(UpdateFilter)
@pass_invocation
def updates(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """List the dataset updates that a run of the triggered task NAME consumed, or that wait for its next one."""
    titles = ("DATASET", "PARTITION", "UPDATED (UTC)", "VERSION", "BY TASK", "BY RUN")
    print_page(_collect(invocation, "updates", _read(UpdateFilter, given)), titles, _update, as_json=as_json)


def _update(item: UpdateItem) -> Sequence[object]:
    return item.name, item.partition, table.moment(item.updated_at), item.version, item.run.name, item.run.run


@click.command()
@filtered_by(RejectFilter)
@pass_invocation
def rejects(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
    """List the input that was refused, and why, the latest first."""
    titles = ("RECEIVED (UTC)", "BYTES", "MESSAGE", "REASON", "ID")
    print_page(_collect(invocation, "rejects", _read(RejectFilter, given)), titles, _reject, as_json=as_json)


def _reject(item: RejectItem) -> Sequence[object]:
    reason = "; ".join(f"{error.field}: expected {error.expected}" for error in item.errors)
    place = item.message and f"{item.message.topic}[{item.message.partition}]@{item.message.offset}"
    return table.moment(item.received_at), item.size, place, reason[:_LONGEST_REASON], item.id[:12]


def _read(shape: type[_Filter], given: dict[str, Any]) -> _Filter:
    return msgspec.convert(given, shape)


def _collect(invocation: Invocation, noun: str, wanted: Paging, **more: datetime) -> Any:
    from dataforge.ledger import catalog

    pages: Callable[..., Page[Any]] = getattr(catalog, noun)
    with opened(invocation, patient=False) as database:
        return collected(lambda asked: pages(database, invocation.settings.environment, asked, **more), wanted)


def collected(read: Callable[[_Filter], Page[_Item]], wanted: _Filter) -> Page[_Item]:
    """As many items as are wanted: a filtered page may hold fewer than there are."""
    items: list[_Item] = []
    while True:
        page = read(wanted)
        items += page.items
        rest = wanted.limit - len(page.items)
        if page.next_cursor is None or rest == 0:
            return msgspec.structs.replace(page, items=items)
        wanted = msgspec.structs.replace(wanted, limit=rest, cursor=page.next_cursor)


def print_page(
    page: Page[Any],
    titles: Sequence[str],
    row: Callable[[Any], Sequence[object]],
    *,
    as_json: bool,
    nothing: str = "nothing matches",
) -> None:
    """Prints a page as a table or JSON, and says where there is nothing on it, or more behind it."""
    if as_json:
        click.echo(msgspec.json.encode(page))
        return
    if page.items:
        table.show(titles, [row(item) for item in page.items])
    else:
        click.echo(nothing, err=True)
    if page.next_cursor is not None:
        click.echo("there is more: raise --limit, filter, or go on from the cursor that --json prints", err=True)
