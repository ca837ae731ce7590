"""Running again what is done: what is asked for, and what is then to be run."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dataforge.model.catalog import NodeName

Downstream = Literal["none", "direct", "all"]
MOST_RERUNS = 10_000  # partitions of one order; a backfill plans more


class Rerunning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order as somebody puts it; without a namespace the task's name must be unique in the environment."""

    name: str
    namespace: str | None = None
    partition: str = ""
    reason: str
    downstream: Downstream = "none"
    by: str = "unknown"


class RerunItem(msgspec.Struct, frozen=True):
    """A partition that is to be run again."""

    task: Annotated[NodeName, Meta(description="The task.")]
    partition: Annotated[str | None, Meta(description="Its partition; null for what has no partitions.")]


class Reruns(msgspec.Struct, frozen=True):
    """All that an order makes runnable again."""

    items: Annotated[tuple[RerunItem, ...], Meta(description="The partition itself first, then what lies downstream.")]
