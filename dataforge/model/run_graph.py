"""What one run consisted of: its task instances, the edges between their tasks, and the runs that it led to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dataforge.model.catalog import NodeName, RunName
from dataforge.model.lineage import Origin
from dataforge.model.state import RunKind, RunState

LinkKind = Literal["triggered", "dataset", "ran"]


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One execution inside a run, as it stands after its last attempt."""

    kind: Annotated[RunKind, Meta(description="Whether it is a task, a dag, or a step inside one.")]
    namespace: Annotated[str, Meta(description="The task's namespace.")]
    name: Annotated[str, Meta(description="The task's name.")]
    run: Annotated[str, Meta(description="The platform's own id of the execution.")]
    map_index: Annotated[int, Meta(description="Which instance of a mapped task; -1 of one that is not mapped.")]
    attempt: Annotated[int, Meta(description="The number of its last attempt; 0 where it was never tried.")]
    attempts: Annotated[int, Meta(description="How many attempts events told of.")]
    state: Annotated[RunState, Meta(description="How it stands.")]
    evidence: Annotated[str, Meta(description="What that rests on.")]
    partitions: Annotated[list[str], Meta(description="The partitions it was for.")]
    started_at: Annotated[datetime | None, Meta(description="When its last attempt began.")]
    ended_at: Annotated[datetime | None, Meta(description="When its last attempt ended.")]
    version: Annotated[str | None, Meta(description="The version of its task that it ran, in hexadecimal.")]


class TaskEdge(msgspec.Struct, frozen=True, omit_defaults=True):
    """That one task of the run came before another. Of mapped tasks every instance is meant."""

    from_: Annotated[NodeName, Meta(description="The upstream task.")] = msgspec.field(name="from")
    to: Annotated[NodeName, Meta(description="The downstream task.")]
    origin: Annotated[Origin, Meta(description="declared by the version that it ran, or observed by then.")]
    dataset: Annotated[NodeName | None, Meta(description="The dataset that lies between the two, if one does.")] = None


class Link(msgspec.Struct, frozen=True):
    """From one run to another that it caused."""

    kind: Annotated[
        LinkKind, Meta(description="triggered: it started a DAG run; dataset: by an update; ran: it ran it, as Spark.")
    ]
    from_: Annotated[RunName, Meta(description="The run that caused the other.")] = msgspec.field(name="from")
    to: Annotated[RunName, Meta(description="The run that it caused.")]
    state: Annotated[RunState, Meta(description="How the one of the two stands that is not of this graph.")]


class RunGraph(msgspec.Struct, frozen=True):
    """The expanded graph of one run."""

    run: Annotated[Instance, Meta(description="The run itself.")]
    instances: Annotated[list[Instance], Meta(description="What it consisted of, by name and map index.")]
    edges: Annotated[list[TaskEdge], Meta(description="What came before what, as it was known for this run.")]
    links: Annotated[list[Link], Meta(description="The runs that caused it, and those that it caused.")]
    truncated: Annotated[bool, Meta(description="Whether there are more instances, edges or links than are shown.")]
