"""What a question about the graph is answered with."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.reference import NodeKind
from dataforge.model.state import PartitionStatus

Direction = Literal["upstream", "downstream", "both"]
Origin = Literal["declared", "observed"]


class Window(msgspec.Struct, frozen=True):
    """Which way and how far a question goes, which kind it wants to see, and how many nodes at most."""

    direction: Direction
    depth: int | None
    kind: NodeKind | None
    limit: int


def refuse_beside_partition(at: object, kind: object) -> None:
    """Refuses to narrow the lineage of a partition by what it cannot be narrowed by. Raises InvalidInput."""
    for name, value in (("at", at), ("kind", kind)):
        if value is not None:
            problem = FieldError(name, value, "no value beside partition: partitions are shown of now, of both kinds")
            raise InvalidInput(f"{name} is {value!r}: expected {problem.expected}", [problem])


class GraphEnd(msgspec.Struct, frozen=True, order=True):
    """A task or a dataset, the latter under its canonical name."""

    kind: Annotated[NodeKind, Meta(description="Whether it is a task or a dataset.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name.")]


class GraphNode(msgspec.Struct, frozen=True):
    """A node of the answer."""

    kind: Annotated[NodeKind, Meta(description="Whether it is a task or a dataset.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name; of a dataset with aliases the canonical one.")]
    depth: Annotated[int, Meta(description="Steps from the node that was asked for, hidden kinds not counted.")]
    owner: Annotated[str | None, Meta(description="Who answers for it, as far as anybody has said.")]
    platform: Annotated[str, Meta(description="What runs or holds it; empty where nobody knows.")]

    @property
    def end(self) -> GraphEnd:
        return GraphEnd(self.kind, self.namespace, self.name)


class GraphEdge(msgspec.Struct, frozen=True):
    """An edge of the answer, in the direction in which data and time flow."""

    from_: Annotated[GraphEnd, Meta(description="The upstream node.")] = msgspec.field(name="from")
    to: Annotated[GraphEnd, Meta(description="The downstream node.")]
    origin: Annotated[
        Origin, Meta(description="declared by a source, or only observed; of a path the weaker of its edges.")
    ]


class PartitionEnd(msgspec.Struct, frozen=True, order=True):
    """One partition of a task or dataset."""

    kind: Annotated[NodeKind, Meta(description="Whether it is of a task or a dataset.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name.")]
    partition: Annotated[str, Meta(description="Its key; empty for what has no partitions.")]


class PartitionNode(msgspec.Struct, frozen=True):
    """A partition in the answer."""

    kind: Annotated[NodeKind, Meta(description="Whether it is of a task or a dataset.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name; of a dataset with aliases the canonical one.")]
    partition: Annotated[str, Meta(description="Its key; empty for what has no partitions.")]
    depth: Annotated[int, Meta(description="Steps from the partition that was asked for.")]
    state: Annotated[PartitionStatus, Meta(description="What is believed of it; missing where nothing has happened.")]
    owner: Annotated[str | None, Meta(description="Who answers for it, as far as anybody has said.")]
    platform: Annotated[str, Meta(description="What runs or holds it; empty where nobody knows.")]

    @property
    def end(self) -> PartitionEnd:
        return PartitionEnd(self.kind, self.namespace, self.name, self.partition)


class PartitionEdge(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dependency between two partitions, in the direction in which data and time flow."""

    from_: Annotated[PartitionEnd, Meta(description="The upstream partition.")] = msgspec.field(name="from")
    to: Annotated[PartitionEnd, Meta(description="The downstream partition.")]
    origin: Annotated[
        Origin, Meta(description="declared: by the mapping of a declared edge; observed: by one seen, or by a run.")
    ]
    run: Annotated[
        str | None, Meta(description="The last run that showed it, where no declared mapping implies it.")
    ] = None
    seen_at: Annotated[datetime | None, Meta(description="When a run last showed it.")] = None


class PartitionGraph(msgspec.Struct, frozen=True, omit_defaults=True):
    """The partitions around the one that was asked for."""

    nodes: Annotated[list[PartitionNode], Meta(description="The partitions, nearest first.")]
    edges: Annotated[list[PartitionEdge], Meta(description="The edges between them.")]
    truncated: Annotated[bool, Meta(description="Whether there is more than one answer holds.")]
    graph_version: Annotated[int, Meta(description="The version of the graph that was read.")]
    known_from: Annotated[
        str | None,
        Meta(
            description="The day from which on windows have states: the detail of those before it has ended, so that"
            " they show as missing, and what was needed of them is left out. Absent where all have."
        ),
    ] = None


class Graph(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of the graph that was asked for."""

    nodes: Annotated[list[GraphNode], Meta(description="The nodes, nearest first.")]
    edges: Annotated[list[GraphEdge], Meta(description="The edges between them.")]
    truncated: Annotated[bool, Meta(description="Whether there is more than one answer holds.")]
    graph_version: Annotated[int, Meta(description="The version of the graph that was read.")]
    at: Annotated[datetime | None, Meta(description="The moment that was asked for; left out for the present.")] = None
