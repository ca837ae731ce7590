"""What a native event says of the shards of its run: which there are, and how some of them ended.

Guarantees that an event is refused that says two things of one shard, or more than one event may say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

import msgspec
from msgspec.structs import replace

from dataforge.ingest.validation import LONGEST_KEY, MOST_ROWS, name_problem
from dataforge.model import shard
from dataforge.model.errors import FieldError
from dataforge.model.event import Facts, ShardsFact
from dataforge.model.shard import ShardState

MOST_SHARDS = 20_000  # of one event; a run may have more
_MOST_ERRORS = 100


class Shard(msgspec.Struct, forbid_unknown_fields=True):
    """One shard; without a state it is only said that there is such a one."""

    key: str
    state: ShardState = ShardState.PENDING
    rows: int | None = None


def problems(shards: Sequence[Shard]) -> list[FieldError]:
    """What is wrong with the shards of an event."""
    if len(shards) > MOST_SHARDS:
        return [FieldError("shards", f"{len(shards):,} shards", f"at most {MOST_SHARDS:,}; send several events")]
    return list(islice(_problems(shards), _MOST_ERRORS))


def _problems(shards: Sequence[Shard]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, each in enumerate(shards):
        field = f"shards[{index}]"
        if error := name_problem(f"{field}.key", each.key, LONGEST_KEY):
            yield error
        if each.rows is not None and each.state is ShardState.PENDING:
            yield FieldError(f"{field}.rows", each.rows, "left out, or a state that says how the shard ended")
        elif each.rows is not None and not 0 <= each.rows <= MOST_ROWS:
            yield FieldError(f"{field}.rows", each.rows, f"a number from 0 to {MOST_ROWS}")
        if each.key in seen:
            yield FieldError(f"{field}.key", each.key, "each shard once")
        seen.add(each.key)


def stated(facts: Facts, shards: Sequence[Shard], at: datetime) -> Facts:
    """The facts of an event of that time, with what it says of its run's shards beside them."""
    if not shards:
        return facts
    key = facts.attempts[0].key
    said = tuple(
        shard.Shard(each.key, each.state, None if each.state is ShardState.PENDING else at, each.rows)
        for each in shards
    )
    return replace(facts, shards=(ShardsFact(key.task, key.run, said),))
