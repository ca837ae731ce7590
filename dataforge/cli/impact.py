"""`dataforge impact`: what breaks if this changes, by whom to call.

Guarantees the answer of `dataforge graph --downstream`, in another order: by owner, the nearest first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import click

from dataforge.cli import table
from dataforge.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from dataforge.model.lineage import Graph, GraphNode, PartitionGraph, PartitionNode

    _Node = GraphNode | PartitionNode


@click.command()
@click.argument("name")
@click.argument("partition", required=False)
@click.option("--namespace", help="May be left out where the name is unique in the environment.")
@click.option("--depth", type=click.IntRange(0, 10_000), help="How many steps to go (default: to the end).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, that of `graph --downstream`.")
@pass_invocation
def impact(
    invocation: Invocation, /, name: str, partition: str | None, namespace: str | None, depth: int | None, as_json: bool
) -> None:
    """Show what breaks if NAME changes: all that depends on it, by owner.

    NAME is a task or a dataset. With a PARTITION which partitions depend on that one, with their states.
    """
    import msgspec

    from dataforge.cli.graph import read_graph, read_partition

    found: Graph | PartitionGraph
    if partition is None:
        found = read_graph(invocation, (namespace, name), None, "downstream", depth, None)
    else:
        found = read_partition(invocation, (namespace, name), partition, "downstream", depth)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _show(found)


def _show(found: Graph | PartitionGraph) -> None:
    start, *below = found.nodes
    owners = _by_owner(below)
    if below:
        click.echo(f"{len(below):,} downstream of {_label(start)}, {_whom_to_call(owners)}")
    else:
        click.echo(f"nothing downstream of {_label(start)}")
    for owner, nodes in owners.items():
        click.echo(f"\n{table.printable(owner or 'no owner is known of')}")
        table.show(*_rows(nodes))
    if found.truncated:
        click.echo("\n... and more: narrow it with --depth", err=True)


def _by_owner(nodes: Sequence[_Node]) -> dict[str | None, list[_Node]]:
    """Whose these are: whom the change meets first comes first, and what is nobody's last."""
    found: dict[str | None, list[_Node]] = {}
    for node in sorted(nodes, key=lambda node: (node.owner is None, node.depth)):
        found.setdefault(node.owner, []).append(node)
    return found


def _whom_to_call(owners: Collection[str | None]) -> str:
    known = sum(owner is not None for owner in owners)
    return f"{known or 'no'} {'owner' if known == 1 else 'owners'} to call"


def _label(node: _Node) -> str:
    return table.printable(f"{node.name} {getattr(node, 'partition', '')}".rstrip())


def _rows(nodes: Sequence[_Node]) -> tuple[Sequence[str], list[Sequence[object]]]:
    """The titles and lines of what one owner has."""
    titles = ("STEPS", "KIND", "NAME", "PLATFORM")
    more = ("PARTITION", "STATE") if hasattr(nodes[0], "state") else ()
    plain = [(node.depth, node.kind, node.name, node.platform) for node in nodes]
    of = [[getattr(node, title.lower()) for title in more] for node in nodes]
    return (*titles, *more), [(*about, *beside) for about, beside in zip(plain, of, strict=True)]
