"""Shards: the parts that one run is made of, such as the files it reads, and what their ends make of the run.

`merge` is commutative, associative and idempotent, like that of attempts: events may list the shards before or after
they tell how each ended, at once or in increments, any number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dataforge.model.attempt import EARLIEST

MOST_SHARDS = 1_000_000  # of one run


class ShardState(StrEnum):
    """How a shard stands. Of two ends that were told for the same moment the later in this list wins."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"


_RANK = {state: rank for rank, state in enumerate(ShardState)}


class Shard(msgspec.Struct, frozen=True):
    """What is known of one shard; a pending one is expected, and nobody has said how it ended."""

    key: str
    state: ShardState = ShardState.PENDING
    ended_at: datetime | None = None  # when the end that counts was told
    rows: int | None = None

    @property
    def precedence(self) -> tuple[datetime, int, int]:
        """Of what was said of one shard the greatest stands: the latest end, and any end before none."""
        return (self.ended_at or EARLIEST, _RANK[self.state], -1 if self.rows is None else self.rows)


def merge(first: Shard, second: Shard) -> Shard:
    """What two events said of one shard."""
    return second if second.precedence > first.precedence else first


def merge_all(known: dict[str, Shard], said: Iterable[Shard]) -> dict[str, Shard]:
    """The shards by key, with what was said of them."""
    merged = dict(known)
    for shard in said:
        before = merged.get(shard.key)
        merged[shard.key] = shard if before is None else merge(before, shard)
    return merged


class ShardKey(msgspec.Struct, frozen=True, array_like=True, tag="shards"):
    """The place of a shard in the list of its run's."""

    key: str


class ShardCounts(msgspec.Struct, frozen=True):
    """How many shards a run has, and how they ended."""

    total: Annotated[int, Meta(description="How many shards events have named.")]
    succeeded: Annotated[int, Meta(description="How many succeeded.")]
    skipped: Annotated[int, Meta(description="How many were skipped.")]
    failed: Annotated[int, Meta(description="How many failed.")]
    missing: Annotated[int, Meta(description="How many are pending: nobody has said how they ended.")]


class Tally(msgspec.Struct, frozen=True):
    """The counts of a run, and the first key of those that failed or are missing."""

    counts: ShardCounts
    first_failed: str | None = None
    first_missing: str | None = None


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a task declares of its shards: how many of a run's may have failed or be missing when it has succeeded."""

    allow_failed: Annotated[int, Meta(ge=0, le=MOST_SHARDS)] = 0


def tolerated(definition: Mapping[str, Any] | None) -> int:
    """What the definition of a task, as it is stored, says of that."""
    return int(((definition or {}).get("shards") or {}).get("allow_failed", 0))


def shortfall(tally: Tally | None, allowed: int) -> str | None:
    """Why a run with these shards is no success though it says so; None where it is one."""
    if tally is None or tally.counts.failed + tally.counts.missing <= allowed:
        return None
    counts = tally.counts
    if counts.failed:
        missing = f", {counts.missing:,} missing" if counts.missing else ""
        said = f"{counts.failed:,} of {counts.total:,} shards failed{missing}; first: {tally.first_failed}"
    else:
        said = f"{counts.missing:,} of {counts.total:,} shards missing; first: {tally.first_missing}"
    return said + (f" ({allowed:,} {'is' if allowed == 1 else 'are'} allowed)" if allowed else "")
