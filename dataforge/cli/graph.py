"""`dataforge graph`: what lies upstream and downstream of a task, a dataset or a partition, as a tree or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dataforge.cli import table
from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.moment import moment

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from dataforge.model.lineage import (
        Direction,
        Graph,
        GraphEdge,
        GraphEnd,
        GraphNode,
        PartitionEdge,
        PartitionEnd,
        PartitionGraph,
        PartitionNode,
    )
    from dataforge.model.reference import NodeKind

    _End = GraphEnd | PartitionEnd
    _Edge = GraphEdge | PartitionEdge
    _Node = GraphNode | PartitionNode


@click.command()
@click.argument("name")
@click.argument("partition", required=False)
@click.option("--namespace", help="May be left out where the name is unique in the environment.")
@click.option("--upstream", is_flag=True, help="What it depends on; both where neither is asked for.")
@click.option("--downstream", is_flag=True, help="What depends on it.")
@click.option("--direction", type=click.Choice(["upstream", "downstream", "both"]), help="The same by name.")
@click.option("--depth", type=click.IntRange(0, 10_000), help="How many steps to go (default: to the end).")
@click.option(
    "--kind", type=click.Choice(["task", "dataset"]), help="Show one kind; a path through the other is one step."
)
@click.option("--at", callback=moment, metavar="TIME", help="As of this time: what was declared and seen by then.")
@click.option("--run", metavar="RUN", help="What this run of NAME consisted of, as it was known when it ran.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def graph(
    invocation: Invocation,
    /,
    name: str,
    partition: str | None,
    namespace: str | None,
    at: datetime | None,
    run: str | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Show what is upstream or downstream of a task or dataset, across platforms and aliases.

    With a PARTITION its own lineage: which partitions it needs or was made from, and which need it, with their states.
    With --run the expanded graph of one run of a DAG, a dbt invocation or a Spark application.
    """
    import msgspec

    if run is not None:
        from dataforge.cli.run_graph import show_run

        show_run(invocation, (namespace, name), run, as_json=as_json)
        return
    way = _direction(asked.pop("direction"), upstream=asked.pop("upstream"), downstream=asked.pop("downstream"))
    if partition is not None and (at is not None or asked["kind"] is not None):
        raise click.UsageError("of a partition the present is shown, and both kinds: leave --at and --kind out")
    found: Graph | PartitionGraph
    if partition is not None:
        found = read_partition(invocation, (namespace, name), partition, way, asked["depth"])
    else:
        found = read_graph(invocation, (namespace, name), at, way, **asked)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _show(found, way)


def _direction(named: Direction | None, *, upstream: bool, downstream: bool) -> Direction:
    if named is not None and (upstream or downstream):
        raise click.UsageError("--direction says the same as --upstream and --downstream: give one of them")
    if upstream == downstream:
        return named or "both"
    return "upstream" if upstream else "downstream"


def read_graph(
    invocation: Invocation,
    reference: tuple[str | None, str],
    at: datetime | None,
    direction: Direction,
    depth: int | None,
    kind: NodeKind | None,
) -> Graph:
    """What lies up- or downstream of a task or dataset, by its names; now, or as of a time."""
    from dataforge.graph.follower import Follower
    from dataforge.ledger.lineage import lineage, lineage_at
    from dataforge.local.postgres import database_url
    from dataforge.storage.database import Database

    database = Database(database_url(invocation.settings), max_size=1)
    environment = invocation.settings.environment
    try:
        if at is not None:
            return lineage_at(database, environment, reference, at, direction, depth, kind)
        return lineage(database, Follower(), environment, reference, direction, depth, kind)
    finally:
        database.close()


def read_partition(
    invocation: Invocation, reference: tuple[str | None, str], partition: str, direction: Direction, depth: int | None
) -> PartitionGraph:
    """What lies up- or downstream of a partition of a task or dataset, now."""
    from datetime import UTC, datetime

    from dataforge.cli.opened import opened
    from dataforge.ledger.partition_graph import lineage_of

    with opened(invocation) as database:
        now, environment = datetime.now(UTC), invocation.settings.environment
        return lineage_of(database, environment, reference, partition, now, direction, depth)


def _show(found: Graph | PartitionGraph, direction: str) -> None:
    """Prints the answer as trees that grow from the node that was asked for, up and down."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 10_000)
    at = getattr(found, "at", None)
    if at is not None:
        console.print(f"as of {table.moment(at)} UTC", style="dim")
    nodes = {node.end: node for node in found.nodes}
    start = found.nodes[0]
    upstream: dict[_End, list[_Edge]] = {}
    downstream: dict[_End, list[_Edge]] = {}
    for edge in found.edges:
        upstream.setdefault(edge.to, []).append(edge)
        downstream.setdefault(edge.from_, []).append(edge)
    for title, beside in (("upstream", upstream), ("downstream", downstream)):
        if start.end in beside:
            console.print(_tree(f"{title} of", start, nodes, beside))
    if len(found.nodes) == 1:
        where = "up- or downstream" if direction == "both" else direction
        console.print(_label(f"nothing {where} of", start))
    if (known_from := getattr(found, "known_from", None)) is not None:
        console.print(f"the detail of windows before {known_from} has ended", style="dim")
    if found.truncated:
        console.print("... and more: narrow it with --depth, --kind or a direction", style="yellow")


def _tree(
    title: str,
    start: _Node,
    nodes: Mapping[_End, _Node],
    beside: Mapping[_End, Sequence[_Edge]],
) -> Tree:
    """Each node is unfolded once, where it is met first; a graph is no tree."""
    from rich.tree import Tree

    root = Tree(_label(title, start))
    unfolded = {start.end}
    ahead = [(root, start.end)]
    while ahead:
        branch, end = ahead.pop(0)
        for edge in beside.get(end, ()):
            other = edge.from_ if edge.to == end else edge.to
            again = other in unfolded
            twig = branch.add(_label("", nodes[other], observed=edge.origin == "observed", again=again))
            if not again:
                unfolded.add(other)
                ahead.append((twig, other))
    return root


def _label(title: str, node: _Node, *, observed: bool = False, again: bool = False) -> Text:
    """A node in one line: name, kind, platform, owner; what is only observed says so."""
    from rich.text import Text

    text = Text(f"{title} " if title else "")
    text.append(_printable(node.name), style="bold")
    if of := getattr(node, "partition", ""):
        text.append(f" {_printable(of)}", style="bold")
    state = getattr(node, "state", "")
    known = (node.kind, state, node.platform, node.owner or "", "observed" if observed else "")
    text.append("  " + " · ".join(_printable(part) for part in known if part), style="dim")
    return text.append(" (see above)", style="dim") if again else text


def _printable(text: str) -> str:
    """A name without what would steer a terminal: platforms may call things anything."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
