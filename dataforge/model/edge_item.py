"""Edges as lists show them, with what each of their fields means."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dataforge.model.catalog import Origin
from dataforge.model.edge import Role, Staleness
from dataforge.model.event import Relation
from dataforge.model.filter import Paging
from dataforge.model.reference import NodeKind


class EdgeItem(msgspec.Struct, frozen=True):
    """What a task consumes, produces or runs, as one source declares it or as it was seen."""

    relation: Annotated[Relation, Meta(description="Whether the task consumes it, produces it, or runs it.")]
    kind: Annotated[NodeKind, Meta(description="Whether that is a task or a dataset.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name; of a dataset with aliases the canonical one.")]
    origin: Annotated[Origin, Meta(description="Whether the edge was declared or observed.")]
    source: Annotated[str | None, Meta(description="The source that declares it; null of one that was observed.")]
    mapping: Annotated[dict[str, Any], Meta(description="Which partitions of the two belong together.")]
    condition: Annotated[dict[str, Any], Meta(description="Which outcome of the upstream satisfies it.")]
    required: Annotated[bool, Meta(description="Whether the task waits for it.")]
    staleness: Annotated[Staleness, Meta(description="What it means to the task that the upstream is stale.")]
    role: Annotated[Role, Meta(description="What the upstream is to the task; upstream unless Airflow says more.")]
    first_at: Annotated[datetime | None, Meta(description="When an event first showed it; null of a declared one.")]
    last_at: Annotated[datetime | None, Meta(description="When an event last showed it; null of a declared one.")]


class EdgeFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which edges of a task to list: those of one relation, in the order of their keys."""

    relation: Annotated[Relation, Meta(description="Only edges of this relation.")] = "consumes"
